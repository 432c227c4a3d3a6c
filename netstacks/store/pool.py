"""The connection pools: transactions with a time limit, and every driver error told in our words.

Time limits go through what PostgreSQL and the pool offer (a statement timeout, the pool's own wait). Where neither
helps, because the server is frozen, the connection's socket is shut down and the driver finds out by itself: an
exception raised into the pool or the driver from outside would leave connections that are never given back.
"""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self

import psycopg
import structlog
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from netstacks import greenlets
from netstacks.errors import Conflict, StoreBusy, StoreDenied, StoreUnavailable
from netstacks.store import faults
from netstacks.store.contact import Contact
from netstacks.store.loading import ADAPTERS

log = structlog.get_logger()

Transaction = psycopg.Connection[DictRow]

# A connection that has rested for longer is tried before it is handed out.
_CHECK_AFTER_SECS = 1.0
GET_CONNECTION_SECS = 2.0
TRANSACTION_SECS = 10.0
# A server that has not ended a statement this long after its timeout is frozen or gone.
_SILENCE_SECS = 1.0
# A transaction whose client stands still is ended by the server after this long, and its locks are free.
IDLE_IN_TRANSACTION_SECS = 4.0


def connect_options(name: str, idle_in_transaction_secs: float = IDLE_IN_TRANSACTION_SECS) -> dict[str, Any]:
    """What every connection is opened with; `name` tells others in pg_stat_activity whose connection it is."""
    options = {
        # A statement may not outlive the request that waits for it, nor hold a lock that others wait for.
        "statement_timeout": round(TRANSACTION_SECS * 1000),
        "lock_timeout": 5000,
        "idle_in_transaction_session_timeout": round(idle_in_transaction_secs * 1000),
        # The server notices a client host that has vanished, and frees its locks.
        "tcp_keepalives_idle": 15,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
        "client_connection_check_interval": 2000,
    }
    return {
        "connect_timeout": 3,
        # A server that vanished from the network is given up after this long.
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15000,
        "application_name": name,
        "options": " ".join(f"-c {setting}={value}" for setting, value in options.items()),
    }


def for_writing(url: str) -> str:
    """Of several servers in a URL that does not say which one to take, the one that takes writes."""
    try:
        named = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return url  # Connecting tells what is wrong with it.
    if "," in str(named.get("host", "")) and "target_session_attrs" not in named:
        return make_conninfo(url, target_session_attrs="read-write")
    return url


