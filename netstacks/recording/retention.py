"""Retention: removes recordings older than the retention time, and deleted ones, in the background."""

from collections.abc import Callable

import structlog

from netstacks import greenlets
from netstacks.recording import storage
from netstacks.store.pool import Database

log = structlog.get_logger()

INTERVAL_SECS = 60.0


class Retention:
    """Runs every minute, on any number of instances at once.

    `days` returns the retention time of the moment; with 0 only deleted recordings are removed.

    Every transaction is a bounded step, however long a recording is: when an instance dies, the next run of any other
    one continues.
    """

    def __init__(self, database: Database, days: Callable[[], int]) -> None:
        self._database = database
        self._days = days
        self.periodic = greenlets.Periodic("retention", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Removes what is due now."""
        if days := self._days():
            self._prune(days)
        self._sweep()

    def _prune(self, days: int) -> None:
        while True:
            with self._database.transaction() as tx:
                count = storage.prune(tx, days)
            if not count:
                return
            log.info("recordings.pruned", count=count, retention_days=days)

    def _sweep(self) -> None:
        found = True
        while found:
            with self._database.transaction() as tx:
                found = storage.sweep(tx)
