"""The hash chain over the audit log: seals, each over rows that are committed and the seal before it.

Transactions append rows side by side and wait for nothing here. A trigger notes their rows in `audit_waiting`, in the
same transaction: the sealer sees a row as soon as it is committed, however late that is and whatever the order of the
ids. The order of the chain is the order of the seals, and within a seal that of the ids. It never changes, so it is
also the order in which rows are followed and sent on.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, takewhile
from typing import Any

from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("audit_chain")

# The most rows of one seal: far less than PostgreSQL and this process can seal within a tenth of a second.
SEAL_ROWS = 1000
# Beyond this number, waiting rows are not counted.
MAX_COUNTED = 100_000


@dataclass(frozen=True)
class State:
    """The end of the chain: the last seal and its time, how many rows are sealed, and how many wait."""

    number: int
    rows: int
    sha256: str
    sealed_at: datetime | None
    waiting: int


@dataclass(frozen=True)
class Feed:
    """Rows, each with its `position`, its `seal` and the `head` of that seal; and the position after them.

    Rows that retention has removed are left out.
    """

    rows: list[dict[str, Any]]
    after: int


def digest(text: str) -> bytes:
    """The SHA-256 of a row, by its canonical text: a JSON array of its values without the id."""
    return hashlib.sha256(text.encode()).digest()


def seal_digest(previous: bytes, number: int, sealed_us: int, ids: Sequence[int], digests: bytes) -> bytes:
    """The SHA-256 of a seal: over the previous one, its number and time, and the id and digest of each row.

    Numbers are 8 bytes, big-endian; the time is in microseconds since 1970.
    """
    found = hashlib.sha256(previous + _number(number) + _number(sealed_us))
    for index, row_id in enumerate(ids):
        found.update(_number(row_id) + digests[32 * index : 32 * index + 32])
    return found.digest()


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def seal_some(tx: Transaction, *, pause_secs: float = 0.0) -> int:
    """Seals up to SEAL_ROWS rows and returns their number.

    Returns 0 when no row waits, when the last seal is younger than `pause_secs`, or another transaction seals just now.
    """
    head = tx.execute(_SQL["head"], {"pause_secs": pause_secs}).fetchone()
    if head is None:
        return 0
    rows = _take(tx)
    number, sha256, count = head["number"], head["sha256"], head["rows"]
    # One month each: retention drops the rows of a seal together.
    for month, grouped in groupby(rows, key=lambda row: row["month"]):
        part = list(grouped)
        ids = [row["id"] for row in part]
        digests = b"".join(digest(row["text"]) for row in part)
        number += 1
        sha256 = seal_digest(sha256, number, head["now_us"], ids, digests)
        seal = {"number": number, "first_row": count, "rows": len(part), "first_id": ids[0], "last_id": ids[-1]}
        seal |= {"month": month, "ids": ids, "digests": digests, "sha256": sha256, "sealed_us": head["now_us"]}
        tx.execute(_SQL["seal"], seal)
        count += len(part)
    if rows:
        tx.execute(_SQL["advance"], {"number": number, "sha256": sha256, "rows": count})
    return len(rows)


def _take(tx: Transaction) -> list[dict[str, Any]]:
    """The next rows to seal, by id; removes them from those that wait."""
    waiting = tx.execute(_SQL["waiting"], {"limit": SEAL_ROWS}).fetchall()
    if not waiting:
        return []
    first = waiting[0]
    if first["first_id"] != first["last_id"]:
        return _take_of_range(tx, first)
    ids = [row["first_id"] for row in takewhile(lambda row: row["first_id"] == row["last_id"], waiting)]
    tx.execute(_SQL["not_waiting"], {"first_ids": ids})
    return tx.execute(_SQL["of_ids"], {"ids": ids}).fetchall()


def _take_of_range(tx: Transaction, span: dict[str, Any]) -> list[dict[str, Any]]:
    """As `_take`, from a range of rows that are older than the chain."""
    rows = tx.execute(_SQL["of_range"], span | {"limit": SEAL_ROWS}).fetchall()
    tx.execute(_SQL["not_waiting"], {"first_ids": [span["first_id"]]})
    if len(rows) == SEAL_ROWS and rows[-1]["id"] < span["last_id"]:
        tx.execute(_SQL["wait"], {"first_id": rows[-1]["id"] + 1, "last_id": span["last_id"]})
    return rows


def state(tx: Transaction) -> State:
    with tx.cursor(row_factory=row_of(State)) as cursor:
        found = cursor.execute(_SQL["state"], {"most": MAX_COUNTED}).fetchone()
    assert found is not None
    return found


def feed(tx: Transaction, position: int, limit: int) -> Feed:
    """Up to `limit` rows in the order of the chain, from a position on."""
    found = tx.execute(_SQL["feed"], {"position": position, "limit": limit}).fetchall()
    if found:
        return Feed([row for row in found if row["id"] is not None], found[-1]["position"] + 1)
    row = tx.execute(_SQL["next_after"], {"position": position}).fetchone()
    assert row is not None
    return Feed([], max(int(row["position"]), position))
