"""Retention: removes recordings older than `RECORDING_RETENTION_DAYS`, and deleted ones, in the background."""

import structlog

from netstacks import greenlets
from netstacks.recording import storage
from netstacks.store.pool import Database

log = structlog.get_logger()

INTERVAL_SECS = 60.0


class Retention:
    """Runs every minute, on any number of instances at once. With 0 `days` only deleted recordings are removed.

    Every transaction is a bounded step, however long a recording is: when an instance dies, the next run of any other
    one continues.
    """

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days
        self.periodic = greenlets.Periodic("retention", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

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
