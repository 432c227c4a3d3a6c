"""Circuits: when a provider of language models is left alone by the whole cluster. All times are the registry's.

These are the steps that a circuit can take. How many failures open it, and what the outcome of a probe leads to, is
pybreaker's decision. Each step returns a circuit of a later version, or the same object when nothing changes.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

CircuitState = Literal["closed", "open", "half-open"]

# However absurd a Retry-After is, and whatever an administrator asks for.
MAX_OPEN_SECS = 3600.0
# So that a Retry-After of 0 does not make one probe follow another.
MIN_OPEN_SECS = 1.0
# By this much the clocks of two instances may differ when both follow the registry's.
_CLOCK_SLACK_SECS = 60.0


@dataclass(frozen=True)
class Circuit:
    """`failures` are consecutive ones of the cluster. While it is closed, `reason` is that of the last failure."""

    state: CircuitState = "closed"
    failures: int = 0
    opened_at: float = 0.0
    """When it left the closed state; a probe that failed does not change it."""
    open_until: float = 0.0
    reason: str = ""
    probe: str = ""
    """The holder of the lease for the one probe. It outlasts a change of state, because the probe does too."""
    probe_until: float = 0.0
    version: int = 0
    changed_at: float = 0.0
    """When its state or its deadline last changed."""


def failed(circuit: Circuit, reason: str) -> Circuit:
    """One more consecutive failure."""
    return _changed(circuit, failures=circuit.failures + 1, reason=reason)


def succeeded(circuit: Circuit) -> Circuit:
    """The failures so far were not consecutive with those to come."""
    return _changed(circuit, failures=0, reason="") if circuit.failures else circuit


def opened(circuit: Circuit, now: float, secs: float, reason: str) -> Circuit:
    """Open for `secs`, within the bounds above. The later of two deadlines wins."""
    until = now + min(max(MIN_OPEN_SECS, secs), MAX_OPEN_SECS)
    if circuit.state == "open" and until <= circuit.open_until and _is_ahead(circuit.open_until, now):
        return circuit
    opened_at = now if circuit.state == "closed" else circuit.opened_at
    return _changed(circuit, state="open", opened_at=opened_at, open_until=until, reason=reason, changed_at=now)


def closed(circuit: Circuit, now: float) -> Circuit:
    """Closed again, without failures."""
    if circuit.state == "closed":
        return succeeded(circuit)
    return _changed(circuit, state="closed", failures=0, opened_at=0.0, open_until=0.0, reason="", changed_at=now)


def is_due(circuit: Circuit, now: float) -> bool:
    """Whether a probe may be sent: the deadline has passed, and there is no living lease."""
    return (
        circuit.state != "closed" and not _is_ahead(circuit.open_until, now) and not _is_ahead(circuit.probe_until, now)
    )


def leased(circuit: Circuit, holder: str, now: float, secs: float) -> Circuit | None:
    """Half-open, with the lease for the probe; None when it is not due."""
    if not is_due(circuit, now):
        return None
    until = now + min(secs, MAX_OPEN_SECS)
    return _changed(circuit, state="half-open", probe=holder, probe_until=until, changed_at=now)


def released(circuit: Circuit) -> Circuit:
    """Without a lease: its probe has ended."""
    return _changed(circuit, probe="", probe_until=0.0)


def merged(ours: Circuit, theirs: Circuit) -> Circuit:
    """What the registry is to have when it is back, where it has `theirs`.

    Of two that are not closed the later deadline wins. Between a closed one and another, the later change wins.
    """
    if replace(ours, version=theirs.version) == theirs:
        return theirs
    if ours.state == theirs.state == "closed":
        wins = ours.failures > theirs.failures
    elif "closed" in (ours.state, theirs.state):
        wins = ours.changed_at > theirs.changed_at
    else:
        # Of two leases the one that the registry has is kept: others know of it.
        wins = (ours.open_until, ours.probe != "") > (theirs.open_until, theirs.probe != "")
    return replace(ours, version=max(ours.version, theirs.version) + 1) if wins else theirs


def _is_ahead(deadline: float, now: float) -> bool:
    """A deadline further ahead than any that is set is of before the registry's clock was set back: it has passed."""
    return now < deadline <= now + MAX_OPEN_SECS + _CLOCK_SLACK_SECS


def _changed(circuit: Circuit, **changes: Any) -> Circuit:
    return replace(circuit, version=circuit.version + 1, **changes)
