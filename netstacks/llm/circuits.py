"""The circuit breakers of this instance, synchronised with those of the cluster by one greenlet.

While the registry is unreachable, this instance uses its own views. They are merged when the registry is back.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.circuits import Circuit
from netstacks.errors import RegistryUnavailable
from netstacks.llm.breaker import Breaker
from netstacks.llm.metrics import CIRCUIT_CHANGES
from netstacks.llm.provider import Provider
from netstacks.registry.base import Registry

log = structlog.get_logger()

# The attempts to store a change against concurrent changes of other instances; the next synchronisation tries again.
_MAX_TRIES = 5

_LOGGED_AS = {"open": "llm.circuit_opened", "half-open": "llm.circuit_half_open", "closed": "llm.circuit_closed"}


class Circuits:
    """Finds the breakers and synchronises them with the registry.

    `failures` consecutive failures open a circuit for `cooldown_secs`. `record_event` has the parameters of the
    registry's `record_event`, returns at once and never raises. `clock` only measures durations.
    """

    def __init__(
        self,
        registry: Registry,
        instance_id: str,
        record_event: Callable[..., object],
        *,
        failures: int,
        cooldown_secs: float,
        interval_secs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.instance_id = instance_id
        self.failures = failures
        self.cooldown_secs = cooldown_secs
        # Reserved connections: pages that use up the shared ones must not delay a probe.
        self._registry = registry.reserved()
        self._record_event = record_event
        self._clock = clock
        self._ahead_secs = time.time() - clock()
        """The registry's clock minus `clock`. Until the registry has answered, this host's clock is used instead."""
        self._found: dict[str, Circuit] = {}
        self._breakers: dict[str, Breaker] = {}
        self._sync = greenlets.SingleFlight("llm-circuits-sync", self._synchronise)
        self.periodic = greenlets.Periodic("llm-circuits", self.refresh, interval_secs)

    def start(self) -> None:
        self.periodic.start()

    def circuit_for(self, provider: Provider, model: str) -> Breaker:
        """The breaker of that provider and model. Returns at once."""
        name = f"{provider.id}/{model}"
        breaker = self._breakers.get(name)
        if breaker is None:
            breaker = self._breakers[name] = Breaker(self, name, model, self._found.get(name, Circuit()))
        breaker.provider_name = provider.name
        return breaker

    def refresh(self) -> None:
        """Returns when every view is synchronised with the registry, or when the registry does not answer."""
        self._sync()

    def report(self) -> None:
        """Requests that pending changes of the views are stored. Returns at once."""
        self._sync.begin()

    def keep_only(self, providers: Collection[Provider]) -> None:
        """Drops the breakers of other providers, so that they are not restored to a registry that has lost its data."""
        kept = {str(each.id) for each in providers}
        self._breakers = {name: each for name, each in self._breakers.items() if _provider_id(name) in kept}

    def forget(self, provider_id: UUID) -> None:
        """Removes the circuits of a deleted provider. If the registry does not answer, they expire by themselves."""
        names = {each for each in (*self._breakers, *self._found) if _provider_id(each) == str(provider_id)}
        for name in names:
            self._breakers.pop(name, None)
            self._found.pop(name, None)
        try:
            for name in names:
                self._registry.forget_circuit(name)
        except RegistryUnavailable as error:
            log.warning("llm.circuit_not_forgotten", provider_id=str(provider_id), error=str(error))

    def now(self) -> float:
        """The registry's clock."""
        return self.at(self.moment())

    def moment(self) -> float:
        """The current time of `clock`."""
        return self._clock()

    def at(self, moment: float) -> float:
        """Converts a time of `clock` to the registry's clock."""
        return moment + self._ahead_secs

    def _synchronise(self) -> None:
        breakers = list(self._breakers.values())
        try:
            now, self._found = self._registry.circuits()
            self._set_clock(now)
            for breaker in breakers:
                breaker.receive(self._found.get(breaker.name, Circuit()))
            for breaker in breakers:
                self._store(breaker)
        except RegistryUnavailable:
            for breaker in breakers:
                self._announce(breaker, *breaker.continue_alone())

    def _store(self, breaker: Breaker) -> None:
        for _ in range(_MAX_TRIES):
            rules = len(breaker.pending)
            before, after = breaker.shared, breaker.folded()
            if after is not before:
                # At least the current time in seconds: higher than any version before a loss of data, so that no old
                # view counts as newer.
                after = replace(after, version=max(after.version, int(self.now())))
                now, present = self._registry.replace_circuit(breaker.name, after, before.version)
                self._set_clock(now)
                if present is not None:
                    breaker.receive(present)
                    continue
            self._announce(breaker, *breaker.confirm(after, rules))
            return

    def _set_clock(self, now: float) -> None:
        self._ahead_secs = now - self._clock()

    def _announce(self, breaker: Breaker, before: Circuit, after: Circuit) -> None:
        """Logs, counts and publishes a change of state that this instance has made."""
        if before.state == after.state:
            return
        until = datetime.fromtimestamp(after.open_until, UTC).isoformat(timespec="seconds")
        details = {"provider": breaker.provider_name, "model": breaker.model, "reason": after.reason}
        if after.state == "open":
            details["until"] = until
        log.warning(_LOGGED_AS[after.state], **details)
        CIRCUIT_CHANGES.labels(breaker.provider_name, breaker.model, after.state).inc()
        self._record_event("breaker", self.instance_id, circuit=after.state, **details)


def _provider_id(name: str) -> str:
    return name.partition("/")[0]
