"""The pace of a drain: terminals are closed as fast as the other instances can open them."""

from dataclasses import dataclass

from netstacks.cluster.liveness import living
from netstacks.cluster.model import Instance, Snapshot

# Without another instance, the clients reconnect to the successor of this one.
_ALONE_PER_SEC = 20.0
# The part of DRAIN_TIMEOUT_SECS that is reserved for storing recordings: this share, and at most this many seconds.
_FLUSH_SHARE, FLUSH_SECS = 0.5, 10.0


@dataclass(frozen=True)
class DrainPlan:
    """`per_sec` terminals are closed per second; that takes `needs_secs`, and `window_secs` are available."""

    per_sec: float
    needs_secs: float
    window_secs: float

    @property
    def is_too_short(self) -> bool:
        return self.needs_secs > self.window_secs


def plan_drain(sessions: int, others_per_sec: float, window_secs: float) -> DrainPlan:
    """Plans a drain of `sessions` with an attached client; beyond the window, clients wait in the others' queues."""
    per_sec = others_per_sec or _ALONE_PER_SEC
    return DrainPlan(per_sec, sessions / per_sec, window_secs)


def flush_secs(timeout_secs: float) -> float:
    """How much of DRAIN_TIMEOUT_SECS is left for storing recordings when the sessions have been handed over."""
    return min(timeout_secs * _FLUSH_SHARE, FLUSH_SECS)


def window_secs(timeout_secs: float) -> float:
    """How much of DRAIN_TIMEOUT_SECS the hand-over of the sessions may take."""
    return timeout_secs - flush_secs(timeout_secs)


def heirs(snapshot: Snapshot, me: str, ttl_secs: float) -> list[Instance]:
    """The instances that can take over sessions of `me`: the other ones that live and say that they take sessions."""
    return [each for each in living(snapshot, ttl_secs) if each.id != me and each.takes_sessions]


def others_open_per_sec(snapshot: Snapshot, me: str, ttl_secs: float) -> float:
    """How many terminals the other instances open per second, by their heartbeats."""
    return sum(each.opens_per_sec for each in heirs(snapshot, me, ttl_secs))
