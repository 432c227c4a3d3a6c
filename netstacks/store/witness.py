"""The witness: a lock in PostgreSQL that an instance holds for as long as its process lives, and others look at."""

import hashlib

import psycopg
import structlog
from psycopg.rows import dict_row

from netstacks import greenlets
from netstacks.cluster.routing import Witness as Sight
from netstacks.errors import StoreUnavailable
from netstacks.store.pool import CONNECT_OPTIONS, Database, Transaction
from netstacks.store.queries import load

log = structlog.get_logger()

_SQL = load("witness")
# How often the lock is looked after: a database that was restarted has forgotten it.
INTERVAL_SECS = 2.0
_ANSWER_SECS = 2.0


class Witness:
    """Holds this instance's lock on a connection of its own; reads whether others hold theirs, and never takes one.

    The kernel closes the connection of a process that is gone, and the database frees its lock: a free lock proves a
    death, together with a dial that was refused (design: death that can be proven need not wait).
    """

    def __init__(self, url: str, database: Database, instance_id: str) -> None:
        self._url = url
        self._database = database
        self._instance_id = instance_id
        self._connection: Transaction | None = None
        self._pid: int | None = None
        self._periodic = greenlets.Periodic("witness", self.look_after, INTERVAL_SECS)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        """Gives the lock back."""
        self._periodic.stop()
        self._let_go()

    def look_after(self) -> None:
        """Takes the lock if we do not hold it (any more)."""
        try:
            with greenlets.deadline(_ANSWER_SECS, StoreUnavailable("the database did not answer in time")):
                if self._connection is None:
                    self._connection = psycopg.Connection.connect(
                        self._url, autocommit=True, row_factory=dict_row, **CONNECT_OPTIONS
                    )
                    self._connection.execute(_SQL["hold"], {"key": _key(self._instance_id)})
                row = self._connection.execute(_SQL["pid"]).fetchone()
                self._pid = row["pid"] if row else None
        except (psycopg.Error, StoreUnavailable) as error:
            if self._pid is not None:
                log.info("witness.lost", error=type(error).__name__)
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection, self._pid = self._connection, None, None
        if connection is not None:
            connection.close()

    def of(self, instance_id: str) -> Sight:
        """Whether that instance holds its lock; unknown when the database, or what is between, cannot tell.

        Our own lock is looked for too. When it is not seen on the connection that took it, a proxy shares connections
        among clients, and locks of sessions mean nothing.
        """
        mine, other = _key(self._instance_id), _key(instance_id)
        try:
            with self._database.transaction(timeout_secs=_ANSWER_SECS) as tx:
                rows = tx.execute(_SQL["holders"], {"keys": [mine, other]}).fetchall()
        except StoreUnavailable:
            return "unknown"
        holders = {row["key"]: row["pid"] for row in rows}
        if self._pid is None or holders.get(mine) != self._pid:
            return "unknown"
        return "held" if other in holders else "free"


def _key(instance_id: str) -> int:
    """The lock's key: a signed 64-bit number."""
    digest = hashlib.sha256(f"netstacks witness {instance_id}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
