"""The connection pools: transactions with a time limit, and driver errors translated to `netstacks.errors`.

Time limits use what PostgreSQL and the pool offer: a statement timeout, and the pool's own wait. A frozen server
honours neither: then the connection's socket is shut down, and the driver raises by itself. An exception raised into
the pool or the driver from outside would leak connections (docs/design-notes.md, 5).
"""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self

import psycopg
import structlog
from psycopg import errors
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from netstacks import greenlets
from netstacks.errors import Conflict, StoreBusy, StoreDenied, StoreUnavailable
from netstacks.store import faults, metrics
from netstacks.store.connections import (
    IDLE_IN_TRANSACTION_SECS,
    TRANSACTION_SECS,
    WritingConnection,
    connect_options,
    for_writing,
    hang_up,
)
from netstacks.store.contact import Contact
from netstacks.store.loading import ADAPTERS

log = structlog.get_logger()

Transaction = psycopg.Connection[DictRow]

# A connection that was idle for longer is tested before it is handed out.
_CHECK_AFTER_SECS = 1.0
GET_CONNECTION_SECS = 2.0
# What the user has entered and another row has already, by the unique index that says so.
_TAKEN = {
    "audit_targets_name": "name: is the name of another target",
    "users_email": "email: is the address of another user",
    "users_username": "username: is the name of another user",
}
# A server that has not ended a statement this long after the statement timeout is frozen or unreachable.
_SILENCE_SECS = 1.0


class _Connection(WritingConnection):
    used_at = 0.0

    @classmethod
    def connect(cls, conninfo: str = "", *, contact: Contact, **options: Any) -> Self:  # type: ignore[override]
        try:
            return super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            if fault := faults.of_connecting(error):
                contact.note(fault)
            contact.failure = faults.in_a_line(error)
            raise


