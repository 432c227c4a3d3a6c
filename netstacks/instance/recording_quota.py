"""Limits of recordings: counted by this instance event by event, and refreshed from what all instances have stored."""

import contextlib
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from netstacks import greenlets
from netstacks.errors import LimitReached, StoreUnavailable
from netstacks.recording.limits import Allowance, DayTotal, shown_size
from netstacks.store import audit, quotas
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.terminal.session import Session

log = structlog.get_logger()

# The other instances' recordings are read at this interval, so a daily limit can be exceeded by what they record in it.
REFRESH_SECS = 10.0


class RecordingQuota:
    """A limit of 0 means no limit. A session that reaches one ends, or goes on without a recording."""

    def __init__(
        self,
        database: Database,
        deferred_writes: DeferredWrites,
        *,
        session_bytes: int,
        user_daily_bytes: int,
        ends_session: bool,
    ) -> None:
        self._database = database
        self._deferred_writes = deferred_writes
        self._session_bytes = session_bytes
        self._user_daily_bytes = user_daily_bytes
        self._ends_session = ends_session
        # For users with sessions here: only the allowances of these sessions reference the totals.
        self._totals: WeakValueDictionary[UUID, DayTotal] = WeakValueDictionary()
        self.periodic = greenlets.Periodic("recording-quota", self.refresh, REFRESH_SECS)

    def start(self) -> None:
        self.periodic.start()

    def allowance(self, row: SessionRow) -> Allowance:
        """The remaining allowance of a session, less what its former owners have recorded. Does not wait."""
        today = self._totals.get(row.user_id)
        if today is None or today.is_over:
            today = self._totals.setdefault(row.user_id, DayTotal())
            self.periodic.wake()
        return Allowance(
            session_bytes=self._session_bytes,
            day_bytes=self._user_daily_bytes,
            recorded_bytes=row.recorded_bytes,
            today=today,
        )

    def check(self, tx: Transaction, actor: Actor) -> None:
        """Raises LimitReached when a new session of this user would have to end at once."""
        if not self._user_daily_bytes or not self._ends_session or actor.id is None:
            return
        if quotas.recorded_today(tx, [actor.id]).by_user.get(actor.id, 0) >= self._user_daily_bytes:
            raise LimitReached(
                f"your sessions have recorded {shown_size(self._user_daily_bytes)} today, the limit for one user:"
                " connect again after 00:00 UTC, or ask an administrator to raise RECORDING_USER_DAILY_BYTES"
            )

    def reached(self, session: Session, reason: str) -> None:
        """Ends or continues a session whose recording has stopped at a limit, and audits it."""
        facts, action = session.facts, "ends" if self._ends_session else "goes on unrecorded"
        log.warning("recording.limit_reached", session_id=str(facts.id), username=facts.username, session=action)
        actor = Actor(facts.username, facts.user_id)
        details = {"device": facts.device_name, "reason": reason, "session": action}
        self._deferred_writes.put(audit.append, actor, "recording.limit_reached", f"session:{facts.id}", **details)
        session.recording_stopped(reason, ends=self._ends_session)

    def refresh(self) -> None:
        """Reads what all instances have stored today for the users with sessions here."""
        users = list(self._totals)
        if not users or not self._user_daily_bytes:
            return
        with contextlib.suppress(StoreUnavailable):
            with self._database.transaction() as tx:
                stored = quotas.recorded_today(tx, users)
            for user_id in users:
                if (total := self._totals.get(user_id)) is not None:
                    total.update(stored.day, stored.by_user.get(user_id, 0))
