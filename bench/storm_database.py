"""A PostgreSQL filled with a cluster's sessions, and the cost of statements on it."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bench.crowd_lab import postmaster_pid, tree_cpu_secs
from netstacks.store import credentials
from netstacks.store.credentials import Secrets
from netstacks.store.pool import Database, Transaction
from netstacks.store.schema import migrate
from netstacks.store.vault import Vault
from tests.postgres import Postgres

KEY = "00" * 32
# A user has so many terminals open, and a device is logged in to so often.
SESSIONS_PER_USER, SESSIONS_PER_DEVICE = 20, 10
# The load is not part of what is measured: without a checkpoint in the middle of it.
_SETTINGS = ("fsync=on", "shared_buffers=2GB", "max_wal_size=16GB", "checkpoint_timeout=1h", "autovacuum=off")
_OPTIONS = tuple(part for setting in (*_SETTINGS, "max_connections=400") for part in ("-c", setting))

_FILL = (
    """INSERT INTO users (id, username, role, password_hash)
       SELECT md5('user ' || n)::uuid, 'user' || n, 'operator', '' FROM generate_series(0, %(users)s - 1) n""",
    """INSERT INTO logins (id, user_id, client_type, expires_at)
       SELECT md5('login ' || n)::uuid, md5('user ' || n)::uuid, 'page', now() + interval '1 day'
       FROM generate_series(0, %(users)s - 1) n""",
    """INSERT INTO devices (id, name, host, port)
       SELECT md5('device ' || n)::uuid, 'router-' || n,
              '10.' || n / 65536 || '.' || n / 256 %% 256 || '.' || n %% 256, 22
       FROM generate_series(0, %(devices)s - 1) n""",
    """INSERT INTO host_keys (host, port, key_type, public_key, approved_by)
       SELECT host, port, 'ssh-ed25519', repeat('A', 68), 'ana' FROM devices""",
    """INSERT INTO sessions (id, user_id, username, device_id, device_name, host, port, credential_id, term, cols, rows,
                             owner, owner_address, epoch, state, reconnect_hash, started_at)
       SELECT md5('session ' || n)::uuid, md5('user ' || n %% %(users)s)::uuid, 'user' || n %% %(users)s, devices.id,
              devices.name, devices.host, 22, %(credential)s, 'xterm-256color', 120, 40,
              'ctrl-' || lpad(to_hex(n %% %(instances)s), 8, '0'), '10.99.0.1:40000', 1, 'active',
              sha256(uuid_send(md5('token ' || n)::uuid)), now() - interval '8 hours' * n / %(sessions)s
       FROM generate_series(0, %(sessions)s - 1) n
       JOIN devices ON devices.id = md5('device ' || n %% %(devices)s)::uuid""",
)


@dataclass(frozen=True)
class Cost:
    """The cost of an action at the server."""

    transactions: int
    statements: int
    cpu_secs: float
    wal_bytes: int
    wall_secs: float


@dataclass
class Counts:
    """`statements` includes BEGIN, COMMIT and what limits a transaction's time."""

    transactions: int = 0
    statements: int = 0


@dataclass
class Metered:
    """A database, as the stores use it, whose transactions and statements are counted."""

    database: Database
    counts: Counts = field(default_factory=Counts)

    @contextmanager
    def transaction(self, **limits: Any) -> Iterator[Transaction]:
        self.counts.transactions += 1
        self.counts.statements += 3 if "timeout_secs" in limits else 2
        with self.database.transaction(**limits) as tx:
            tx.cursor_factory = _counting(self.counts)
            try:
                yield tx
            finally:
                tx.cursor_factory = psycopg.Cursor


def _counting(counts: Counts) -> type[psycopg.Cursor[Any]]:
    class Counting(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            counts.statements += 1
            return super().execute(*args, **kwargs)

    return Counting


class Full:
    """A database with the live sessions of `instances`, each owner's spread over the whole table."""

    def __init__(self, postgres: Postgres, instances: int, sessions: int) -> None:
        self.url = postgres.create_database()
        self.instances, self.sessions = instances, sessions
        # One connection: what is asked often is planned once.
        self.database = Database(self.url, max_size=1)
        self.database.open()
        migrate(self.database)
        self.vault = Vault(self.database, KEY)
        self.vault.unlock()
        self._postmaster = postmaster_pid(self.url)
        with self.database.transaction(timeout_secs=None) as tx:
            credential = credentials.create(
                tx, self.vault, Secrets("secret"), name="all", credential_type="ssh_password", username="admin"
            )
            self.credential_id = credential.id
            values = {
                "instances": instances,
                "sessions": sessions,
                "users": max(1, sessions // SESSIONS_PER_USER),
                "devices": max(1, sessions // SESSIONS_PER_DEVICE),
                "credential": credential.id,
            }
            for statement in _FILL:
                tx.execute(statement, values)
        self.settle()

    def settle(self) -> None:
        """Vacuums, analyzes and checkpoints: the next change of each page writes the whole page to the log."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def sessions_of(self, instance: int) -> range:
        """The numbers of an instance's sessions."""
        return range(instance, self.sessions, self.instances)

    def cost_of(self, action: Callable[[Counts], object]) -> Cost:
        """The server must have no other user meanwhile. `action` counts what it asks for."""
        counts = Counts()
        cpu_secs, wal, began_at = tree_cpu_secs(self._postmaster), self._wal(), time.monotonic()
        action(counts)
        wall_secs = time.monotonic() - began_at
        spent_secs = tree_cpu_secs(self._postmaster) - cpu_secs
        return Cost(counts.transactions, counts.statements, spent_secs, self._wal() - wal, wall_secs)

    def _wal(self) -> int:
        with self.database.transaction() as tx:
            row = tx.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS at").fetchone()
        assert row is not None
        return int(row["at"])

    def close(self) -> None:
        self.database.close()


@contextmanager
def full(instances: int, sessions: int) -> Iterator[Full]:
    postgres = Postgres(_OPTIONS).start()
    try:
        one = Full(postgres, instances, sessions)
        try:
            yield one
        finally:
            one.close()
    finally:
        postgres.destroy()


def name_of(instance: int) -> str:
    return f"ctrl-{instance:08x}"


def id_of(kind: str, number: int) -> uuid.UUID:
    """Of a user, a login, a device, a session or a session's token, as the database was filled."""
    return uuid.UUID(bytes=hashlib.md5(f"{kind} {number}".encode(), usedforsecurity=False).digest())
