"""The state of circuit breakers for language model providers, shared by the cluster. Times are by the registry's clock.

Only the transitions are here. pybreaker decides how many failures open a circuit, and what follows from a probe. Each
transition returns a circuit with a later version, or the same object when nothing changes.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

CircuitState = Literal["closed", "open", "half-open"]

# The upper bound for a Retry-After header and for an administrator's request.
MAX_OPEN_SECS = 3600.0
# The lower bound: a Retry-After of 0 would cause one probe right after the other.
MIN_OPEN_SECS = 1.0
# How far two instances' estimates of the registry's clock may differ.
_CLOCK_SLACK_SECS = 60.0


@dataclass(frozen=True)
class Circuit:
    """`failures` counts consecutive failures in the cluster; in a closed circuit, `reason` is that of the last one."""

    state: CircuitState = "closed"
    failures: int = 0
    opened_at: float = 0.0
    """When it left the closed state; a failed probe does not change it."""
    open_until: float = 0.0
    reason: str = ""
    probe: str = ""
    """The holder of the lease for the only probe. The lease survives a change of state, as the probe does."""
    probe_until: float = 0.0
    version: int = 0
    changed_at: float = 0.0
    """When its state or its deadline last changed."""


def failed(circuit: Circuit, reason: str) -> Circuit:
    """Counts a failure."""
    return _changed(circuit, failures=circuit.failures + 1, reason=reason)


def succeeded(circuit: Circuit) -> Circuit:
    """Resets the count of consecutive failures."""
    return _changed(circuit, failures=0, reason="") if circuit.failures else circuit


def opened(circuit: Circuit, now: float, secs: float, reason: str) -> Circuit:
    """Open for `secs`, within the bounds above. The later of two deadlines wins."""
    until = now + min(max(MIN_OPEN_SECS, secs), MAX_OPEN_SECS)
    if circuit.state == "open" and until <= circuit.open_until and _is_ahead(circuit.open_until, now):
        return circuit
    opened_at = now if circuit.state == "closed" else circuit.opened_at
    return _changed(circuit, state="open", opened_at=opened_at, open_until=until, reason=reason, changed_at=now)


def closed(circuit: Circuit, now: float) -> Circuit:
    """Closes the circuit and resets its failures."""
    if circuit.state == "closed":
        return succeeded(circuit)
    return _changed(circuit, state="closed", failures=0, opened_at=0.0, open_until=0.0, reason="", changed_at=now)


def is_due(circuit: Circuit, now: float) -> bool:
    """Whether a probe may be sent: the deadline has passed, and no lease is valid."""
    return (
        circuit.state != "closed" and not _is_ahead(circuit.open_until, now) and not _is_ahead(circuit.probe_until, now)
    )


def leased(circuit: Circuit, holder: str, now: float, secs: float) -> Circuit | None:
    """Half-open, with a lease for the probe; None when no probe is due."""
    if not is_due(circuit, now):
        return None
    until = now + min(secs, MAX_OPEN_SECS)
    return _changed(circuit, state="half-open", probe=holder, probe_until=until, changed_at=now)


def released(circuit: Circuit) -> Circuit:
    """Without a lease, after the end of its probe."""
    return _changed(circuit, probe="", probe_until=0.0)


def merged(ours: Circuit, theirs: Circuit) -> Circuit:
    """The circuit to store after an outage of the registry, which has `theirs`.

    Between two circuits that are not closed, the later deadline wins; between a closed and another, the later change.
    """
    if replace(ours, version=theirs.version) == theirs:
        return theirs
    if ours.state == theirs.state == "closed":
        wins = ours.failures > theirs.failures
    elif "closed" in (ours.state, theirs.state):
        wins = ours.changed_at > theirs.changed_at
    else:
        # The registry's lease takes precedence, because other instances know it.
        wins = (ours.open_until, ours.probe != "") > (theirs.open_until, theirs.probe != "")
    return replace(ours, version=max(ours.version, theirs.version) + 1) if wins else theirs


def _is_ahead(deadline: float, now: float) -> bool:
    """Whether the deadline is in the future. One further ahead than the maximum predates a clock that was set back."""
    return now < deadline <= now + MAX_OPEN_SECS + _CLOCK_SLACK_SECS


def _changed(circuit: Circuit, **changes: Any) -> Circuit:
    return replace(circuit, version=circuit.version + 1, **changes)
