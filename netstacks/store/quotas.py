"""The usage that quotas limit: live sessions of users and devices, and bytes recorded per day."""

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
    """The bytes recorded on `day`, a UTC day, by user. Users without recordings are absent."""

    day: date
    by_user: Mapping[UUID, int]


def lock_user(tx: Transaction, user_id: UUID) -> None:
    """Blocks other transactions that count the user's sessions until this one ends.

    Count in a separate statement afterwards: a statement does not see rows that were committed while it waited for the
    lock.
    """
    tx.execute(_SQL["lock_user"], {"user_id": user_id})


def lock_address(tx: Transaction, host: str, port: int) -> None:
    """Like `lock_user` for the sessions at an address. Call it after `lock_user`: the opposite order may deadlock."""
    tx.execute(_SQL["lock_address"], {"host": host, "port": port})


def sessions_of_user(tx: Transaction, user_id: UUID) -> int:
    """The number of live sessions of a user, including those without an owner."""
    return _count(tx, "sessions_of_user", {"user_id": user_id})


def sessions_at(tx: Transaction, host: str, port: int) -> int:
    """The number of live sessions at an address, whichever device entry they were opened with."""
    return _count(tx, "sessions_at", {"host": host, "port": port})


def _count(tx: Transaction, statement: str, values: dict[str, Any]) -> int:
    row = tx.execute(_SQL[statement], values).fetchone()
    assert row is not None
    return int(row["sessions"])


def recorded_today(tx: Transaction, user_ids: Sequence[UUID]) -> Recorded:
    """The bytes that all instances have stored for these users since the UTC day began."""
    rows = tx.execute(_SQL["recorded_today"], {"user_ids": list(user_ids)}).fetchall()
    return Recorded(rows[0]["day"], {row["user_id"]: row["bytes"] for row in rows if row["user_id"] is not None})
