"""The admission queue: clients wait here for a terminal, before any work is done for them.

After the loss of an instance all of its clients come back at once. An attempt that fails half-way costs as much as one
that succeeds. So the queue admits no more clients than the instance can serve, and the others keep their places.
"""

import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

import structlog
from cachetools import TTLCache

from netstacks import greenlets
from netstacks.cluster.admission import Place, Queue
from netstacks.cluster.model import Load
from netstacks.cluster.pacing import Pace, Strain
from netstacks.errors import StoreUnavailable
from netstacks.instance.applicants import Applicant, WaitingCaller
from netstacks.store import sessions
from netstacks.store.pool import Database

log = structlog.get_logger()

_TICK_SECS = 0.05
_STEP_SECS = 0.5
# Clients are looked at, and told their places, this often; a crowd less often.
_LOOK_SECS = 2.0
_LOOKS_PER_SEC = 500
# An opening that takes longer waits for its device or for a person, and costs nothing meanwhile.
_COMPUTING_SECS = 3.0
_LEAST_AT_ONCE = 8
# Beyond this, clients are refused until there is room.
MOST_WAITING = 8000
_MOST_OF_USER = 1000
# How long a place is kept for a client that lost its connection, or that could not be served in its turn.
_KEPT_SECS = 120.0
_KEPT_PLACES = 20_000
_ASK_SECS = 0.5
_ASKED_AT_ONCE = 500
# Much sooner than an orphan ends for want of its user.
_TOUCH_SECS = 15.0
# Clients that would wait for longer are handed to instances that have room.
_PATIENCE_SECS = 5.0
# What was learnt of the pace before a pause this long is forgotten.
_FORGET_SECS = 60.0


