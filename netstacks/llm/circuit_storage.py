"""Adapts pybreaker, the state machine of a circuit breaker, to circuits that the cluster shares."""

import contextlib
from datetime import UTC, datetime

import pybreaker

from netstacks.cluster import circuits
from netstacks.cluster.circuits import Circuit


class SharedStorage(pybreaker.CircuitBreakerStorage):
    """pybreaker's storage on an immutable circuit, without I/O. `circuit` is the result.

    `now` is the time of the outcome by the registry's clock.
    """

    def __init__(self, circuit: Circuit, now: float, cooldown_secs: float, reason: str) -> None:
        super().__init__("shared")
        self.circuit = circuit
        self._now = now
        self._cooldown_secs = cooldown_secs
        self._reason = reason
        self._successes = 0

    @property
    def state(self) -> str:
        return self.circuit.state

    @state.setter
    def state(self, state: str) -> None:
        if state == pybreaker.STATE_OPEN:
            self.circuit = circuits.opened(self.circuit, self._now, self._cooldown_secs, self._reason)
        elif state == pybreaker.STATE_CLOSED:
            self.circuit = circuits.closed(self.circuit, self._now)
        # Half-open is set by the lease for a probe, not by pybreaker.

    def increment_counter(self) -> None:
        self.circuit = circuits.failed(self.circuit, self._reason)

    def reset_counter(self) -> None:
        self.circuit = circuits.succeeded(self.circuit)

    def increment_success_counter(self) -> None:
        self._successes += 1

    def reset_success_counter(self) -> None:
        self._successes = 0

    @property
    def counter(self) -> int:
        return self.circuit.failures

    @property
    def success_counter(self) -> int:
        return self._successes

    @property
    def opened_at(self) -> datetime | None:
        return datetime.fromtimestamp(self.circuit.opened_at, UTC) if self.circuit.opened_at else None

    @opened_at.setter
    def opened_at(self, _: datetime) -> None:
        """Ignored: it is this host's time. The setter of `state` uses the registry's."""


class _Failed(Exception):
    pass


def _succeed() -> None:
    pass


def _fail() -> None:
    raise _Failed


def judged(circuit: Circuit, failure: str | None, now: float, *, failures: int, cooldown_secs: float) -> Circuit:
    """A closed or half-open circuit after a success (`failure` is None) or the given failure.

    pybreaker only gets the outcome and does not make the call: it would hold its lock during the call, count an
    excluded exception as a success and an abandoned generator as a failure. Its object is used for one outcome, because
    a reused one resets the shared counter when it notices a state change by another instance (docs/design-notes.md, 6).
    """
    if failure is None and circuit.state == pybreaker.STATE_CLOSED and not circuit.failures:
        # Most calls: pybreaker would change nothing.
        return circuit
    storage = SharedStorage(circuit, now, cooldown_secs, failure or "")
    machine = pybreaker.CircuitBreaker(fail_max=failures, state_storage=storage, throw_new_error_on_trip=False)
    with contextlib.suppress(_Failed):
        machine.call(_succeed if failure is None else _fail)
    return storage.circuit