class Database:
    """A pool of connections to PostgreSQL. Open it after the fork, in a process patched by gevent.

    `name` is the application name of its connections: the instance id, by which other instances can terminate them.
    `label` names the pool in metrics.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "netstacks",
        label: str = "pages",
        max_size: int = 16,
        idle_in_transaction_secs: float = IDLE_IN_TRANSACTION_SECS,
        contact: Contact | None = None,
    ) -> None:
        self.url = for_writing(url)
        self.name = name
        self._wait_secs = metrics.WAIT_SECS.labels(label)
        self.contact = contact or Contact()
        self._idle_in_transaction_secs = idle_in_transaction_secs
        self._replaced = 0
        options = connect_options(name, idle_in_transaction_secs)
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            self.url,
            kwargs={**options, "row_factory": dict_row, "context": ADAPTERS, "contact": self.contact},
            connection_class=_Connection,
            min_size=1,
            max_size=max_size,
            max_waiting=200,
            timeout=GET_CONNECTION_SECS,
            reconnect_timeout=0,
            reconnect_failed=lambda _: self.contact.failed(),
            open=False,
            name=label,
        )
        self.contact.add(self._pool)

    def reserve(self, max_size: int, label: str = "reserved") -> "Database":
        """The same database with a separate pool, for work that must not wait behind pages and log-ins."""
        return Database(
            self.url,
            name=self.name,
            label=label,
            max_size=max_size,
            idle_in_transaction_secs=self._idle_in_transaction_secs,
            contact=self.contact,
        )

    def open(self) -> None:
        """Starts connecting without waiting; retries for as long as the process lives."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close(timeout=2.0)

    @contextmanager
    def transaction(self, *, timeout_secs: float | None = TRANSACTION_SECS) -> Iterator[Transaction]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        Neither a statement nor the whole block may take longer than `timeout_secs`, so a block must not have more
        statements than a slow network can answer in that time; None means no limit, for migrations. Inside the block,
        wait for nothing but PostgreSQL: it holds locks.

        Raises StoreBusy when PostgreSQL answers but no connection or lock became free in time, StoreUnavailable when it
        is unreachable, does not answer or refuses writes, StoreDenied when a privilege is missing, and Conflict when a
        unique or foreign key constraint is violated.
        """
        try:
            with self._lease(timeout_secs) as connection:
                yield connection
        except (errors.UniqueViolation, errors.ForeignKeyViolation) as error:
            self.contact.answered()
            name = error.diag.constraint_name or ""
            raise Conflict(_TAKEN.get(name, f"conflicts with stored data ({name})")) from error
        except (
            errors.ReadOnlySqlTransaction,
            errors.DiskFull,
            errors.InsufficientPrivilege,
            errors.FeatureNotSupported,
        ) as error:
            self._refuse(error)
        except (
            PoolTimeout,
            TooManyRequests,
            psycopg.OperationalError,
            psycopg.InterfaceError,
            errors.IdleInTransactionSessionTimeout,
        ) as error:
            self._raise(error)
        except errors.UndefinedTable as error:
            raise StoreUnavailable("the database's schema does not exist yet") from error

    @contextmanager
    def _lease(self, timeout_secs: float | None) -> Iterator[_Connection]:
        with self._wait_secs.time():
            connection = self._get(min(GET_CONNECTION_SECS, timeout_secs or GET_CONNECTION_SECS))
        try:
            limit = contextlib.nullcontext() if timeout_secs is None else self._bounded(connection, timeout_secs)
            with limit, connection:
                if timeout_secs != TRANSACTION_SECS:
                    msecs = 0 if timeout_secs is None else max(1, round(timeout_secs * 1000))
                    connection.execute(f"SET LOCAL statement_timeout = {msecs}".encode())
                yield connection
            connection.used_at = time.monotonic()
            self.contact.answered()
        except errors.ReadOnlySqlTransaction:
            # The server may have become a standby: the pool opens another connection.
            connection.close()
            raise
        finally:
            self._pool.putconn(connection)

    def _get(self, secs: float) -> _Connection:
        """A tested connection. Raises PoolTimeout when there is none within `secs`.

        The pool's own `check` pauses for a second before its third try, and for longer before later ones: after a
        failover, when all connections are broken, the caller would time out.
        """
        give_up_at = time.monotonic() + secs
        while True:
            connection = self._pool.getconn(max(0.0, give_up_at - time.monotonic()))
            try:
                self._check(connection)
            except BaseException as error:
                connection.close()
                self._pool.putconn(connection)
                if not isinstance(error, psycopg.Error):
                    raise
                if time.monotonic() >= give_up_at:
                    raise PoolTimeout(f"no working connection within {secs:g} s") from error
            else:
                return connection

    def _check(self, connection: _Connection) -> None:
        if time.monotonic() - connection.used_at > _CHECK_AFTER_SECS:
            with self._bounded(connection, GET_CONNECTION_SECS - _SILENCE_SECS):
                ConnectionPool.check_connection(connection)

    @contextmanager
    def _bounded(self, connection: _Connection, secs: float) -> Iterator[None]:
        """Shuts a connection down that is in use for longer than a transaction may last; the pool replaces it."""

        def replace() -> None:
            self._replaced += 1
            greenlets.spawn("database-hang-up", _replace, connection, secs)

        with greenlets.Timer(secs + _SILENCE_SECS, replace):
            yield

    def _refuse(self, error: psycopg.Error) -> NoReturn:
        """Raises the error for a server that answers and refuses the statement."""
        self.contact.answered()
        if faults.is_of_old_plan(error):
            # The other connections have the same stale plans.
            self._pool.drain()
            raise StoreBusy("the database's tables were changed by an upgrade: try again") from error
        fault = faults.of_statement(error)
        if fault is None:
            raise error
        self.contact.note(fault)
        kind = StoreDenied if fault.kind == "denied" else StoreUnavailable
        raise kind(f"nothing can be saved at the moment: {fault.problem}") from error

    def _raise(self, error: Exception) -> NoReturn:
        match error:
            case PoolTimeout() | TooManyRequests():
                if self.contact.has_answered_recently:
                    raise StoreBusy("all connections to the database are busy: try again in a moment") from error
                fault = self.contact.fault
                raise StoreUnavailable(fault.problem if fault else "the database is not reachable") from error
            case errors.QueryCanceled() | errors.LockNotAvailable() | errors.DeadlockDetected():
                self.contact.answered()
                raise StoreBusy("the database is busy, and did not answer in time: try again") from error
        self.contact.failed()
        raise StoreUnavailable(f"the database failed: {type(error).__name__}") from error

    def ping(self) -> bool:
        """Whether PostgreSQL answers within some seconds."""
        try:
            with self.transaction(timeout_secs=GET_CONNECTION_SECS) as tx:
                tx.execute("SELECT 1")
        except StoreBusy:
            return True
        except StoreUnavailable:
            return False
        return True

    def statistics(self) -> dict[str, Any]:
        """Counters of the pool: size, waiting, errors, and connections replaced because they were in use too long."""
        return {**self._pool.get_stats(), "connections_replaced": self._replaced}


def _replace(connection: psycopg.Connection[Any], secs: float) -> None:
    log.warning("database.connection_replaced", held_secs=secs)
    hang_up(connection)
