"""Orphans: live sessions whose owner is gone. They wait to be claimed, and end when nobody comes for them."""

import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.store import audit, recordings, sessions
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.spool import Spool

log = structlog.get_logger()

INTERVAL_SECS = 10.0


class Orphans:
    """Any instance may end any orphan: ending is a compare-and-set on its epoch.

    What their owners left on this host's disk is stored first: it could not be once their epoch has moved on.
    """

    def __init__(self, database: Database, spool: Spool, agent: Agent, detach_ttl_secs: float) -> None:
        self._database = database
        self._spool = spool
        self._agent = agent
        self._detach_ttl_secs = detach_ttl_secs
        self._periodic = greenlets.Periodic("orphans", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self._periodic.start()

    def look(self) -> None:
        """Notes new orphans as detached, and ends those that were not claimed within the detach TTL."""
        living = list(self._agent.snapshot.instances)
        try:
            self._spool.restore(self._database)
            if self._agent.is_blind or not living:
                return
            with self._database.transaction() as tx:
                sessions.detach_orphans(tx, living)
                for row in sessions.overdue_orphans(tx, living, self._detach_ttl_secs):
                    self._end(tx, row)
        except StoreUnavailable as error:
            log.info("orphans.not_looked_at", error=str(error))

    def _end(self, tx: Transaction, row: SessionRow) -> None:
        reason = f"its instance was lost and nobody came back within {self._detach_ttl_secs:g} s"
        ended = sessions.end(tx, row.id, row.epoch, reason)
        if ended is not None:
            recordings.append_note(tx, row.id, ended.epoch, f"ended: {reason}; what it had not stored is missing here")
            audit.append(tx, audit.SYSTEM, "session.closed", f"session:{row.id}", device=row.device_name, reason=reason)
            log.info("session.orphan_ended", session_id=str(row.id), former=row.owner)
