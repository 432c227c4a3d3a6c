"""The summary of failed log-ins that have no audit row of their own, written to the audit log."""

import contextlib

import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.store import failed_login_audit
from netstacks.store.pool import Database

log = structlog.get_logger()

INTERVAL_SECS = 60.0


class FailedLoginSummary:
    """Runs every minute on every instance: the counts are in PostgreSQL, and any instance may write a due summary."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.periodic = greenlets.Periodic("failed-login-summary", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Writes the summary that is due now, if any."""
        with contextlib.suppress(StoreUnavailable):
            with self._database.transaction() as tx:
                attempts = failed_login_audit.write_counted(tx)
            if attempts:
                log.warning("auth.many_logins_failed", attempts=attempts)
