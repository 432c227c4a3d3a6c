"""Strays: copies of sessions here that PostgreSQL gives to this instance no more. They are closed, even when idle."""

import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.terminal.hub import Hub

log = structlog.get_logger()

INTERVAL_SECS = 5.0


class Strays:
    """A copy whose device prints finds out when it records; this finds the silent ones.

    So a session that was ended through another instance takes no keystroke for longer than INTERVAL_SECS.
    """

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._periodic = greenlets.Periodic("strays", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self._periodic.start()

    def look(self) -> None:
        """Ends the copies of sessions that have ended, and fences those of sessions that are at another epoch."""
        held = list(self._hub)
        if not held:
            return
        try:
            with self._database.transaction() as tx:
                rows = {row.id: row for row in sessions.find_all(tx, [session.id for session in held])}
        except StoreUnavailable as error:
            log.info("strays.not_looked_at", error=str(error))
            return
        for session in held:
            row = rows.get(session.id)
            if row is not None and row.state == "ended":
                session.end(row.end_reason or "it was ended elsewhere")
            elif row is None or row.epoch != session.facts.epoch:
                session.fence()
