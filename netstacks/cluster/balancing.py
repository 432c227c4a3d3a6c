"""Which instance can take clients off another one, where too many wait."""

from collections import defaultdict

from netstacks.cluster.liveness import living
from netstacks.cluster.model import Instance, Snapshot

# An instance that is given what it opens in this time has something to do until its next heartbeat tells more.
_AHEAD_SECS = 3.0


# How long an instance that had no room is left alone.
_DECLINED_SECS = 5.0


class Room:
    """Keeps count of what an instance has handed to each of the others since that one's last heartbeat.

    `now` is a monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._handed: dict[tuple[str, float], float] = defaultdict(float)
        self._handed_at: dict[str, float] = {}
        self._declined_at: dict[str, float] = {}

    def peer(self, snapshot: Snapshot, me: str, ttl_secs: float, now: float) -> Instance | None:
        """The instance, not `me`, with the most room, which is to be handed one client; None when none has any.

        An instance is handed no more a second than it opens: it would refuse what comes at once.
        """
        peers = [
            each
            for each in living(snapshot, ttl_secs)
            if each.id != me and each.state == "active" and each.peer_address and each.opens_per_sec
        ]
        counts = {_key(each): self._handed.get(_key(each), 0.0) for each in peers}
        # What was handed before a later heartbeat is in what that one says.
        self._handed = defaultdict(float, counts)
        ready = [each for each in peers if self._is_ready(each, now)]
        best = max(ready, key=self._left, default=None)
        if best is None or self._left(best) < 1:
            return None
        self._handed[_key(best)] += 1
        self._handed_at[best.id] = now
        return best

    def declined(self, peer: Instance, now: float) -> None:
        """That one has no room, and is left alone for a while."""
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
