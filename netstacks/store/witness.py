"""The witness: a lock in PostgreSQL that an instance holds for as long as its process lives, and others look at."""

import hashlib
import math
import time
from collections.abc import Sequence

import psycopg
import structlog
from psycopg.rows import dict_row

from netstacks import greenlets
from netstacks.cluster.routing import Witness as Sight
from netstacks.errors import StoreUnavailable
from netstacks.store.pool import Database, Transaction, WritingConnection, connect_options, hang_up
from netstacks.store.queries import load

log = structlog.get_logger()

_SQL = load("witness")
# How often the holder of a lock says something on its connection, and finds out whether it still has the lock.
INTERVAL_SECS = 2.0
_ANSWER_SECS = 2.0


class Witness:
    """Holds this instance's lock on a connection of its own; reads whether others hold theirs, and never takes one.

    The kernel closes the connection of a process that is gone, and the database frees its lock: a free lock proves a
    death, together with a dial that was refused. A process that is frozen keeps its lock and says nothing: after
    `silent_after_secs` that is seen too.
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
        self.periodic = greenlets.Periodic("witness", self.look_after, INTERVAL_SECS)

    @property
    def is_held(self) -> bool:
        """Whether our lock was ours when it was last looked after."""
        return self._pid is not None

    def start(self) -> None:
        self.periodic.start()

    def stop(self) -> None:
        """Gives the lock back."""
        self.periodic.stop()
        self._let_go()

    def look_after(self) -> None:
        """Takes the lock if we do not hold it (any more), and shows by a word that we live."""
        if self._renewals != self._database.contact.renewals:
            # The lock must be where the others look for it.
            self._renewals = self._database.contact.renewals
            self._let_go()
        try:
            if self._connection is None:
                self._connection = WritingConnection.connect(
                    self._url, autocommit=True, row_factory=dict_row, **connect_options(self._instance_id)
                )
            with greenlets.Timer(_ANSWER_SECS, self._hang_up):
                if self._pid is None:
                    self._hold(self._connection)
                else:
                    self._pid = self._value(self._connection.execute(_SQL["speak"]), "pid")
        except psycopg.Error as error:
            if self._pid is not None:
                log.warning("witness.lost", error=type(error).__name__)
            self._let_go()

    def _hold(self, connection: Transaction) -> None:
        key = {"key": _key(self._instance_id)}
        answer = connection.execute(_SQL["hold"], key).fetchone()
        if answer is not None and answer["held"]:
            self._pid, self._refused = answer["pid"], False
            self._held_since = time.monotonic()
            return
        ended = self._value(connection.execute(_SQL["end_holder"], key), "ended")
        if not self._refused:
            self._refused = True
            log.warning("witness.refused", ended_connections=ended, advice="an old connection of this instance has it")

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

    def of(self, instance_id: str) -> Sight:
        """What is seen of that instance's lock; unknown when the database, or what is between, cannot tell."""
        return self.of_all([instance_id])[instance_id]

    def of_all(self, instance_ids: Sequence[str]) -> dict[str, Sight]:
        """What is seen of the locks of several instances.

        Our own lock is looked for too. When it is not seen on the connection that took it, a proxy shares connections
        among clients, and locks of sessions mean nothing.
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
        return {each: self._sight(holders.get(key)) for each, key in keys.items()}

    def _sight(self, holder: psycopg.rows.DictRow | None) -> Sight:
        if holder is None:
            return "free"
        # A server that stood still, or that none of us reached, has not heard from anybody: our own lock was lost then.
        heard_secs = time.monotonic() - self._held_since
        silent_secs = holder["silent_secs"] or 0.0
        return "silent" if min(silent_secs, heard_secs) > self._silent_after_secs else "held"


def end_connections(tx: Transaction, instance_id: str) -> int:
    """Ends all connections of an instance that counts as dead, and with them the locks it may hold; returns how many.

    An instance that is alive all the same connects again, and finds out what it has lost.
    """
    row = tx.execute(_SQL["end_connections"], {"name": instance_id}).fetchone()
    assert row is not None
    return int(row["ended"])


def _key(instance_id: str) -> int:
    """The lock's key: a signed 64-bit number."""
    digest = hashlib.sha256(f"netstacks witness {instance_id}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
