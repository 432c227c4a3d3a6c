"""The health check of PostgreSQL: whether it answers, and whether it can do what the program needs."""

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import dict_row

from netstacks import greenlets
from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.store import faults
from netstacks.store.connections import WritingConnection, connect_options, hang_up
from netstacks.store.faults import Fault
from netstacks.store.pool import GET_CONNECTION_SECS, Database
from netstacks.store.queries import load

_SQL = load("checkup")
# How long one host may take to accept a new connection, and again to answer. DATABASE_URL may name many hosts.
_DIAL_SECS = 2
# The result of a new connection that takes longer is used by a later check.
_WAIT_SECS = 2.0
# The only table without UPDATE and DELETE rights: the audit log is append-only.
_APPEND_ONLY = "audit"
_MAX_NAMED = 5


@dataclass(frozen=True)
class _Finding:
    """The fault that a new connection found, None for none; not `is_known` when the connection failed."""

    is_known: bool
    fault: Fault | None = None


@dataclass(frozen=True)
class Condition:
    """The condition of PostgreSQL: whether it `answers` within some seconds, and a description of its fault."""

    answers: bool
    problem: str | None


class Checkup:
    """Checks through a connection of the pool while there is no fault.

    A fault is checked through a new connection: it reaches the new primary after a failover, has the current settings,
    and needs a free connection slot. When it finds the fault gone, the pools reconnect too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialling: greenlets.Greenlet | None = None

    def check(self) -> Condition:
        """Checks now; returns within some seconds."""
        contact = self._database.contact
        wait_until = time.monotonic() + _WAIT_SECS
        if contact.fault is not None and self._dialling is None:
            self._dialling = greenlets.spawn("checkup-dial", self._dial, contact.fault)
        answers, found = self._ask_pool()
        fresh = self._fresh(max(0.0, wait_until - time.monotonic()))
        if fresh is not None and fresh.is_known:
            contact.note(fresh.fault)
        else:
            # Only a new connection proves that a fault is gone; pooled ones keep the old server and settings.
            contact.note(found or contact.fault)
        is_known = fresh is None or fresh.is_known
        fault = contact.fault if answers or is_known else None
        if fault is None and not answers and contact.failure:
            return Condition(answers, f"PostgreSQL is not reachable: {contact.failure}")
        return Condition(answers, str(fault) if fault else None)

    def _ask_pool(self) -> tuple[bool, Fault | None]:
        """Whether PostgreSQL answers, and what a connection of the pool finds."""
        try:
            with self._database.transaction(timeout_secs=GET_CONNECTION_SECS) as tx:
                found = find(tx)
                if found is not None and found.kind == "read_only":
                    tx.close()  # The pool opens another one, perhaps to a server that accepts writes.
                return True, found
        except StoreBusy:
            return True, None
        except StoreUnavailable:
            return False, None

    def _fresh(self, timeout_secs: float) -> _Finding | None:
        """The finding of the new connection, unknown when it is not there in time; None when none is being opened."""
        dialling = self._dialling
        if dialling is None:
            return None
        dialling.join(timeout_secs)
        if not dialling.ready():
            return _Finding(is_known=False)
        self._dialling = None
        return dialling.value if dialling.successful() else _Finding(is_known=False)

    def _dial(self, fault: Fault) -> _Finding:
        """The finding of a new connection, which is bounded by time limits of its own."""
        options = connect_options(self._database.name) | {"connect_timeout": _DIAL_SECS}
        try:
            with WritingConnection.connect(
                self._database.url, autocommit=True, row_factory=dict_row, **options
            ) as connection:

                def give_up() -> None:
                    greenlets.spawn("checkup-hang-up", hang_up, connection)

                with greenlets.Timer(_DIAL_SECS, give_up):
                    return _Finding(True, find(connection, try_space=fault.kind == "full"))
        except psycopg.Error as error:
            found = faults.of_statement(error) or faults.of_connecting(error)
            return _Finding(found is not None, found)


def find(connection: psycopg.Connection[Any], *, try_space: bool = False) -> Fault | None:
    """The fault that this connection, whose rows are dicts, has; None for none. Nothing is written permanently.

    `try_space` creates a table that is dropped at the end of the transaction. No other test shows whether the disk has
    space. Raises psycopg.Error.
    """
    row = connection.execute(_SQL["abilities"], {"tables": _tables(), "append_only": _APPEND_ONLY}).fetchone()
    assert row is not None
    if row["in_recovery"]:
        return faults.read_only("it is a standby")
    if row["read_only"]:
        return faults.read_only("default_transaction_read_only is on")
    if row["denied"]:
        return faults.denied(f"its role {row['role']} may not read and change {_enumerated(row['denied'])}")
    if try_space:
        # A role without the right to temporary tables cannot test this; the next write does.
        with contextlib.suppress(errors.InsufficientPrivilege):
            connection.execute(_SQL["take_space"])
    return None


def _enumerated(names: Sequence[str]) -> str:
    """The names; of many, only the first: the advice that follows must not be lost behind them."""
    if len(names) <= _MAX_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_MAX_NAMED])} and {len(names) - _MAX_NAMED} other tables"


@cache
def _tables() -> list[str]:
    """The tables of this program."""
    folder = resources.files("netstacks.store") / "migrations"
    texts = [each.read_text() for each in folder.iterdir() if each.name.endswith(".sql")]
    return re.findall(r"^CREATE (?:UNLOGGED )?TABLE (\w+)", "\n".join(texts), re.MULTILINE)
