"""The upkeep of the audit log: seals rows, creates partitions ahead, drops those that are too old."""

import contextlib
import time
from datetime import UTC, datetime

import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.store import audit_chain, audit_partitions, system_settings
from netstacks.store.audit_chain import SEAL_ROWS
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AUDIT_DAYS

log = structlog.get_logger()

SEAL_SECS = 2.0
# The cluster seals as often as one instance would: each seal costs space and time for as long as its rows are kept. A
# little less than SEAL_SECS, so that a single instance does not skip every second round.
_PAUSE_SECS = 1.5
KEEP_SECS = 600.0
# A month of a busy cluster has a million seals, which one transaction deletes; another one may move as many rows.
_KEEP_TRANSACTION_SECS = 600.0
# How often the end of the chain is logged, for a comparison with what is stored outside of PostgreSQL.
_HEAD_SECS = 3600.0


class AuditUpkeep:
    """Runs on every instance: one at a time does the work, and the next run of any other one continues it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._logged_at = -_HEAD_SECS
        self.sealing = greenlets.Periodic("audit-sealing", self.seal, SEAL_SECS)
        self.keeping = greenlets.Periodic("audit-keeping", self.keep, KEEP_SECS)

    def start(self) -> None:
        self.sealing.start()
        self.keeping.start()

    def seal(self) -> None:
        """Seals the rows that wait now, and logs the end of the chain once an hour."""
        with contextlib.suppress(StoreUnavailable):
            sealed, pause_secs = SEAL_ROWS, _PAUSE_SECS
            while sealed == SEAL_ROWS:
                with self._database.transaction() as tx:
                    sealed = audit_chain.seal_some(tx, pause_secs=pause_secs)
                pause_secs = 0.0
            self._log_head()

    def _log_head(self) -> None:
        if time.monotonic() - self._logged_at < _HEAD_SECS:
            return
        with self._database.transaction() as tx:
            head = audit_chain.state(tx)
        self._logged_at = time.monotonic()
        log.info("audit.head", seal=head.number, rows=head.rows, sha256=head.sha256)

    def keep(self) -> None:
        """Creates the partitions of the next months, and drops those that are older than the retention."""
        try:
            with self._database.transaction(timeout_secs=_KEEP_TRANSACTION_SECS) as tx:
                created = audit_partitions.create_missing(tx, datetime.now(UTC))
            if created:
                log.info("audit.partitions_created", partitions=created)
            self._drop()
        except StoreUnavailable as error:
            log.warning("audit.not_kept", problem=str(error))

    def _drop(self) -> None:
        with self._database.transaction() as tx:
            days = system_settings.get(tx, AUDIT_DAYS)
        while days:
            with self._database.transaction(timeout_secs=_KEEP_TRANSACTION_SECS) as tx:
                dropped = audit_partitions.drop_expired(tx, days)
            if dropped is None:
                return
            name = dropped.partition.name
            log.info("audit.partition_dropped", partition=name, rows=dropped.rows, retention_days=days)
