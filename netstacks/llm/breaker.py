"""One provider's and model's circuit breaker, as this instance sees it: reading it waits for nothing.

What a call leads to is applied to this view at once and to the registry's circuit soon after.
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

# When to ask again while a probe is under way or about to be sent.
_SOON_SECS = 2.0
_MAX_REASON = 200

_leases = count(1)

# Moments in it are of this instance's clock and become the registry's when it is applied: until the registry has
# answered, nothing is known of its clock.
Rule = Callable[[Circuit], Circuit]


class Breaker:
    """Made by Circuits. Reading it does no I/O, does not yield and consumes no probe."""

    def __init__(self, owner: "Circuits", name: str, model: str, shared: Circuit) -> None:
        self.name = name
        self.model = model
        self.provider_name = ""
        self.shared = shared
        """As the registry had it when it last answered."""
        self.pending: list[Rule] = []
        """What was applied to the view and not yet to the registry's circuit."""
        self._owner = owner
        self._view = shared
        self._told = shared
        """The newest one whose state was told, or seen in the registry."""

    @property
    def is_closed(self) -> bool:
        """Whether calls may be made."""
        return self._view.state == "closed"

    @property
    def is_due(self) -> bool:
        """Whether a probe may be sent, as far as this instance knows."""
        return circuits.is_due(self._view, self._owner.now())

    def state(self) -> Circuit:
        """The circuit, with times of the registry's clock."""
        return self._view

    def retry_after_secs(self) -> float:
        """When it is worth asking again: 0 for a closed circuit."""
        if self.is_closed:
            return 0.0
        left_secs = self._view.open_until - self._owner.now()
        return min(max(_SOON_SECS, left_secs), circuits.MAX_OPEN_SECS)

    def record(self, outcome: ProviderFailure | None, *, began_at: float | None = None) -> None:
        """How a call ended: None is a success. Returns at once.

        `began_at` is the call's beginning by the clock of `Circuits`. The outcome of a call that began before the
        circuit last changed its state is ignored, unless it is a rate limit.
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
        """Opens it for an administrator. Returns when the registry has it, or does not answer."""
        moment = self._owner.moment()
        self._apply(lambda circuit: circuits.opened(circuit, self._owner.at(moment), secs, _bounded(reason)))
        self._owner.refresh()

    def reset(self) -> None:
        """Closes it for an administrator. Returns when the registry has it, or does not answer."""
        moment = self._owner.moment()
        self._apply(lambda circuit: circuits.closed(circuit, self._owner.at(moment)))
        self._owner.refresh()

    def lease(self, secs: float) -> str | None:
        """The lease for the one probe in the cluster, which runs out after `secs`; None when it is not to be had.

        While the registry is away it is the one probe of this instance.
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
            # The others were ahead each time. It stays in its place, because its place is counted while it is stored.
            is_withdrawn = True
            self._view = self.folded()
        return holder if self._view.probe == holder else None

    def probe_ended(self, lease: str, outcome: ProviderFailure | None) -> None:
        """How the probe ended: None is a success. An outcome that comes after the lease has passed on is ignored.

        Returns when the registry has it, or does not answer.
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
            # It answers. Some models refuse an answer of one token, and a wrong key is told to the user that asks next.
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
        # No yield here: the view is what the rules make of the registry's circuit.
        self.pending.append(rule)
        self._view = rule(self._view)

    def folded(self) -> Circuit:
        """The registry's circuit after what was not yet applied to it."""
        return reduce(lambda circuit, rule: rule(circuit), self.pending, self.shared)

    def see(self, present: Circuit) -> None:
        """Takes what the registry has. An earlier version means that it has lost data: the view is merged then."""
        if present.version < self.shared.version:
            self.pending = [partial(circuits.merged, self._view)]
        self.shared = present
        self._view = self.folded()
        if not self.pending:
            self._told = present

    def settle(self, circuit: Circuit, rules: int) -> tuple[Circuit, Circuit]:
        """The registry has `circuit` by now, which is what so many rules made; the change that is to be told."""
        is_told = (self._told.state, self._told.changed_at) == (circuit.state, circuit.changed_at)
        before = circuit if is_told else self.shared
        self.shared = self._told = circuit
        del self.pending[:rules]
        self._view = self.folded()
        return before, circuit

    def go_on_alone(self) -> tuple[Circuit, Circuit]:
        """The registry is away: the view is merged when it is back. The change that is to be told."""
        if self.pending:
            self.pending = [partial(circuits.merged, self._view)]
        before, self._told = self._told, self._view
        return before, self._view


def _bounded(reason: str) -> str:
    """Of a length for a page, and in UTF-8: an administrator's words may hold half a surrogate pair."""
    return reason[:_MAX_REASON].encode(errors="replace").decode()
