"""Recordings in PostgreSQL: chunks, refused when the session is at another epoch, and read back in order.

The size and the times that lists show are columns of the session's row, updated with every chunk.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from psycopg import sql

from netstacks import greenlets
from netstacks.errors import Conflict
from netstacks.recording.chunks import Chunk, ChunkDamaged, Event, EventKind, decompressed, make_chunk
from netstacks.store import audit, session_summaries, sessions
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import all_of, load, mark, read_in_order, row_of
from netstacks.store.sessions import SessionRow
from netstacks.store.sight import Sight

log = structlog.get_logger()

_SQL = load("recordings")
# The numeric columns of chunks.
_NUMBERS = ("epoch", "seq", "first_offset", "end_offset", "began_at", "ended_at")
_PAGE_CHUNKS = 16
# The most that one transaction removes: far less than PostgreSQL can remove within the statement timeout.
SWEEP_CHUNKS = 1000
SWEEP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class Batch:
    """Chunks of one session and epoch, in order, and the offset that its client has acknowledged.

    `recorded_bytes` is the total of the session, these chunks included, as its quota counts it.
    """

    session_id: UUID
    epoch: int
    acked_offset: int
    chunks: Sequence[Chunk]
    recorded_bytes: int = 0

    @property
    def key(self) -> tuple[UUID, int]:
        return self.session_id, self.epoch


def save(tx: Transaction, batches: Sequence[Batch], *, again: bool = False) -> list[Batch]:
    """Stores all chunks; returns the batches that were refused, because their session is at another epoch.

    `again`: an earlier try may have been committed without a confirmation, so chunks that are stored already are
    skipped. Raises Conflict when another chunk of the same number is stored; without `again`, when any is.
    """
    rows = insert(tx, batches)
    owned = {(row["id"], row["epoch"]) for row in rows if row["id"] is not None}
    sent = sum(len(batch.chunks) for batch in batches if batch.key in owned)
    if any(row["chunks"] < sent for row in rows) and not (again and _are_stored(tx, batches, owned)):
        raise Conflict("another chunk of this number is stored already")
    return [batch for batch in batches if batch.key not in owned]


def _are_stored(tx: Transaction, batches: Sequence[Batch], owned: set[tuple[UUID, int]]) -> bool:
    """Whether the stored chunks of these numbers are these chunks."""
    chunks = [chunk for batch in batches if batch.key in owned for chunk in batch.chunks]
    row = tx.execute(
        _SQL["count_same"],
        {
            "ids": [chunk.session_id for chunk in chunks],
            "epochs": _numbers(chunk.epoch for chunk in chunks),
            "seqs": _numbers(chunk.seq for chunk in chunks),
            "sums": [chunk.sha256 for chunk in chunks],
        },
    ).fetchone()
    return row is not None and row["same"] == len(chunks)


def insert(tx: Transaction, batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Stores the chunks that are not stored yet, of sessions at the epoch of their batch.

    Returns a row for each of these sessions, or one without `id`; each has the number of new `chunks` in all.
    """
    # The statement may take long to arrive over a slow network, and the transaction holds no locks yet.
    usual = tx.execute(_SQL["wait_for_message"]).fetchone()
    assert usual is not None
    # One statement, whose data is one message: PostgreSQL has all of it before it locks a row. A COPY would wait for a
    # frozen process with the rows locked, and so would a pipeline: between its statements the transaction does not
    # count as idle, and PostgreSQL would not end it.
    return tx.execute(_SQL["save"], {"idle": usual["usual"]} | _extents(batches) | _columns(batches)).fetchall()


def _extents(batches: Iterable[Batch]) -> dict[str, Any]:
    """The parameters of a statement about sessions: one row per session and epoch, the new values of its row."""
    gathered: dict[tuple[UUID, int], list[Batch]] = {}
    for batch in batches:
        gathered.setdefault(batch.key, []).append(batch)
    # Sorted, so that transactions lock rows in the same order: deadlocks are rare, and cost a retry.
    found = sorted(gathered.items(), key=lambda item: item[0][0].int)
    chunks = [[chunk for part in parts for chunk in part.chunks] for _, parts in found]
    return {
        "ids": [session_id for (session_id, _), _ in found],
        "epochs": _numbers(epoch for (_, epoch), _ in found),
        "acked": _numbers(parts[-1].acked_offset for _, parts in found),
        "bytes": _numbers(max((chunk.end_offset for chunk in each), default=0) for each in chunks),
        "began": _numbers(min((chunk.began_at for chunk in each), default=None) for each in chunks),
        "ended": _numbers(max((chunk.ended_at for chunk in each), default=None) for each in chunks),
        "recorded": _numbers(max(part.recorded_bytes for part in parts) for _, parts in found),
    }


