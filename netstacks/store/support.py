"""What a support bundle says of PostgreSQL: versions, settings, sizes and counts, and no content of a user."""

from typing import Any

from netstacks.store.pool import Database
from netstacks.store.queries import load

_SQL = load("support")

_SETTINGS = [
    "default_transaction_read_only",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "max_connections",
    "max_locks_per_transaction",
    "shared_buffers",
    "statement_timeout",
    "superuser_reserved_connections",
    "synchronous_commit",
    "synchronous_standby_names",
    "tcp_keepalives_idle",
    "tcp_user_timeout",
    "timezone",
    "transaction_timeout",
    "work_mem",
]


TOPICS = tuple(_SQL)


def rows(database: Database, topic: str) -> list[dict[str, Any]]:
    """The facts of one of TOPICS. Raises StoreUnavailable, and psycopg.Error when the database has no schema yet."""
    with database.transaction() as tx:
        return tx.execute(_SQL[topic], {"names": _SETTINGS}).fetchall()
