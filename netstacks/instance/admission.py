"""The admission queue: clients wait here for a terminal before the instance does any work for them.

After the loss of an instance all of its clients reconnect at once. A connection attempt that fails half-way costs as
much as one that succeeds. So the queue admits no more clients than the instance can serve; the others keep their
places.
"""

import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

import structlog
from cachetools import TTLCache

from netstacks import greenlets, tracing
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
# The interval at which clients are checked and told their places; a longer queue stretches it to bound the work.
_CHECK_SECS = 2.0
_CHECKS_PER_SEC = 500
# An opening that takes longer is waiting for its device or its user, and uses no processor time.
_COMPUTING_SECS = 3.0
_MIN_AT_ONCE = 8
# Beyond this, clients are refused until there is room.
MAX_WAITING = 8000
_MAX_OF_USER = 1000
# How long a place is kept for a client that lost its connection, or that could not be served in its turn.
_KEPT_SECS = 120.0
_KEPT_PLACES = 20_000
_RANK_SECS = 0.5
_BATCH = 500
# Much shorter than SESSION_DETACH_TTL_SECS, after which an orphan ends.
_TOUCH_SECS = 15.0
# Clients that would wait for longer are handed over to instances with room.
_PATIENCE_SECS = 5.0
# The measured pace is dropped after a pause of this length.
_FORGET_SECS = 60.0