class WritingConnection(psycopg.Connection[DictRow]):
    """A connection to a server that takes writes; to one that does not when the URL leads to no other.

    One host name may lead to a primary and its standbys. For several hosts, `for_writing` refuses those that do not.
    """

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Raises psycopg.Error."""
        if "target_session_attrs" in conninfo_to_dict(conninfo):
            return super().connect(conninfo, **options)
        try:
            return super().connect(conninfo, target_session_attrs="read-write", **options)
        except psycopg.OperationalError as error:
            fault = faults.of_connecting(error)
            if fault is None or fault.kind != "read_only":
                raise
        return super().connect(conninfo, **options)


class _Connection(WritingConnection):
    used_at = 0.0

    @classmethod
    def connect(cls, conninfo: str = "", *, contact: Contact, **options: Any) -> Self:  # type: ignore[override]
        try:
            return super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            if fault := faults.of_connecting(error):
                contact.note(fault)
            raise


class Database:
    """PostgreSQL as the stores use it. Open it after the fork, in a patched process.

    `name` is the application name of its connections: the id of the instance, so that others can end them.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "netstacks",
        max_size: int = 16,
        idle_in_transaction_secs: float = IDLE_IN_TRANSACTION_SECS,
        contact: Contact | None = None,
    ) -> None:
        self.url = for_writing(url)
        self.name = name
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
            name="postgresql",
        )
        self.contact.add(self._pool)

    def reserve(self, max_size: int) -> "Database":
        """The same database with connections of its own, for work that must not wait behind pages and log-ins."""
        return Database(
            self.url,
            name=self.name,
            max_size=max_size,
            idle_in_transaction_secs=self._idle_in_transaction_secs,
            contact=self.contact,
        )

    def open(self) -> None:
        """Starts connecting; does not wait, and goes on trying for as long as the process lives."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close(timeout=2.0)

    @contextmanager
    def transaction(self, *, timeout_secs: float | None = TRANSACTION_SECS) -> Iterator[Transaction]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        Neither a statement nor the whole block may take longer than `timeout_secs`, so a block must not have more
        statements than a slow network can answer by then; None is without a limit, for migrations. Nothing but
        PostgreSQL may be waited for inside the block: it holds locks.

        Raises StoreBusy when PostgreSQL answers and a connection or a lock did not come free in time, StoreUnavailable
        when it cannot be reached, does not answer or takes no writes, StoreDenied when it denies a right, and Conflict
        when a unique or foreign key is violated.
        """
        try:
            with self._lease(timeout_secs) as connection:
                yield connection
        except (errors.UniqueViolation, errors.ForeignKeyViolation) as error:
            self.contact.answered()
            raise Conflict(f"conflicts with what is stored already ({error.diag.constraint_name})") from error
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
            raise StoreUnavailable("the database's schema is not there yet") from error

    @contextmanager
    def _lease(self, timeout_secs: float | None) -> Iterator[_Connection]:
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
            # Maybe to a server that has become a standby: the pool makes another one.
            connection.close()
            raise
        finally:
            self._pool.putconn(connection)

    def _get(self, secs: float) -> _Connection:
        """A connection that works. Raises PoolTimeout when there is none within `secs`.

        The pool's own `check` pauses for a second before its third try, and for longer before the next ones: after a
        failover, when all connections are broken, the caller would get none in time.
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
                    raise PoolTimeout(f"no connection that works within {secs:g} s") from error
            else:
                return connection

    def _check(self, connection: _Connection) -> None:
        if time.monotonic() - connection.used_at > _CHECK_AFTER_SECS:
            with self._bounded(connection, GET_CONNECTION_SECS - _SILENCE_SECS):
                ConnectionPool.check_connection(connection)

    @contextmanager
    def _bounded(self, connection: _Connection, secs: float) -> Iterator[None]:
        """A connection that is out for longer than any transaction may last is hung up; the pool replaces it."""

        def replace() -> None:
            self._replaced += 1
            greenlets.spawn("database-hang-up", _replace, connection, secs)

        with greenlets.Timer(secs + _SILENCE_SECS, replace):
            yield

    def _refuse(self, error: psycopg.Error) -> NoReturn:
        """PostgreSQL answers, and does not do what it is there for."""
        self.contact.answered()
        if faults.is_of_old_plan(error):
            # The plans of the other connections are as old.
            self._pool.drain()
            raise StoreBusy("the database's tables were changed by an upgrade: try again") from error
        fault = faults.of_statement(error)
        if fault is None:
            raise error
        self.contact.note(fault)
        kind = StoreDenied if fault.kind == "denied" else StoreUnavailable
        raise kind(f"nothing can be saved at the moment: {fault.what}") from error

    def _raise(self, error: Exception) -> NoReturn:
        match error:
            case PoolTimeout() | TooManyRequests():
                if self.contact.is_close:
                    raise StoreBusy("all connections to the database are busy: try again in a moment") from error
                fault = self.contact.fault
                raise StoreUnavailable(fault.what if fault else "the database is not reachable") from error
            case errors.QueryCanceled() | errors.LockNotAvailable() | errors.DeadlockDetected():
                self.contact.answered()
                raise StoreBusy("the database is busy, and did not get to this in time: try again") from error
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
        """Counts of the pool (size, waiting, errors, connections replaced because they were out too long)."""
        return {**self._pool.get_stats(), "connections_replaced": self._replaced}


def _replace(connection: psycopg.Connection[Any], secs: float) -> None:
    log.warning("database.connection_replaced", held_secs=secs)
    hang_up(connection)


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """Makes this connection look closed by the server to the greenlet that waits for it. Its owner closes it."""
    with contextlib.suppress(psycopg.Error):
        greenlets.shut_down(connection.fileno())
