"""The live sessions of the cluster for operators: the rows from PostgreSQL, the rest from the owners."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cachetools import TTLCache

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.errors import PeerFailed
from netstacks.peer.client import PeerClient, Reply
from netstacks.store import live_sessions
from netstacks.store.live_sessions import LiveSession
from netstacks.store.pool import Database
from netstacks.store.sight import Sight
from netstacks.terminal.attachment import Kind
from netstacks.terminal.hub import Hub

PATH = "/peer/sessions/survey"
# The ids travel in a request header, whose size is limited.
MAX_SESSIONS = 100
# How long all owners together may take to answer, and how long an answer is reused.
_PATIENCE_SECS = 1.5
_FRESH_SECS = 3.0
# The calls that this instance makes at the same time, for all viewers.
_CALLS_AT_ONCE = 16


@dataclass(frozen=True)
class LiveFigures:
    """What only the owner of a session knows."""

    viewers: int
    bytes: int
    """The device's output since the session began."""


@dataclass(frozen=True)
class SurveyedSession:
    """A session; `figures` is None when its owner did not answer in time, or when it has none."""

    row: LiveSession
    figures: LiveFigures | None


class SessionSurvey:
    """Asks each owner of a page of sessions once, all owners at the same time."""

    def __init__(self, database: Database, peers: PeerClient, hub: Hub, own_id: str) -> None:
        self._database = database
        self._peers = peers
        self._hub = hub
        self._own_id = own_id
        self._known: TTLCache[tuple[UUID, int], LiveFigures] = TTLCache(10_000, _FRESH_SECS)
        """By session id and epoch."""
        self._slots = greenlets.BoundedSemaphore(_CALLS_AT_ONCE)
        self._calls: dict[str, greenlets.Greenlet] = {}
        """The last call to each owner. While one is under way, no other begins."""

    def page(
        self, *, owner: str | None, before: datetime | None, limit: int, seen_by: Sight | None = None
    ) -> list[SurveyedSession]:
        """Live sessions in sight newest first, of `owner` or of all. Raises StoreUnavailable."""
        with self._database.transaction() as tx:
            rows = live_sessions.page(tx, owner=owner, before=before, limit=limit, seen_by=seen_by)
        by_owner: dict[Peer, list[LiveSession]] = defaultdict(list)
        for row in rows:
            if row.owner is not None and row.owner != self._own_id and (row.id, row.epoch) not in self._known:
                by_owner[Peer(row.owner, row.owner_address or "")].append(row)
        calls = [self._begin_call(peer, theirs) for peer, theirs in by_owner.items()]
        # A call that takes longer runs to its end, and the next page has its answer.
        greenlets.joinall(calls, timeout=_PATIENCE_SECS)
        own = self.here(row.id for row in rows if row.owner == self._own_id)
        return [SurveyedSession(row, own.get(row.id) or self._known.get((row.id, row.epoch))) for row in rows]

    def _begin_call(self, peer: Peer, rows: Sequence[LiveSession]) -> greenlets.Greenlet:
        self._calls = {owner: call for owner, call in self._calls.items() if not call.ready()}
        # No yield between the check and the spawn: an owner that does not answer would collect calls.
        if peer.id not in self._calls:
            self._calls[peer.id] = greenlets.spawn("session-survey", self._ask, peer, rows)
        return self._calls[peer.id]

    def here(self, session_ids: Iterable[UUID]) -> Mapping[UUID, LiveFigures]:
        """The figures of those sessions that this instance holds."""
        found = ((session_id, self._hub.find(session_id)) for session_id in session_ids)
        return {
            session_id: LiveFigures(sum(each.kind is Kind.VIEWER for each in session.attachments), session.output.end)
            for session_id, session in found
            if session is not None
        }

    def _ask(self, peer: Peer, rows: Sequence[LiveSession]) -> None:
        if not peer.address:
            return
        with self._slots:
            try:
                reply = self._peers.call(peer, PATH, session_ids=[str(row.id) for row in rows])
            except PeerFailed:
                return
        body = reply.body if isinstance(reply, Reply) else None
        if isinstance(body, dict):
            for row in rows:
                if (figures := _figures(body.get(str(row.id)))) is not None:
                    self._known[row.id, row.epoch] = figures


def _figures(answer: Any) -> LiveFigures | None:
    """The figures in a peer's answer, which another version of this program may have written."""
    match answer:
        case {"viewers": int(viewers), "bytes": int(count)}:
            return LiveFigures(viewers, count)
    return None