class Grant:
    """A permit to open one terminal. Call `done` when the terminal is open or has failed."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self.at = time.monotonic()

    def done(self) -> None:
        """Returns the permit; idempotent."""
        self._admission.ended(self)


class Admission:
    """One queue per instance; `cluster.admission` has the rules of its order, `cluster.pacing` those of its rate."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue = Queue()
        self._applicants: dict[Place, Applicant] = {}
        """The applicant of each place that is in the queue; changed together with the queue, without a yield."""
        self._unranked: deque[Place] = deque()
        """Places whose sessions have not been looked up in PostgreSQL yet."""
        self._former: TTLCache[UUID, Place] = TTLCache(_KEPT_PLACES, _KEPT_SECS)
        """The last place of each reconnect token: a client that reconnects gets it back."""
        self._pace = Pace(time.monotonic())
        self._open: set[Grant] = set()
        """The permits in use, those older than _FORGET_SECS left out."""
        self._admitted: deque[float] = deque(maxlen=200)
        """When the last clients were admitted, by the monotonic clock."""
        self._lags: list[float] = []
        """By how many seconds timers fired late since the last adaptation of the pace."""
        self._idle_since = time.monotonic()
        self._wake, self._wake_ranking = greenlets.Event(), greenlets.Event()
        self.admitting = greenlets.Background("admission", self._run)
        self.ranking = greenlets.Background("admission-ranking", self._keep_records)

    def start(self) -> None:
        self.admitting.start()
        self.ranking.start()

    def __len__(self) -> int:
        """How many clients wait."""
        return len(self._queue)

    def load(self) -> Load:
        """How many terminals this instance can open a second, and how many clients wait; heartbeats report it."""
        return Load(round(self._pace.per_sec, 1), len(self._queue))

    def is_full(self, user_id: UUID) -> bool:
        """Whether the queue has reached its limit, or this user has."""
        return len(self._queue) >= MAX_WAITING or self._queue.waiting_of(user_id) >= _MAX_OF_USER

    def wait_secs(self, place: int) -> float:
        """The estimated wait of the client at this position."""
        return place / self._speed()

    def try_now(self) -> Grant | None:
        """A permit to open a terminal at once; None when clients wait, or when the pace allows no opening now."""
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

        `since` is when the client first asked any instance, in seconds since 1970.
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
        """Gives the place up. A client with its token gets it back within _KEPT_SECS."""
        self._queue.leave(place)
        self._applicants.pop(place, None)

    def wait(self, user_id: UUID, on_place: Callable[[int, float], None], is_gone: Callable[[], bool]) -> Grant | None:
        """Waits in the queue, in the caller's greenlet; None when `is_gone` reports that the client has left."""
        grant = self.try_now()
        if grant is not None:
            return grant
        waiting = WaitingCaller(is_gone)
        with tracing.begin("admission.wait"):
            self.enter(waiting, user_id, since=time.time(), token=None)
            while waiting.grant is None and not waiting.has_left:
                waiting.news.wait()
                waiting.news.clear()
                place, waiting.place = waiting.place, None
                if place is not None and waiting.grant is None:
                    # In this greenlet: a client that reads slowly must not block the greenlet of the queue.
                    on_place(*place)
        return waiting.grant

    def ended(self, grant: Grant) -> None:
        """Takes back the permit of an opening that has ended."""
        self._open.discard(grant)

    def _grant(self) -> Grant | None:
        now = time.monotonic()
        # A user may take minutes to decide on a host key. An older permit does not count, even if it is never returned.
        self._open = {grant for grant in self._open if now - grant.at < _FORGET_SECS}
        computing = sum(now - grant.at < _COMPUTING_SECS for grant in self._open)
        if computing >= max(_MIN_AT_ONCE, self._pace.per_sec) or not self._pace.take(now):
            return None
        grant = Grant(self)
        self._open.add(grant)
        self._admitted.append(now)
        return grant

    def _speed(self) -> float:
        """Clients admitted per second lately; the pace while too few were."""
        if len(self._admitted) < 2 * _MIN_AT_ONCE:
            return self._pace.per_sec
        return len(self._admitted) / max(1.0, time.monotonic() - self._admitted[0])

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._lags.clear()
            step_at = time.monotonic() + _STEP_SECS
            check_at = 0.0
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
                if now >= check_at:
                    self._check()
                    check_at = time.monotonic() + max(_CHECK_SECS, len(self._queue) / _CHECKS_PER_SEC)
            self._idle_since = time.monotonic()

    def _admit(self) -> None:
        while (place := self._queue.first()) is not None:
            if self._drop_if_gone(place):
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

    def _drop_if_gone(self, place: Place) -> bool:
        """Drops a client that has left, and one whose check fails: it would block all clients behind it."""
        try:
            has_gone = self._applicants[place].drop_if_gone()
        except Exception:
            log.exception("admission.check_failed")
            has_gone = True
        if has_gone:
            self.leave(place)
        return has_gone

    def _hand_on(self) -> None:
        """Hands clients over to instances that can serve them at once, the first in the queue first."""
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

    def _check(self) -> None:
        """Drops clients that have left, and tells the others their places."""
        number = 0
        for place in self._queue.in_order():
            # `give_way` below yields: this place may have been admitted meanwhile.
            if place not in self._applicants or self._drop_if_gone(place):
                continue
            number += 1
            self._applicants[place].show_place(number, self.wait_secs(number))
            greenlets.give_way()
            self._admit()

    def _keep_records(self) -> None:
        """Ranks the waiting places by the state of their sessions, and keeps these sessions from expiring."""
        while True:
            self._wake_ranking.wait()
            self._wake_ranking.clear()
            touch_at = time.monotonic()
            while self._queue:
                greenlets.sleep(_RANK_SECS)
                try:
                    self._rank()
                    if time.monotonic() >= touch_at:
                        self._touch()
                        touch_at = time.monotonic() + _TOUCH_SECS
                except StoreUnavailable as error:
                    log.info("admission.ranking_failed", error=str(error))
                except Exception:
                    log.exception("admission.ranking_failed")
            self._unranked.clear()

    def _rank(self) -> None:
        while self._unranked:
            batch = [self._unranked.popleft() for _ in range(min(_BATCH, len(self._unranked)))]
            tokens = [place.token for place in batch if place.token is not None and place.is_waiting]
            try:
                with self._database.transaction() as tx:
                    found = sessions.standings(tx, tokens)
            except StoreUnavailable:
                self._unranked.extendleft(reversed(batch))
                raise
            for place in batch:
                if place.token in found:
                    self._queue.rank(place, found[place.token])

    def _touch(self) -> None:
        tokens = [place.token for place in self._queue.in_order() if place.token is not None]
        for start in range(0, len(tokens), _BATCH):
            with self._database.transaction() as tx:
                sessions.keep_waiting(tx, tokens[start : start + _BATCH])
