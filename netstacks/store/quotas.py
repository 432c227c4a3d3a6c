"""What users and devices have of what they may have no end of: live sessions, and bytes recorded in a day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("quotas")


@dataclass(frozen=True)
class Recorded:
    """The bytes that were recorded on `day`, a day of UTC, by user. Users without any are absent."""

    day: date
    by_user: Mapping[UUID, int]


def hold_user(tx: Transaction, user_id: UUID) -> None:
    """Holds off other transactions that count the user's sessions until this one ends.

    A count must be a statement of its own that begins after this one has ended: a statement does not see what was
    committed while it waited.
    """
    tx.execute(_SQL["hold_user"], {"user_id": user_id})


def hold_address(tx: Transaction, host: str, port: int) -> None:
    """Like `hold_user` for the sessions at an address. After it, never before: the opposite order is a deadlock."""
    tx.execute(_SQL["hold_address"], {"host": host, "port": port})


def sessions_of_user(tx: Transaction, user_id: UUID) -> int:
    """How many live sessions a user has, those without an owner included."""
    return _count(tx, "sessions_of_user", {"user_id": user_id})


def sessions_at(tx: Transaction, host: str, port: int) -> int:
    """How many live sessions there are at an address, whatever the entry that they were opened by."""
    return _count(tx, "sessions_at", {"host": host, "port": port})


def _count(tx: Transaction, statement: str, values: dict[str, Any]) -> int:
    row = tx.execute(_SQL[statement], values).fetchone()
    assert row is not None
    return int(row["sessions"])


def recorded_today(tx: Transaction, user_ids: Sequence[UUID]) -> Recorded:
    """What was recorded of these users since the day began, by all instances, as far as it is stored."""
    rows = tx.execute(_SQL["recorded_today"], {"user_ids": list(user_ids)}).fetchall()
    return Recorded(rows[0]["day"], {row["user_id"]: row["bytes"] for row in rows if row["user_id"] is not None})