class Grant:
    """Leave to open one terminal. Call `done` when it is open, or will not be."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self.at = time.monotonic()

    def done(self) -> None:
        """Does nothing the second time."""
        self._admission.ended(self)


class Admission:
    """One queue per instance; see `cluster.admission` for its order and `cluster.pacing` for its speed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue = Queue()
        self._applicants: dict[Place, Applicant] = {}
        self._unranked: deque[Place] = deque()
        self._former: TTLCache[UUID, Place] = TTLCache(_KEPT_PLACES, _KEPT_SECS)
        """The last place of each reconnect token: a client that comes again has it again."""
        self._pace = Pace(time.monotonic())
        self._open: set[Grant] = set()
        self._admitted: deque[float] = deque(maxlen=200)
        """When the last ones were let in, by the monotonic clock."""
        self._lags: list[float] = []
        self._idle_since = time.monotonic()
        self._wake, self._wake_ranking = greenlets.Event(), greenlets.Event()
        self.admitting = greenlets.Background("admission", self._run)
        self.ranking = greenlets.Background("admission-ranking", self._keep_records)

    def start(self) -> None:
        self.admitting.start()
        self.ranking.start()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue)

    def load(self) -> Load:
        """What this instance can take, as far as is known, and what it has to do."""
        return Load(round(self._pace.per_sec, 1), len(self._queue))

    def is_full(self, user_id: UUID) -> bool:
        """Whether no more may wait, or no more of this user."""
        return len(self._queue) >= MOST_WAITING or self._queue.waiting_of(user_id) >= _MOST_OF_USER

    def wait_secs(self, place: int) -> float:
        """About how long the one at this place in the order waits."""
        return place / self._speed()

    def try_now(self) -> Grant | None:
        """Leave to open a terminal at once; None when there is a queue, or would be one."""
        return None if self._queue else self._grant()

    def enter(
        self,
        applicant: Applicant,
        user_id: UUID,
        *,
        since: float,
        token: UUID | None,
        former: Place | None = None,
    ) -> Place:
        """Joins the queue, at the `former` place if there was one.

        `since` is when the client first asked, at whichever instance, in seconds since 1970.
        """
        if not self._queue:
            self._admitted.clear()
            if time.monotonic() - self._idle_since > _FORGET_SECS:
                self._pace = Pace(time.monotonic())
        if token is not None:
            former = former or self._former.get(token)
        place = self._queue.enter(user_id, since, token, former)
        self._applicants[place] = applicant
        if token is not None:
            self._former[token] = place
            self._unranked.append(place)
            self._wake_ranking.set()
        self._wake.set()
        return place

    def leave(self, place: Place) -> None:
        """Gives the place up. Its token brings the client back to it for a while."""
        self._queue.leave(place)
        self._applicants.pop(place, None)

    def wait(self, user_id: UUID, tell: Callable[[int, float], None], is_gone: Callable[[], bool]) -> Grant | None:
        """Waits in the queue, in the caller's greenlet; None when `is_gone` says that it is of no use any more."""
        grant = self.try_now()
        if grant is not None:
            return grant
        waiting = WaitingCaller(is_gone)
        self.enter(waiting, user_id, since=time.time(), token=None)
        while waiting.grant is None and not waiting.has_left:
            waiting.news.wait()
            waiting.news.clear()
            told, waiting.told = waiting.told, None
            if told is not None and waiting.grant is None:
                # Here, and not where it is told: a client that reads slowly holds this greenlet up and no other.
                tell(*told)
        return waiting.grant

    def ended(self, grant: Grant) -> None:
        """An opening has ended."""
        self._open.discard(grant)

    def _grant(self) -> Grant | None:
        now = time.monotonic()
        # A person may take minutes over a host key. What is older is not waited for, whatever became of it.
        self._open = {grant for grant in self._open if now - grant.at < _FORGET_SECS}
        computing = sum(now - grant.at < _COMPUTING_SECS for grant in self._open)
        if computing >= max(_LEAST_AT_ONCE, self._pace.per_sec) or not self._pace.take(now):
            return None
        grant = Grant(self)
        self._open.add(grant)
        self._admitted.append(now)
        return grant

    def _speed(self) -> float:
        """Admitted a second of late, or else the pace."""
        if len(self._admitted) < 2 * _LEAST_AT_ONCE:
            return self._pace.per_sec
        return len(self._admitted) / max(1.0, time.monotonic() - self._admitted[0])

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._lags.clear()
            step_at = time.monotonic() + _STEP_SECS
            look_at = 0.0
            while self._queue:
                self._admit()
                self._hand_on()
                began_at = time.monotonic()
                greenlets.sleep(_TICK_SECS)
                now = time.monotonic()
                self._lags.append(now - began_at - _TICK_SECS)
                if now >= step_at:
                    step_at = now + _STEP_SECS
                    self._adapt()
                if now >= look_at:
                    self._look()
                    look_at = time.monotonic() + max(_LOOK_SECS, len(self._queue) / _LOOKS_PER_SEC)
            self._idle_since = time.monotonic()

    def _admit(self) -> None:
        while (place := self._queue.first()) is not None:
            if self._has_gone(place):
                continue
            grant = self._grant()
            if grant is None:
                return
            applicant = self._applicants[place]
            self.leave(place)
            try:
                applicant.admit(grant)
            except Exception:
                log.exception("admission.not_admitted")
                grant.done()

    def _has_gone(self, place: Place) -> bool:
        """Drops a client that has gone, and one that cannot be asked: it would hold up all that come after it."""
        try:
            has_gone = self._applicants[place].is_gone()
        except Exception:
            log.exception("admission.not_asked")
            has_gone = True
        if has_gone:
            self.leave(place)
        return has_gone

    def _hand_on(self) -> None:
        """Hands the first in the queue to other instances, which serve them at once."""
        while self.wait_secs(len(self._queue)) > _PATIENCE_SECS:
            place = self._queue.first()
            if place is None or not self._applicants[place].hand_on():
                return
            self.leave(place)

    def _adapt(self) -> None:
        lags, self._lags = sorted(self._lags), []
        waiting = int(self._database.statistics().get("requests_waiting", 0))
        before = self._pace.per_sec
        self._pace.adapt(Strain(lags[len(lags) * 9 // 10], waiting), is_wanted=True)
        if self._pace.per_sec < before:
            log.debug("admission.slowed", per_sec=round(self._pace.per_sec, 1), lag_secs=round(lags[-1], 3))

    def _look(self) -> None:
        """Drops clients that have gone, and tells the others their places."""
        number = 0
        for place in self._queue.in_order():
            # It may have been served while others were told.
            if place not in self._applicants or self._has_gone(place):
                continue
            number += 1
            self._applicants[place].tell(number, self.wait_secs(number))
            greenlets.give_way()
            self._admit()

    def _keep_records(self) -> None:
        """Finds out what the sessions were that are waited for, and keeps them from ending meanwhile."""
        while True:
            self._wake_ranking.wait()
            self._wake_ranking.clear()
            touch_at = time.monotonic()
            while self._queue:
                greenlets.sleep(_ASK_SECS)
                try:
                    self._rank()
                    if time.monotonic() >= touch_at:
                        self._touch()
                        touch_at = time.monotonic() + _TOUCH_SECS
                except StoreUnavailable as error:
                    log.info("admission.records_not_kept", error=str(error))
                except Exception:
                    log.exception("admission.records_not_kept")
            self._unranked.clear()

    def _rank(self) -> None:
        while self._unranked:
            asked = [self._unranked.popleft() for _ in range(min(_ASKED_AT_ONCE, len(self._unranked)))]
            tokens = [place.token for place in asked if place.token is not None and place.is_waiting]
            try:
                with self._database.transaction() as tx:
                    found = sessions.standings(tx, tokens)
            except StoreUnavailable:
                self._unranked.extendleft(reversed(asked))
                raise
            for place in asked:
                if place.token in found:
                    self._queue.rank(place, found[place.token])

    def _touch(self) -> None:
        tokens = [place.token for place in self._queue.in_order() if place.token is not None]
        for start in range(0, len(tokens), _ASKED_AT_ONCE):
            with self._database.transaction() as tx:
                sessions.keep_waiting(tx, tokens[start : start + _ASKED_AT_ONCE])
