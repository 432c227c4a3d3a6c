"""The connection pool: transactions with a deadline, and every driver error told in our words."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from netstacks import greenlets
from netstacks.errors import Conflict, StoreUnavailable

Transaction = psycopg.Connection[DictRow]

# A statement may not outlive the request that waits for it, nor hold a lock that others wait for.
_OPTIONS = "-c statement_timeout=10000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=60000"
# A server that vanished from the network is given up after this long (pitfalls 5).
CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
    "application_name": "netstacks",
    "options": _OPTIONS,
}
# A connection that has rested for longer is tried before it is handed out.
_CHECK_AFTER_SECS = 1.0
GET_CONNECTION_SECS = 2.0
TRANSACTION_SECS = 10.0


class _Connection(psycopg.Connection[DictRow]):
    used_at = 0.0


def _check(connection: _Connection) -> None:
    if time.monotonic() - connection.used_at > _CHECK_AFTER_SECS:
        ConnectionPool.check_connection(connection)


class Database:
    """PostgreSQL as the stores use it. Open it after the fork, in a patched process (pitfalls 5)."""

    def __init__(self, url: str, *, max_size: int = 16) -> None:
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            url,
            kwargs={**CONNECT_OPTIONS, "row_factory": dict_row},
            connection_class=_Connection,
            min_size=1,
            max_size=max_size,
            max_waiting=200,
            timeout=GET_CONNECTION_SECS,
            reconnect_timeout=0,
            check=_check,
            open=False,
            name="postgresql",
        )

    def open(self) -> None:
        """Starts connecting; does not wait, and goes on trying for as long as the process lives."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close(timeout=2.0)

    @contextmanager
    def transaction(self, *, timeout_secs: float = TRANSACTION_SECS) -> Iterator[Transaction]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        Raises StoreUnavailable when PostgreSQL cannot be reached or does not answer within `timeout_secs`, and
        Conflict when a unique or foreign key is violated.
        """
        try:
            with (
                greenlets.deadline(timeout_secs, StoreUnavailable("the database did not answer in time")),
                self._pool.connection() as connection,
            ):
                yield connection
                connection.used_at = time.monotonic()
        except (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation) as error:
            raise Conflict(f"conflicts with what is stored already ({error.diag.constraint_name})") from error
        except (PoolTimeout, TooManyRequests) as error:
            raise StoreUnavailable("the database is not reachable, or all connections to it are busy") from error
        except psycopg.errors.UndefinedTable as error:
            raise StoreUnavailable("the database's schema is not there yet") from error
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction) as error:
            raise StoreUnavailable(f"the database failed: {type(error).__name__}") from error

    def ping(self) -> bool:
        """Whether PostgreSQL answers within two seconds."""
        try:
            with self.transaction(timeout_secs=GET_CONNECTION_SECS) as tx:
                tx.execute("SELECT 1")
        except StoreUnavailable:
            return False
        return True

    def statistics(self) -> dict[str, Any]:
        """Counts of the pool (size, waiting, errors), for metrics."""
        return self._pool.get_stats()