def _columns(batches: Iterable[Batch]) -> dict[str, Any]:
    """The parameters of a statement about chunks: the columns of all of them."""
    chunks = [chunk for batch in batches for chunk in batch.chunks]
    found = {field.name: [getattr(chunk, field.name) for chunk in chunks] for field in fields(Chunk)}
    return found | {name: _numbers(found[name]) for name in _NUMBERS}


def _numbers(values: Iterable[float | None]) -> str:
    """An array as text: the driver would choose its type by the largest number, and PostgreSQL replan for each type."""
    return f"{{{','.join(map(repr, values))}}}".replace("None", "NULL")


def missing(tx: Transaction, batch: Batch) -> Sequence[Chunk]:
    """The chunks of a batch that are not stored."""
    row = tx.execute(_SQL["stored"], {"session_id": batch.session_id, "epoch": batch.epoch}).fetchone()
    stored = row["seq"] if row and row["seq"] is not None else -1
    return [chunk for chunk in batch.chunks if chunk.seq > stored]


def _last_chunk(tx: Transaction, session_id: UUID) -> Chunk | None:
    with tx.cursor(row_factory=row_of(Chunk)) as cursor:
        return cursor.execute(_SQL["last"], {"session_id": session_id}).fetchone()


def refused(tx: Transaction, batch: Batch, *, kept_in: str | None = None) -> str | None:
    """Reports a batch that `save` refused: in the audit log, and in the recording if the session has ended.

    Returns the reason; None when nothing is missing, because an earlier try was committed without a confirmation.
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


def note_end(tx: Transaction, before: SessionRow, epoch: int, reason: str) -> None:
    """Notes in the recording that an instance other than the owner has ended the session, `before` in its row."""
    missing_part = "; what it had not stored is missing here" if before.owner is not None else ""
    append_note(tx, before.id, epoch, f"ended: {reason}{missing_part}")


def append_note(tx: Transaction, session_id: UUID, epoch: int, text: str) -> None:
    """Adds an event to the end of a recording that no instance writes at `epoch` any more.

    The event has the time of the last one, so that the recording takes no longer to play.
    """
    last = _last_chunk(tx, session_id)
    at = last.ended_at if last else time.time()
    seq = last.seq + 1 if last and last.epoch == epoch else 0
    place = (session_id, epoch, seq, last.end_offset if last else 0)
    chunk = make_chunk(last.sha256 if last else b"", *place, [Event(at, EventKind.NOTE, text.encode())])
    tx.execute(_SQL["append"], vars(chunk))


def output_bytes(chunks: Iterable[Chunk]) -> int:
    """The number of output bytes in these chunks."""
    return sum(chunk.end_offset - chunk.first_offset for chunk in chunks)


def read_output(tx: Transaction, session_id: UUID, offset: int, limit: int) -> bytes:
    """Output bytes from `offset` on: at least one and about `limit`, or none when they are not stored.

    Damaged chunks count as not stored.
    """
    found = b""
    with tx.cursor(row_factory=row_of(Chunk)) as cursor:
        for chunk in cursor.execute(_SQL["covering"], {"session_id": session_id, "offset": offset, "limit": 8}):
            begin = offset + len(found)
            if chunk.first_offset > begin or (output := _readable(chunk)) is None:
                break
            found += output[begin - chunk.first_offset :]
            if len(found) >= limit:
                break
    return found


def _readable(chunk: Chunk) -> bytes | None:
    """A chunk's output; None and a log line when it is damaged, so that the session goes on without it."""
    try:
        return chunk.output()
    except ChunkDamaged as error:
        log.error("recording.damaged", session_id=str(chunk.session_id), error=str(error))
        return None


