"""Connections to PostgreSQL: their options, and the choice of a server that takes writes."""

import contextlib
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow

from netstacks import greenlets
from netstacks.store import faults

TRANSACTION_SECS = 10.0
# The server ends a transaction whose client is idle for this long, which frees its locks.
IDLE_IN_TRANSACTION_SECS = 4.0


def connect_options(name: str, idle_in_transaction_secs: float = IDLE_IN_TRANSACTION_SECS) -> dict[str, Any]:
    """The options of every connection; `name` identifies its owner in pg_stat_activity."""
    options = {
        # Months of the audit log are those of UTC, and times are returned in this zone.
        "TimeZone": "UTC",
        # A statement must not outlive the request that waits for it, and must not keep its locks.
        "statement_timeout": round(TRANSACTION_SECS * 1000),
        "lock_timeout": 5000,
        "idle_in_transaction_session_timeout": round(idle_in_transaction_secs * 1000),
        # The server detects a vanished client host, and frees its locks.
        "tcp_keepalives_idle": 15,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
        "client_connection_check_interval": 2000,
    }
    return {
        "connect_timeout": 3,
        # The client side of the same: a connection to a vanished server fails after this long.
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15000,
        "application_name": name,
        "options": " ".join(f"-c {setting}={value}" for setting, value in options.items()),
    }


def for_writing(url: str) -> str:
    """The URL, with `target_session_attrs=read-write` if it names several hosts and no choice among them."""
    try:
        named = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return url  # Connecting raises the error.
    if "," in str(named.get("host", "")) and "target_session_attrs" not in named:
        return make_conninfo(url, target_session_attrs="read-write")
    return url


class WritingConnection(psycopg.Connection[DictRow]):
    """A connection to a server that accepts writes, or to a read-only one when the URL leads to no other.

    One host name may resolve to a primary and its standbys. With several hosts, `for_writing` excludes the standbys.
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


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """Shuts the socket down: the greenlet that waits for this connection sees it closed. Its owner then closes it."""
    with contextlib.suppress(psycopg.Error):
        greenlets.shut_down(connection.fileno())
