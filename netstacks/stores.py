"""What one instance stores: its connections to PostgreSQL and all that writes through them, and its disk."""

from collections.abc import Callable

from netstacks.instance.disk_watch import DiskWatch
from netstacks.recording.recorder import Recorder
from netstacks.recording.spool import Spool
from netstacks.settings import Settings
from netstacks.store.connections import IDLE_IN_TRANSACTION_SECS
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.store.witness import Witness

# Connections to PostgreSQL: for pages and log-ins; for finding, claiming and opening sessions; and for what must not
# wait behind either (recordings, audit, health). One more connection holds the witness lock.
_PAGE_CONNECTIONS, _ROUTING_CONNECTIONS, _VITAL_CONNECTIONS = 10, 8, 4


class Stores:
    """`may_compress` returns whether every instance can read compressed chunks; it is called after the start."""

    def __init__(self, settings: Settings, instance_id: str, *, may_compress: Callable[[], bool]) -> None:
        ttl_secs = settings.ha_stale_instance_ttl_secs
        self.database = Database(
            settings.database_url,
            name=instance_id,
            max_size=_PAGE_CONNECTIONS,
            # PostgreSQL frees the locks of a frozen instance before its peers declare it dead.
            idle_in_transaction_secs=min(IDLE_IN_TRANSACTION_SECS, ttl_secs / 2),
        )
        self.routing_database = self.database.reserve(_ROUTING_CONNECTIONS, "routing")
        self.vital_database = self.database.reserve(_VITAL_CONNECTIONS, "vital")
        self.vault = Vault(self.database, settings.vault_master_key, settings.vault_master_key_previous)
        self.deferred_writes = DeferredWrites(self.vital_database)
        self.recorder = Recorder(self.vital_database, may_compress=may_compress)
        self.spool = Spool(settings.spool_dir)
        self.disk_watch = DiskWatch(settings.spool_dir, settings.disk_free_min_bytes)
        self.witness = Witness(self.database.url, self.routing_database, instance_id, ttl_secs)

    def open(self) -> None:
        """Opens the databases; an unreachable PostgreSQL is not an error."""
        for database in (self.database, self.routing_database, self.vital_database):
            database.open()
