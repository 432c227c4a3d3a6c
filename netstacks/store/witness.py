"""The witness: a PostgreSQL advisory lock that an instance holds while its process lives, and that others inspect."""

import hashlib
import math
import time
from collections.abc import Sequence

import psycopg
import structlog
from psycopg.rows import dict_row

from netstacks import greenlets
from netstacks.cluster.routing import Witness as WitnessState
from netstacks.errors import StoreUnavailable
from netstacks.store.connections import WritingConnection, connect_options, hang_up
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load

log = structlog.get_logger()

_SQL = load("witness")
# How often the holder sends a statement on its connection, which also shows whether the lock still exists.
INTERVAL_SECS = 2.0
_ANSWER_SECS = 2.0


class Witness:
    """Holds this instance's lock on a separate connection, and reads the state of other instances' locks.

    The kernel closes the connections of a dead process, and PostgreSQL releases its lock: a free lock together with a
    refused dial proves a death. A frozen process keeps its lock without sending anything: after `silent_after_secs` its
    state is `silent`. Other instances' locks are never taken, only read in pg_locks.
    """

    def __init__(self, url: str, database: Database, instance_id: str, silent_after_secs: float = 30.0) -> None:
        self._url = url
        self._database = database
        self._instance_id = instance_id
        self._silent_after_secs = silent_after_secs
        self._connection: Transaction | None = None
        self._pid: int | None = None
        self._held_since = math.inf
        self._refused = False
        self._renewals = 0
        self.periodic = greenlets.Periodic("witness", self.renew, INTERVAL_SECS)

    @property
    def is_held(self) -> bool:
        """Whether this instance held its lock at the last `renew`."""
        return self._pid is not None

    def start(self) -> None:
        self.periodic.start()

    def stop(self) -> None:
        """Releases the lock."""
        self.periodic.stop()
        self._let_go()

    def renew(self) -> None:
        """Takes the lock unless this instance holds it, and sends a sign of life."""
        if self._renewals != self._database.contact.renewals:
            # After a failover the lock must be taken on the new primary, where the others read it.
            self._renewals = self._database.contact.renewals
            self._let_go()
        try:
            if self._connection is None:
                self._connection = WritingConnection.connect(
                    self._url, autocommit=True, row_factory=dict_row, **connect_options(self._instance_id)
                )
            with greenlets.Timer(_ANSWER_SECS, self._hang_up):
                if self._pid is None:
                    self._take(self._connection)
                else:
                    self._pid = self._value(self._connection.execute(_SQL["heartbeat"]), "pid")
        except psycopg.Error as error:
            if self._pid is not None:
                log.warning("witness.lost", error=type(error).__name__)
            self._let_go()

    def _take(self, connection: Transaction) -> None:
        key = {"key": _key(self._instance_id)}
        answer = connection.execute(_SQL["take"], key).fetchone()
        if answer is not None and answer["held"]:
            self._pid, self._refused = answer["pid"], False
            self._held_since = time.monotonic()
            return
        ended = self._value(connection.execute(_SQL["end_holder"], key), "ended")
        if not self._refused:
            self._refused = True
            log.warning(
                "witness.refused", ended_connections=ended, advice="an old connection of this instance holds the lock"
            )

    @staticmethod
    def _value(cursor: psycopg.Cursor[psycopg.rows.DictRow], name: str) -> int:
        row = cursor.fetchone()
        assert row is not None
        return int(row[name])

    def _hang_up(self) -> None:
        if self._connection is not None:
            greenlets.spawn("witness-hang-up", hang_up, self._connection)

    def _let_go(self) -> None:
        connection, self._connection, self._pid = self._connection, None, None
        if connection is not None:
            connection.close()

    def of(self, instance_id: str) -> WitnessState:
        """The state of that instance's lock; unknown when the database or a proxy before it does not show it."""
        return self.of_all([instance_id])[instance_id]

    def of_all(self, instance_ids: Sequence[str]) -> dict[str, WitnessState]:
        """The states of the locks of several instances.

        Our own lock serves as a control: when it is not on the connection that took it, a proxy shares connections
        among clients (transaction pooling), and session locks prove nothing.
        """
        mine = _key(self._instance_id)
        keys = {each: _key(each) for each in instance_ids}
        try:
            with self._database.transaction(timeout_secs=_ANSWER_SECS) as tx:
                rows = tx.execute(_SQL["holders"], {"keys": [mine, *keys.values()]}).fetchall()
        except StoreUnavailable:
            return dict.fromkeys(instance_ids, "unknown")
        holders = {row["key"]: row for row in rows}
        if self._pid is None or mine not in holders or holders[mine]["pid"] != self._pid:
            return dict.fromkeys(instance_ids, "unknown")
        return {each: self._state_of(holders.get(key)) for each, key in keys.items()}

    def _state_of(self, holder: psycopg.rows.DictRow | None) -> WitnessState:
        if holder is None:
            return "free"
        # A server that was stopped or unreachable has heard from no instance, and our own lock was lost then. So the
        # silence that counts began after we took our lock.
        heard_secs = time.monotonic() - self._held_since
        silent_secs = holder["silent_secs"] or 0.0
        return "silent" if min(silent_secs, heard_secs) > self._silent_after_secs else "held"


def end_connections(tx: Transaction, instance_id: str) -> int:
    """Terminates all connections of an instance that was declared dead, which frees its locks; returns their number.

    An instance that is alive nevertheless reconnects, and finds that it has lost its sessions.
    """
    row = tx.execute(_SQL["end_connections"], {"name": instance_id}).fetchone()
    assert row is not None
    return int(row["ended"])


def _key(instance_id: str) -> int:
    """The lock's key: a signed 64-bit number."""
    digest = hashlib.sha256(f"netstacks witness {instance_id}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
