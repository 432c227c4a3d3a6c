"""The hub: the sessions that this instance owns, and the writes of their state to PostgreSQL."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

import structlog
from cachetools import TTLCache

from netstacks import greenlets
from netstacks.cluster.admission import Queue, Standing
from netstacks.cluster.model import SessionRecord
from netstacks.errors import RetryLater
from netstacks.recording.closing import Closing
from netstacks.store import sessions
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.session import Session
from netstacks.terminal.session_facts import State
from netstacks.terminal.session_hooks import Hooks

log = structlog.get_logger()

# After the end of its session a client reconnects with its token, and a page asks with the session's id: both get the
# reason of the end for this long. One limit holds for the number of both together.
_ENDED_KEYS = 20_000
_ENDED_SECS = 3600.0
# In a drain a session counts as idle when its device has printed nothing for this long.
IDLE_SECS = 2.0
_IDLE_POLL_SECS = 0.1
# A session is in use for this long after output. Input counts too: the device echoes it.
_IN_USE_SECS = 120.0


class Hub:
    """Finds live sessions by id and by reconnect token, without any I/O.

    `on_gone` is called with every session that this instance stops owning, `on_changed` with every other one whose
    client has come or gone. Neither must yield.
    """

    def __init__(
        self,
        deferred_writes: DeferredWrites,
        detach_ttl_secs: float,
        close_grace_secs: float,
        *,
        on_gone: Callable[[Session], None] = lambda session: None,
        on_changed: Callable[[Session], None] = lambda session: None,
    ) -> None:
        self._deferred_writes = deferred_writes
        self._detach_ttl_secs = detach_ttl_secs
        self._close_grace_secs = min(close_grace_secs, detach_ttl_secs)
        self._sessions: dict[UUID, Session] = {}
        self._by_token: dict[UUID, Session] = {}
        # The reason of a drain, from its beginning on: no session is added any more.
        self._drain_reason: str | None = None
        # By token and by session id: the user and the reason of the end.
        self._ended: TTLCache[UUID, tuple[UUID, str]] = TTLCache(_ENDED_KEYS, _ENDED_SECS)
        self._on_gone = on_gone
        self._on_changed = on_changed
        self.hooks = Hooks(self._attached, self._detached, self._closed)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def check_open(self) -> None:
        """Raises RetryLater when this instance takes no more sessions."""
        if self._drain_reason is not None:
            raise RetryLater(f"{self._drain_reason}: connect again")

    def add(self, session: Session) -> None:
        """Raises RetryLater in a drain, which may have handed over its last session already."""
        self.check_open()
        self._sessions[session.id] = session
        self._by_token[session.facts.token] = session

    def find(self, session_id: UUID) -> Session | None:
        return self._sessions.get(session_id)

    def find_by_token(self, token: UUID) -> Session | None:
        return self._by_token.get(token)

    def ended(self, token_or_id: UUID) -> tuple[UUID, str] | None:
        """User and reason of a session that ended here in the last hour.

        Its row may not say so yet, or PostgreSQL may be unavailable.
        """
        return self._ended.get(token_or_id)

    def records(self) -> list[SessionRecord]:
        """The registry's entries of all sessions."""
        return [session.record() for session in self]

    def fence(self, session_ids: Sequence[UUID]) -> None:
        """Drops the copies of sessions that another instance owns now."""
        for session_id in session_ids:
            session = self.find(session_id)
            if session is not None:
                session.fence()

    def recheck(self) -> None:
        """Makes every session's recording compare its epoch with the row: a fenced copy closes itself."""
        for session in self:
            session.recording.recheck()

    def expire_detached(self) -> None:
        """Ends the sessions that have been detached for longer than the detach TTL, or than the close grace period."""
        for session in self:
            if session.state is not State.DETACHED:
                continue
            away_secs = time.monotonic() - session.detached_at
            if session.was_left and away_secs > self._close_grace_secs:
                session.end("its user closed the terminal")
            elif away_secs > self._detach_ttl_secs:
                session.end(f"its user did not come back within {self._detach_ttl_secs:g} s")

    @property
    def attached(self) -> int:
        """How many sessions have a control attachment."""
        return sum(session.state is State.ACTIVE for session in self)

    def hand_over_all(
        self, reason: str, within_secs: float, per_sec: float, *, is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Stops every session so that another instance can claim it, within about `within_secs`.

        Returns early when `is_cancelled`: the remaining sessions go on, and `reopen` ends the drain.

        Detached sessions are handed over at once. The others follow at `per_sec` a second, or faster if time is short,
        in the order in which the other instances admit their clients. A session with output under way gets half of the
        time to finish it.
        """
        self._drain_reason = reason
        began_at = time.monotonic()
        busy_until, ends_at = began_at + within_secs / 2, began_at + within_secs
        for session in self:
            if session.state is State.DETACHED and not is_cancelled():
                session.hand_over(reason)
        while self._sessions:
            for session in _in_order(self):
                if is_cancelled():
                    return
                if session.is_live and (_is_idle(session) or time.monotonic() > busy_until):
                    session.hand_over(reason)
                    share_secs = max(0.0, ends_at - time.monotonic()) / max(1, len(self))
                    greenlets.sleep(min(1 / per_sec, share_secs) if self._sessions else 0)
            if self._sessions:
                greenlets.sleep(_IDLE_POLL_SECS)

    def reopen(self) -> None:
        """Takes sessions again after a drain that was cancelled."""
        self._drain_reason = None

    def write_state(self, session: Session) -> None:
        """Writes to PostgreSQL again whether the session's client is attached."""
        facts = session.facts
        if session.state is State.ACTIVE:
            self._deferred_writes.put(sessions.mark_attached, facts.id, facts.epoch, session.cols, session.rows)
        elif session.state is State.DETACHED:
            self._deferred_writes.put(sessions.mark_detached, facts.id, facts.epoch)

    def _attached(self, session: Session, attachment: Attachment) -> None:
        if attachment.kind is Kind.CONTROL:
            self._changed(session)
        _note(session, attachment, "session.attached")

    def _detached(self, session: Session, attachment: Attachment) -> None:
        if attachment.kind is Kind.CONTROL:
            self._changed(session)
        _note(session, attachment, "session.detached")

    def _changed(self, session: Session) -> None:
        self.write_state(session)
        # The sockets of a session close after its end, when it has left the registry.
        if self._sessions.get(session.id) is session:
            self._on_changed(session)

    def _closed(self, session: Session, reason: str) -> None:
        self._sessions.pop(session.id, None)
        self._by_token.pop(session.facts.token, None)
        if session.state is State.ENDED:
            self._ended[session.facts.token] = self._ended[session.id] = (session.facts.user_id, reason)
        # A fenced copy must not write: the row belongs to the new owner.
        if not session.recording.fenced:
            facts = session.facts
            ended = session.state is State.ENDED
            session.recording.close(Closing(ended, reason, facts.user_id, facts.username, facts.device_name))
        log.info("session.closed", session_id=str(session.id), state=session.state.value, reason=reason)
        self._on_gone(session)


def _note(session: Session, attachment: Attachment, event: str) -> None:
    log.info(event, session_id=str(session.id), kind=attachment.kind.value, username=attachment.username)


def _is_idle(session: Session) -> bool:
    return session.state is not State.ACTIVE or time.monotonic() - session.recording.printed_at > IDLE_SECS


def _in_order(sessions: Iterable[Session]) -> list[Session]:
    """In the order in which an admission queue would serve their clients."""
    queue, waiting = Queue(), {}
    for session in sessions:
        place = queue.enter(session.facts.user_id, session.facts.started_at, None)
        waiting[place] = session
        if time.monotonic() - session.recording.printed_at < _IN_USE_SECS:
            queue.rank(place, Standing.IN_USE)
    return [waiting[place] for place in queue.in_order()]