def tail(tx: Transaction, session_id: UUID, limit: int) -> tuple[int, bytes, bytes]:
    """The end of a recording: its offset, the SHA-256 of its last chunk, and the last `limit` bytes of output.

    With a damaged chunk the bytes are only those after it.
    """
    last = _last_chunk(tx, session_id)
    if last is None:
        return 0, b"", b""
    with tx.cursor(row_factory=row_of(Chunk)) as cursor:
        newest = cursor.execute(_SQL["newest"], {"session_id": session_id, "after": last.end_offset - limit})
        outputs: list[bytes] = []
        for chunk in newest.fetchall():
            output = _readable(chunk)
            if output is None:
                break
            outputs.append(output)
    return last.end_offset, last.sha256, b"".join(reversed(outputs))[-limit:]


def chunks(database: Database, session_id: UUID) -> Iterator[Chunk]:
    """All chunks of a recording in order, a page at a time: no transaction stays open while the caller works.

    A discarded recording has none.
    """
    epoch, seq = 0, -1
    while True:
        with database.transaction() as tx, tx.cursor(row_factory=row_of(Chunk)) as cursor:
            page = cursor.execute(
                _SQL["chunks"], {"session_id": session_id, "epoch": epoch, "seq": seq, "limit": _PAGE_CHUNKS}
            ).fetchall()
        # In a thread: decompressing a page takes too long for the event loop.
        yield from greenlets.in_thread(decompressed, page)
        if len(page) < _PAGE_CHUNKS:
            return
        epoch, seq = page[-1].epoch, page[-1].seq


def list_page(
    tx: Transaction,
    *,
    session_id: UUID | None = None,
    seen_by: Sight | None = None,
    before: datetime | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Recordings newest first; with `seen_by` only those of sessions in sight."""
    conditions = [sql.SQL(_SQL["of_session"])] if session_id is not None else []
    conditions += seen_by.conditions() if seen_by else []
    is_of_one_user = seen_by is not None and not seen_by.of_others
    statement = sql.SQL(_SQL["summaries"]).format(conditions=all_of(conditions), user_mark=mark(is_of_one_user))
    if session_id is None:
        read_in_order(tx)
    values = {"session_id": session_id, "before": before, "limit": limit, **(seen_by.values if seen_by else {})}
    return tx.execute(statement, values).fetchall()


def ids(tx: Transaction) -> list[UUID]:
    """The sessions that have a recording."""
    return [row["id"] for row in tx.execute(_SQL["ids"])]


def rename(tx: Transaction, session_id: UUID, name: str) -> bool:
    return tx.execute(_SQL["rename"], {"session_id": session_id, "name": name}).fetchone() is not None


def discard(tx: Transaction, session_ids: Sequence[UUID]) -> None:
    """Marks recordings of ended sessions as deleted, and deletes their summaries; `sweep` removes the chunks."""
    rows = tx.execute(_SQL["discard"], {"ids": list(session_ids)}).fetchall()
    session_summaries.delete(tx, [row["id"] for row in rows])


def prune(tx: Transaction, days: int, *, limit: int = 50) -> int:
    """Discards up to `limit` recordings of sessions that ended more than `days` days ago, audited; returns how many."""
    expired = tx.execute(_SQL["expired"], {"days": days, "limit": limit}).fetchall()
    discard(tx, [row["id"] for row in expired])
    for row in expired:
        details = {"bytes": row["recording_bytes"], "retention_days": days}
        audit.append(tx, audit.SYSTEM, "recording.pruned", f"session:{row['id']}", **details)
    return len(expired)


def sweep(tx: Transaction) -> bool:
    """Removes up to SWEEP_CHUNKS chunks, or SWEEP_BYTES, of discarded recordings; returns whether there were any.

    Several instances may sweep at once: each locks other recordings.
    """
    discarded = [row["id"] for row in tx.execute(_SQL["discarded"], {"limit": SWEEP_CHUNKS})]
    if discarded:
        read_in_order(tx)
        tx.execute(_SQL["sweep"], {"ids": discarded, "limit": SWEEP_CHUNKS, "limit_bytes": SWEEP_BYTES})
        tx.execute(_SQL["swept"], {"ids": discarded})
    return bool(discarded)
