"""Chooses the instance that takes over waiting clients of an instance with a long queue."""

from collections import defaultdict

from netstacks.cluster.liveness import living
from netstacks.cluster.model import Instance, Snapshot

# A peer gets no more clients than it opens in this time: enough work until its next heartbeat reports its load.
_AHEAD_SECS = 3.0
# How long a peer that has declined a client gets no other.
_DECLINED_SECS = 5.0


class Room:
    """The room of each peer: its reported load, plus what this instance has handed over since that heartbeat.

    `now` is a monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._handed: dict[tuple[str, float], float] = defaultdict(float)
        self._handed_at: dict[str, float] = {}
        self._declined_at: dict[str, float] = {}

    def reserve(self, snapshot: Snapshot, me: str, ttl_secs: float, now: float) -> Instance | None:
        """Counts one client as handed to the peer with the most room, and returns it; None when no peer has room.

        A peer gets no more clients per second than it opens: it declines clients that arrive in a burst.
        """
        peers = [
            each
            for each in living(snapshot, ttl_secs)
            if each.id != me and each.takes_sessions and each.peer_address and each.opens_per_sec
        ]
        counts = {_key(each): self._handed.get(_key(each), 0.0) for each in peers}
        # Clients handed over before the last heartbeat are included in the load that it reports.
        self._handed = defaultdict(float, counts)
        ready = [each for each in peers if self._is_ready(each, now)]
        best = max(ready, key=self._left, default=None)
        if best is None or self._left(best) < 1:
            return None
        self._handed[_key(best)] += 1
        self._handed_at[best.id] = now
        return best

    def declined(self, peer: Instance, now: float) -> None:
        """Notes that the peer has declined a client; it gets no other for _DECLINED_SECS."""
        self._declined_at[peer.id] = now

    def _is_ready(self, peer: Instance, now: float) -> bool:
        never = float("-inf")
        return (
            now - self._handed_at.get(peer.id, never) >= 1 / peer.opens_per_sec
            and now - self._declined_at.get(peer.id, never) >= _DECLINED_SECS
        )

    def _left(self, peer: Instance) -> float:
        return peer.opens_per_sec * _AHEAD_SECS - peer.waiting - self._handed[_key(peer)]


def _key(instance: Instance) -> tuple[str, float]:
    return instance.id, instance.last_heartbeat_at
