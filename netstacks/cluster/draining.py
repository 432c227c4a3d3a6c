"""How fast an instance that leaves closes its terminals: as fast as the others can open them, if there is time."""

from dataclasses import dataclass

from netstacks.cluster.liveness import living
from netstacks.cluster.model import Snapshot

# Where no other instance takes the sessions, their clients come back to this one's successor.
_ALONE_PER_SEC = 20.0


@dataclass(frozen=True)
class DrainPlan:
    """`per_sec` terminals are closed a second. At the others' speed it would take `needs_secs`, of `window_secs`."""

    per_sec: float
    needs_secs: float
    window_secs: float

    @property
    def is_too_short(self) -> bool:
        return self.needs_secs > self.window_secs


def plan_drain(sessions: int, others_per_sec: float, window_secs: float) -> DrainPlan:
    """`sessions` have clients, who come back. What does not fit into the window waits in the others' queues."""
    per_sec = others_per_sec or _ALONE_PER_SEC
    return DrainPlan(per_sec, sessions / per_sec, window_secs)


def others_open_per_sec(snapshot: Snapshot, me: str, ttl_secs: float) -> float:
    """How many terminals the other instances open a second, by what they say."""
    return sum(each.opens_per_sec for each in living(snapshot, ttl_secs) if each.id != me and each.state == "active")
