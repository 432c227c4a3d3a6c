"""What keeps a PostgreSQL that answers from doing its work, in words for health, the log and the doctor."""

from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import errors

Kind = Literal["read_only", "full", "crowded", "denied"]

# libpq tells why a server refuses a connection in a text alone.
_CROWDED = ("too many clients", "too many connections", "remaining connection slots")
_NOT_WRITABLE = ("session is read-only", "server is in hot standby mode")


@dataclass(frozen=True)
class Fault:
    """`what` is wrong, and what to `do` about it."""

    kind: Kind
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.what}. {self.do}"


def read_only(why: str) -> Fault:
    """It answers questions and takes no writes."""
    do = "Promote it or make it writable again, or name the server that takes writes in DATABASE_URL"
    return Fault("read_only", f"PostgreSQL is read-only: {why}", do)


def denied(why: str) -> Fault:
    """The role that logs in lacks a right."""
    do = "Let the role in DATABASE_URL own the database, or grant it its tables"
    return Fault("denied", f"PostgreSQL denies rights: {why}", do)


def of_statement(error: psycopg.Error) -> Fault | None:
    """The fault that a statement has met; None for any other error."""
    said = error.diag.message_primary or str(error)
    match error:
        case errors.ReadOnlySqlTransaction():
            return read_only("it is a standby, or was set so")
        case errors.DiskFull():
            do = "Make room: free some of it, or give it a larger disk"
            return Fault("full", f"PostgreSQL has no disk space left: {said}", do)
        case errors.InsufficientPrivilege():
            return denied(said)
        # The text is in the server's language, and the code is that of many errors: the place is always the same.
        case errors.FeatureNotSupported() if error.diag.source_function == "get_relation_info":
            return read_only("it is a standby, where unlogged tables cannot be read")
    return None


def is_of_old_plan(error: psycopg.Error) -> bool:
    """Whether a prepared statement has another result than before, because a newer version has added columns."""
    return isinstance(error, errors.FeatureNotSupported) and error.diag.source_function == "RevalidateCachedQuery"


def of_connecting(error: psycopg.Error) -> Fault | None:
    """The fault for which a server has refused a connection; None when it cannot be reached, or for another reason."""
    text = str(error)
    reason = next((each for each in (*_CROWDED, *_NOT_WRITABLE) if each in text), None)
    if reason is None:
        return None
    if reason in _NOT_WRITABLE:
        return read_only("no server in DATABASE_URL takes writes")
    line = next(each for each in text.splitlines() if reason in each)
    said = line.rpartition("FATAL:")[2].strip()
    do = "Raise max_connections, or the limit of its role or database, or run fewer instances"
    return Fault("crowded", f"PostgreSQL takes no more connections: {said}", do)
