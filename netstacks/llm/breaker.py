"""This instance's view of the circuit breaker of one provider and model. Reading it does no I/O.

The outcome of a call is applied to the view at once, and to the shared circuit in the registry soon after.
"""

from collections.abc import Callable
from functools import partial, reduce
from itertools import count
from typing import TYPE_CHECKING

from netstacks.cluster import circuits
from netstacks.cluster.circuits import Circuit
from netstacks.llm.circuit_storage import judged
from netstacks.llm.failures import ProviderFailure, ProviderRefused, RateLimited

if TYPE_CHECKING:
    from netstacks.llm.circuits import Circuits

# The retry time while a probe is in progress or due.
_SOON_SECS = 2.0
_MAX_REASON = 200

_leases = count(1)

# A change of a circuit. It captures moments of this instance's clock, and converts them to the registry's clock when it
# is applied: before the registry has answered, the offset between the clocks is unknown.
Rule = Callable[[Circuit], Circuit]


class Breaker:
    """Created by Circuits. Reading it does no I/O, does not yield and consumes no probe.

    Invariant: the view is `shared` with all `pending` rules applied in order.
    """

    def __init__(self, owner: "Circuits", name: str, model: str, shared: Circuit) -> None:
        self.name = name
        self.model = model
        self.provider_name = ""
        self.shared = shared
        """The circuit in the registry's last answer."""
        self.pending: list[Rule] = []
        """The rules that are applied to the view and not yet to the registry's circuit."""
        self._owner = owner
        self._view = shared
        self._announced = shared
        """The newest circuit whose state was announced, by this instance or another one."""

    @property
    def is_closed(self) -> bool:
        """Whether calls may be made."""
        return self._view.state == "closed"

    @property
    def is_due(self) -> bool:
        """Whether a probe is due, as far as this instance knows."""
        return circuits.is_due(self._view, self._owner.now())

    def state(self) -> Circuit:
        """The circuit, with times of the registry's clock."""
        return self._view

    def retry_after_secs(self) -> float:
        """The seconds until a retry is useful: 0 for a closed circuit."""
        if self.is_closed:
            return 0.0
        left_secs = self._view.open_until - self._owner.now()
        return min(max(_SOON_SECS, left_secs), circuits.MAX_OPEN_SECS)

    def record(self, outcome: ProviderFailure | None, *, began_at: float | None = None) -> None:
        """Records the outcome of a call: None is a success. Returns at once.

        `began_at` is the start of the call by the clock of `Circuits`. The outcome of a call that began before the last
        change of state is ignored, unless it is a rate limit.
        """
        if outcome is not None and outcome.verdict == "neutral":
            return
        moment = self._owner.moment()

        def recorded(circuit: Circuit) -> Circuit:
            now = self._owner.at(moment)
            if outcome is not None and outcome.verdict == "rate_limited":
                return self._rate_limited(circuit, outcome, now)
            if circuit.state != "closed":
                return circuit
            if began_at is not None and self._owner.at(began_at) < circuit.changed_at:
                return circuit
            return self._judged(circuit, outcome, now)

        self._apply(recorded)
        self._owner.report()

    def trip(self, secs: float, reason: str) -> None:
        """Opens the circuit for an administrator. Returns when the registry has stored it, or does not answer."""
        moment = self._owner.moment()
        self._apply(lambda circuit: circuits.opened(circuit, self._owner.at(moment), secs, _bounded(reason)))
        self._owner.refresh()

    def reset(self) -> None:
        """Closes the circuit for an administrator. Returns when the registry has stored it, or does not answer."""
        moment = self._owner.moment()
        self._apply(lambda circuit: circuits.closed(circuit, self._owner.at(moment)))
        self._owner.refresh()

    def lease(self, secs: float) -> str | None:
        """Takes the cluster's only lease for a probe, which expires after `secs`; None when it is not available.

        While the registry is unreachable the lease is local to this instance.
        """
        if not self.is_due:
            return None
        moment = self._owner.moment()
        holder = f"{self._owner.instance_id}/{next(_leases)}"
        is_withdrawn = False

        def leased(circuit: Circuit) -> Circuit:
            got = None if is_withdrawn else circuits.leased(circuit, holder, self._owner.at(moment), secs)
            return got or circuit

        self._apply(leased)
        self._owner.refresh()
        if leased in self.pending:
            # Other instances' changes won each time. The rule stays in the list as a no-op, because `confirm` removes
            # rules by their number.
            is_withdrawn = True
            self._view = self.folded()
        return holder if self._view.probe == holder else None

    def probe_ended(self, lease: str, outcome: ProviderFailure | None) -> None:
        """Records the outcome of a probe: None is a success. It is ignored when another probe holds the lease by now.

        Returns when the registry has stored it, or does not answer.
        """
        moment = self._owner.moment()

        def ended(circuit: Circuit) -> Circuit:
            now = self._owner.at(moment)
            if circuit.probe == lease:
                circuit = circuits.released(circuit)
                if circuit.state == "half-open":
                    circuit = self._decided(circuit, outcome, now)
            if outcome is not None and outcome.verdict == "rate_limited":
                circuit = self._rate_limited(circuit, outcome, now)
            return circuit

        self._apply(ended)
        self._owner.refresh()

    def _decided(self, circuit: Circuit, outcome: ProviderFailure | None, now: float) -> Circuit:
        if isinstance(outcome, ProviderRefused):
            # The provider answers. Some models refuse a limit of one token, and the next user sees an invalid key.
            return self._judged(circuit, None, now)
        if outcome is None or outcome.verdict == "counts":
            return self._judged(circuit, outcome, now)
        reason = f"the probe proved nothing: {outcome.kind}"
        return circuits.opened(circuit, now, self._owner.cooldown_secs, _bounded(reason))

    def _judged(self, circuit: Circuit, outcome: ProviderFailure | None, now: float) -> Circuit:
        failure = None if outcome is None else _bounded(outcome.kind)
        limit, cooldown_secs = self._owner.failures, self._owner.cooldown_secs
        return judged(circuit, failure, now, failures=limit, cooldown_secs=cooldown_secs)

    def _rate_limited(self, circuit: Circuit, outcome: ProviderFailure, now: float) -> Circuit:
        named_secs = outcome.retry_after_secs if isinstance(outcome, RateLimited) else None
        secs = self._owner.cooldown_secs if named_secs is None else named_secs
        return circuits.opened(circuit, now, secs, _bounded(outcome.kind))

    def _apply(self, rule: Rule) -> None:
        # No yield between the two: the view is the registry's circuit with all pending rules applied.
        self.pending.append(rule)
        self._view = rule(self._view)

    def folded(self) -> Circuit:
        """The registry's circuit with the pending rules applied."""
        return reduce(lambda circuit, rule: rule(circuit), self.pending, self.shared)

    def receive(self, present: Circuit) -> None:
        """Takes the registry's circuit. If its version is lower, the registry has lost data: then merges the view."""
        if present.version < self.shared.version:
            self.pending = [partial(circuits.merged, self._view)]
        self.shared = present
        self._view = self.folded()
        if not self.pending:
            self._announced = present

    def confirm(self, circuit: Circuit, rules: int) -> tuple[Circuit, Circuit]:
        """The registry has stored `circuit`, the result of the first `rules` rules. Returns the change to announce."""
        is_told = (self._announced.state, self._announced.changed_at) == (circuit.state, circuit.changed_at)
        before = circuit if is_told else self.shared
        self.shared = self._announced = circuit
        del self.pending[:rules]
        self._view = self.folded()
        return before, circuit

    def continue_alone(self) -> tuple[Circuit, Circuit]:
        """The registry is unreachable: the view is merged when it is back. Returns the change to announce."""
        if self.pending:
            self.pending = [partial(circuits.merged, self._view)]
        before, self._announced = self._announced, self._view
        return before, self._view


def _bounded(reason: str) -> str:
    """Truncated for pages, and valid UTF-8: the text of an administrator may contain a lone surrogate."""
    return reason[:_MAX_REASON].encode(errors="replace").decode()
