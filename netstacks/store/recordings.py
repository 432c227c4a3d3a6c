"""Recordings in PostgreSQL: chunks written by COPY, refused when their epoch has moved on, read back in order."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from netstacks.store import audit, sessions
from netstacks.store.chunks import Chunk, Event, EventKind, make_chunk
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load

_SQL = load("recordings")
# In the order of the COPY statement.
_COLUMN_TYPES = {
    "session_id": "uuid",
    "epoch": "int4",
    "seq": "int4",
    "first_offset": "int8",
    "end_offset": "int8",
    "began_at": "float8",
    "ended_at": "float8",
    "events": "bytea",
    "sha256": "bytea",
}
_PAGE_CHUNKS = 16


@dataclass(frozen=True, eq=False)
class Batch:
    """What one session has to store: chunks of one epoch in order, and the offset its client has acknowledged."""

    session_id: UUID
    epoch: int
    acked_offset: int
    chunks: Sequence[Chunk]


def save(tx: Transaction, batches: Sequence[Batch], *, again: bool = False) -> list[Batch]:
    """Stores all chunks; returns the batches that were refused: the epoch of their session has moved on.

    `again`: an earlier try may have been committed without our knowing, so what is there already is left out.
    """
    rows = tx.execute(
        _SQL["keep_owned"],
        {
            "ids": [batch.session_id for batch in batches],
            "epochs": [batch.epoch for batch in batches],
            "acked": [batch.acked_offset for batch in batches],
        },
    ).fetchall()
    owned = {(row["id"], row["epoch"]) for row in rows}
    accepted = [batch for batch in batches if (batch.session_id, batch.epoch) in owned]
    todo = [missing(tx, batch) if again else batch.chunks for batch in accepted]
    _copy(tx, itertools.chain.from_iterable(todo))
    return [batch for batch in batches if batch not in accepted]


def _copy(tx: Transaction, chunks: Iterable[Chunk]) -> None:
    with tx.cursor() as cursor, cursor.copy(_SQL["copy"]) as copy:
        copy.set_types(list(_COLUMN_TYPES.values()))
        for chunk in chunks:
            copy.write_row([getattr(chunk, column) for column in _COLUMN_TYPES])


def missing(tx: Transaction, batch: Batch) -> Sequence[Chunk]:
    """The chunks of a batch that are not stored."""
    row = tx.execute(_SQL["stored"], {"session_id": batch.session_id, "epoch": batch.epoch}).fetchone()
    stored = row["seq"] if row and row["seq"] is not None else -1
    return [chunk for chunk in batch.chunks if chunk.seq > stored]


def _last_chunk(tx: Transaction, session_id: UUID) -> Chunk | None:
    with tx.cursor(row_factory=class_row(Chunk)) as cursor:
        return cursor.execute(_SQL["last"], {"session_id": session_id}).fetchone()


def refused(tx: Transaction, batch: Batch, *, kept_in: str | None = None) -> str | None:
    """Tells, after `save` refused a batch, what its recording lacks: in the audit log, and if it has ended, in itself.

    Returns the reason; None when nothing is lacking, the commit of an earlier try not having been seen.
    """
    late = missing(tx, batch)
    if not late:
        return None
    row = sessions.find(tx, batch.session_id)
    reason = f"the session is at epoch {row.epoch} and {row.state}" if row else "the session is not known any more"
    size = output_bytes(late)
    if row and row.state == "ended" and size:
        append_note(tx, row.id, row.epoch, f"{size} bytes of epoch {batch.epoch} are missing: they came too late")
    details = {"epoch": batch.epoch, "bytes": size, "reason": reason, "kept_in": kept_in}
    audit.append(tx, audit.SYSTEM, "recording.refused", f"session:{batch.session_id}", **details)
    return reason


def append_note(tx: Transaction, session_id: UUID, epoch: int, text: str) -> None:
    """Adds an event to the end of a recording that nobody writes at `epoch` any more.

    It bears the time of the last event there is, so that the recording takes no longer to play.
    """
    last = _last_chunk(tx, session_id)
    at = last.ended_at if last else time.time()
    seq = last.seq + 1 if last and last.epoch == epoch else 0
    place = (session_id, epoch, seq, last.end_offset if last else 0)
    chunk = make_chunk(last.sha256 if last else b"", *place, [Event(at, EventKind.NOTE, text.encode())])
    _copy(tx, [chunk])


def output_bytes(chunks: Iterable[Chunk]) -> int:
    """How much the device printed in these chunks."""
    return sum(chunk.end_offset - chunk.first_offset for chunk in chunks)


def read_output(tx: Transaction, session_id: UUID, offset: int, limit: int) -> bytes:
    """Output bytes from `offset` on: at least one and about `limit` of them, or none when that is not stored."""
    found = b""
    with tx.cursor(row_factory=class_row(Chunk)) as cursor:
        for chunk in cursor.execute(_SQL["covering"], {"session_id": session_id, "offset": offset, "limit": 8}):
            begin = offset + len(found)
            if chunk.first_offset > begin:
                break
            found += chunk.output()[begin - chunk.first_offset :]
            if len(found) >= limit:
                break
    return found


def tail(tx: Transaction, session_id: UUID, limit: int) -> tuple[int, bytes, bytes]:
    """Where a recording ends: the offset, the SHA-256 of its last chunk, and the last `limit` bytes of output."""
    last = _last_chunk(tx, session_id)
    if last is None:
        return 0, b"", b""
    with tx.cursor(row_factory=class_row(Chunk)) as cursor:
        newest = cursor.execute(_SQL["newest"], {"session_id": session_id, "after": last.end_offset - limit})
        output = b"".join(chunk.output() for chunk in reversed(newest.fetchall()))
    return last.end_offset, last.sha256, output[-limit:]


def chunks(database: Database, session_id: UUID) -> Iterator[Chunk]:
    """All chunks of a recording in order, a page at a time: no transaction stays open while the caller works."""
    epoch, seq = 0, -1
    while True:
        with database.transaction() as tx, tx.cursor(row_factory=class_row(Chunk)) as cursor:
            page = cursor.execute(
                _SQL["chunks"], {"session_id": session_id, "epoch": epoch, "seq": seq, "limit": _PAGE_CHUNKS}
            ).fetchall()
        yield from page
        if len(page) < _PAGE_CHUNKS:
            return
        epoch, seq = page[-1].epoch, page[-1].seq


def summaries(
    tx: Transaction,
    *,
    session_id: UUID | None = None,
    user_id: UUID | None = None,
    before: datetime | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Recordings newest first; `user_id` limits them to one user's sessions."""
    return tx.execute(
        _SQL["summaries"], {"session_id": session_id, "user_id": user_id, "before": before, "limit": limit}
    ).fetchall()


def ids(tx: Transaction) -> list[UUID]:
    """The sessions that have a recording."""
    return [row["session_id"] for row in tx.execute(_SQL["ids"])]


def rename(tx: Transaction, session_id: UUID, name: str) -> bool:
    return tx.execute(_SQL["rename"], {"session_id": session_id, "name": name}).fetchone() is not None


def delete(tx: Transaction, session_id: UUID) -> int:
    """Removes a whole recording; returns how many chunks it had."""
    return tx.execute(_SQL["delete"], {"session_id": session_id}).rowcount


def prune(tx: Transaction, days: int, *, limit: int = 50) -> int:
    """Removes up to `limit` recordings of sessions that ended more than `days` days ago, audited; returns how many."""
    expired = tx.execute(_SQL["expired"], {"days": days, "limit": limit}).fetchall()
    for row in expired:
        count = delete(tx, row["id"])
        audit.append(tx, audit.SYSTEM, "recording.pruned", f"session:{row['id']}", chunks=count, retention_days=days)
    return len(expired)
