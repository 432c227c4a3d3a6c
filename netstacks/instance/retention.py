"""Retention: recordings older than `RECORDING_RETENTION_DAYS` are removed in the background."""

import structlog

from netstacks import greenlets
from netstacks.store import recordings
from netstacks.store.pool import Database

log = structlog.get_logger()

INTERVAL_SECS = 3600.0


class Retention:
    """Prunes every hour, a few recordings a transaction; any number of instances may do so at once."""

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days
        self._periodic = greenlets.Periodic("retention", self.prune, INTERVAL_SECS)

    def start(self) -> None:
        if self._days:
            self._periodic.start()

    def prune(self) -> None:
        """Removes what is due now."""
        while True:
            with self._database.transaction() as tx:
                count = recordings.prune(tx, self._days)
            if not count:
                return
            log.info("recordings.pruned", count=count, retention_days=self._days)
