"""The order of the admission queue: pure rules, without I/O and without a clock."""

import heapq
import itertools
from collections import Counter
from enum import IntEnum
from uuid import UUID

# The tenth terminal of a user comes after the first nine of every user.
_TERMINALS_OF_USER = 9


class Standing(IntEnum):
    """The state of a session when it lost its owner; a new session ranks as an attached one."""

    IN_USE = 0
    ATTACHED = 1
    DETACHED = 2


class Place:
    """A place in the queue. `since` is when its client first asked any instance, in seconds since 1970."""

    __slots__ = ("is_waiting", "rank", "since", "standing", "token", "user_id")

    def __init__(self, user_id: UUID, since: float, token: UUID | None, standing: Standing, rank: int) -> None:
        self.user_id = user_id
        self.since = since
        self.token = token
        self.standing = standing
        self.rank = rank
        """The number of terminals of the same user before this one."""
        self.is_waiting = True

    @property
    def key(self) -> tuple[int, int, int, float]:
        """The sort key of the queue."""
        return self.rank // _TERMINALS_OF_USER, self.standing, self.rank, self.since


class Queue:
    """A priority queue: sessions in use first, then attached, then detached; each user's first before any tenth."""

    def __init__(self) -> None:
        # Lazy deletion: an entry is valid when its place still waits and has the same key. Invariant: each waiting
        # place has exactly one valid entry. So the standing of a place must never change back to an earlier one.
        self._heap: list[tuple[tuple[int, int, int, float], int, Place]] = []
        self._numbers = itertools.count()
        self._waiting = 0
        self._waiting_of: Counter[UUID] = Counter()
        self._of_user: Counter[UUID] = Counter()
        """Terminals requested by each user since the queue was last empty."""

    def __len__(self) -> int:
        return self._waiting

    def enter(self, user_id: UUID, since: float, token: UUID | None, former: Place | None = None) -> Place:
        """Adds a place. It ranks as attached until `rank` is called; with `former`, it has that place's rank again."""
        if not self._waiting:
            self._heap.clear()
            self._of_user.clear()
        if former is not None:
            place = Place(user_id, min(since, former.since), token, former.standing, former.rank)
        else:
            place = Place(user_id, since, token, Standing.ATTACHED, self._of_user[user_id])
            self._of_user[user_id] += 1
        self._waiting += 1
        self._waiting_of[user_id] += 1
        self._push(place)
        return place

    def rank(self, place: Place, standing: Standing) -> None:
        """Sets the standing of the session, once it is known; at most one call per place."""
        if place.is_waiting and place.standing is not standing:
            place.standing = standing
            self._push(place)

    def leave(self, place: Place) -> None:
        """Removes a place whose client has left or has been admitted; idempotent."""
        if place.is_waiting:
            place.is_waiting = False
            self._waiting -= 1
            self._waiting_of[place.user_id] -= 1
            if not self._waiting_of[place.user_id]:
                del self._waiting_of[place.user_id]

    def waiting_of(self, user_id: UUID) -> int:
        """The number of waiting places of this user."""
        return self._waiting_of[user_id]

    def first(self) -> Place | None:
        """The next place; None when the queue is empty."""
        while self._heap:
            key, _, place = self._heap[0]
            if place.is_waiting and key == place.key:
                return place
            heapq.heappop(self._heap)
        return None

    def in_order(self) -> list[Place]:
        """All waiting places in order."""
        return [place for key, _, place in sorted(self._heap) if place.is_waiting and key == place.key]

    def _push(self, place: Place) -> None:
        heapq.heappush(self._heap, (place.key, next(self._numbers), place))
