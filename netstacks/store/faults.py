"""Faults of a PostgreSQL server that answers but cannot do its work, worded for health, the log and the doctor."""

import re
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import errors

Kind = Literal["read_only", "full", "crowded", "denied", "refused"]

# libpq reports the reason for a refused connection as text only, without an SQLSTATE.
_CROWDED = ("too many clients", "too many connections", "remaining connection slots")
# Of the user, the password or the database.
_NOT_ADMITTED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|is not permitted to log in"
    r'|permission denied for database|(?:role|database) "[^"]*" does not exist'
)
_NOT_WRITABLE = ("session is read-only", "server is in hot standby mode")


@dataclass(frozen=True)
class Fault:
    """A `problem`, and `advice` on how to solve it."""

    kind: Kind
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"{self.problem}. {self.advice}"


def read_only(why: str) -> Fault:
    """The server answers queries and refuses writes."""
    advice = "Promote it or make it writable again, or name the server that takes writes in DATABASE_URL"
    return Fault("read_only", f"PostgreSQL is read-only: {why}", advice)


def denied(why: str) -> Fault:
    """The role in DATABASE_URL lacks a privilege."""
    advice = "Let the role in DATABASE_URL own the database, or grant it its tables"
    return Fault("denied", f"PostgreSQL denies rights: {why}", advice)


def of_statement(error: psycopg.Error) -> Fault | None:
    """The fault behind the error of a statement; None for any other error."""
    message = error.diag.message_primary or str(error)
    match error:
        case errors.ReadOnlySqlTransaction():
            return read_only("it is a standby, or was set so")
        case errors.DiskFull():
            advice = "Make room: free some of it, or give it a larger disk"
            return Fault("full", f"PostgreSQL has no disk space left: {message}", advice)
        case errors.InsufficientPrivilege():
            return denied(message)
        # The text is localised, and many errors share the SQLSTATE: only the source function identifies this one.
        case errors.FeatureNotSupported() if error.diag.source_function == "get_relation_info":
            return read_only("it is a standby, where unlogged tables cannot be read")
    return None


def is_of_old_plan(error: psycopg.Error) -> bool:
    """Whether a cached plan has a changed result type, because a newer version has added columns."""
    return isinstance(error, errors.FeatureNotSupported) and error.diag.source_function == "RevalidateCachedQuery"


def of_connecting(error: psycopg.Error) -> Fault | None:
    """The fault because of which a server refused a connection; None for other reasons, and if it is unreachable."""
    text = str(error)
    reason = next((each for each in (*_CROWDED, *_NOT_WRITABLE) if each in text), None)
    if reason in _NOT_WRITABLE:
        return read_only("no server in DATABASE_URL takes writes")
    if reason is not None:
        advice = "Raise max_connections, or the limit of its role or database, or run fewer instances"
        return Fault("crowded", f"PostgreSQL takes no more connections: {_message(text, reason)}", advice)
    if refused := _NOT_ADMITTED.search(text):
        advice = "Correct the user, the password and the database in DATABASE_URL, or allow them in pg_hba.conf"
        return Fault("refused", f"PostgreSQL refuses the connection: {_message(text, refused[0])}", advice)
    return None


def in_a_line(error: psycopg.Error) -> str:
    """The text of the first failed attempt to connect, without the driver's hints."""
    return str(error).partition("\n")[0].removeprefix("connection failed: ").strip()


def _message(text: str, reason: str) -> str:
    """What the server says, of the line with the reason: a text may have a line for each attempt."""
    line = next(each for each in text.splitlines() if reason in each)
    return line.rpartition("FATAL:")[2].rpartition(" failed: ")[2].strip()
