"""Retention: recordings older than `RECORDING_RETENTION_DAYS`, and deleted ones, are removed in the background."""

import structlog

from netstacks import greenlets
from netstacks.recording import storage
from netstacks.store.pool import Database

log = structlog.get_logger()

INTERVAL_SECS = 60.0


class Retention:
    """Looks every minute; any number of instances may do so at once. 0 `days` keeps all that nobody has deleted.

    Every transaction is a bounded step, however long a recording is. An instance that dies leaves the rest to the next
    one that looks.
    """

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days
        self._periodic = greenlets.Periodic("retention", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self._periodic.start()

    def look(self) -> None:
        """Removes what is due now."""
        if self._days:
            self._prune()
        self._sweep()

    def _prune(self) -> None:
        while True:
            with self._database.transaction() as tx:
                count = storage.prune(tx, self._days)
            if not count:
                return
            log.info("recordings.pruned", count=count, retention_days=self._days)

    def _sweep(self) -> None:
        found = True
        while found:
            with self._database.transaction() as tx:
                found = storage.sweep(tx)
