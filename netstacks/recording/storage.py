"""Recordings in PostgreSQL: chunks that are refused when their epoch has moved on, read back in order.

What lists show of a recording, its size and its times, stands on its session's row and is kept with every chunk.
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

log = structlog.get_logger()

_SQL = load("recordings")
# The columns of chunks that are numbers.
_NUMBERS = ("epoch", "seq", "first_offset", "end_offset", "began_at", "ended_at")
_PAGE_CHUNKS = 16
# What is removed in one transaction, at most: far less than PostgreSQL can within the statement timeout.
SWEEP_CHUNKS = 1000
SWEEP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class Batch:
    """What one session has to store: chunks of one epoch in order, and the offset its client has acknowledged.

    `recorded_bytes` is what the session has recorded in all, these chunks included, as its quota counts it.
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
    """Stores all chunks; returns the batches that were refused: the epoch of their session has moved on.

    `again`: an earlier try may have been committed without our knowing, so what is there already is left out. Raises
    Conflict when a chunk is there already, or `again` another one of its number.
    """
    # One statement, whose data is one message: PostgreSQL has all of it before it locks a row. During a COPY it would
    # wait for this process with the rows locked, for as long as the process is frozen. Nor in a pipeline: between its
    # statements the transaction does not count as idle, and PostgreSQL would not end it.
    usual = _let_the_message_take_its_time(tx)
    rows = tx.execute(_SQL["save"], {"idle": usual} | _extents(batches) | _columns(batches)).fetchall()
    owned = {(row["id"], row["epoch"]) for row in rows if row["id"] is not None}
    sent = sum(len(batch.chunks) for batch in batches if batch.key in owned)
    if any(row["chunks"] < sent for row in rows) and not (again and _are_stored(tx, batches, owned)):
        raise Conflict("another chunk of this number is stored already")
    return [batch for batch in batches if batch.key not in owned]


def _are_stored(tx: Transaction, batches: Sequence[Batch], owned: set[tuple[UUID, int]]) -> bool:
    """Whether what is stored under the numbers of these chunks is these chunks."""
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


def _let_the_message_take_its_time(tx: Transaction) -> str:
    """Until the next statement has arrived the transaction counts as idle, and would be ended on a slow way.

    It locks nothing yet. The statement sets back what is returned.
    """
    row = tx.execute(_SQL["wait_for_message"]).fetchone()
    assert row is not None
    return str(row["usual"])


def _extents(batches: Iterable[Batch]) -> dict[str, Any]:
    """Of each session and epoch one row: what its session's row is to say."""
    gathered: dict[tuple[UUID, int], list[Batch]] = {}
    for batch in batches:
        gathered.setdefault(batch.key, []).append(batch)
    # In one order, so that deadlocks are rare; one costs a retry.
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
    chunks = [chunk for batch in batches for chunk in batch.chunks]
    columns = {field.name: [getattr(chunk, field.name) for chunk in chunks] for field in fields(Chunk)}
    return columns | {name: _numbers(columns[name]) for name in _NUMBERS}


def _numbers(values: Iterable[float | None]) -> str:
    """An array, as text: the driver would choose its type by the largest number, and PostgreSQL plan anew for each."""
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


def note_end(tx: Transaction, before: SessionRow, epoch: int, reason: str) -> None:
    """Notes in the recording that a session was ended at `epoch` by another instance than its owner `before`."""
    missing_part = "; what it had not stored is missing here" if before.owner is not None else ""
    append_note(tx, before.id, epoch, f"ended: {reason}{missing_part}")


def append_note(tx: Transaction, session_id: UUID, epoch: int, text: str) -> None:
    """Adds an event to the end of a recording that nobody writes at `epoch` any more.

    It bears the time of the last event there is, so that the recording takes no longer to play.
    """
    last = _last_chunk(tx, session_id)
    at = last.ended_at if last else time.time()
    seq = last.seq + 1 if last and last.epoch == epoch else 0
    place = (session_id, epoch, seq, last.end_offset if last else 0)
    chunk = make_chunk(last.sha256 if last else b"", *place, [Event(at, EventKind.NOTE, text.encode())])
    tx.execute(_SQL["append"], vars(chunk))


def output_bytes(chunks: Iterable[Chunk]) -> int:
    """How much the device printed in these chunks."""
    return sum(chunk.end_offset - chunk.first_offset for chunk in chunks)


def read_output(tx: Transaction, session_id: UUID, offset: int, limit: int) -> bytes:
    """Output bytes from `offset` on: at least one and about `limit` of them, or none when that is not stored.

    What is stored and damaged counts as not stored.
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
    """Its output; None, and a line in the log, when it is damaged: a session lives on without it."""
    try:
        return chunk.output()
    except ChunkDamaged as error:
        log.error("recording.damaged", session_id=str(chunk.session_id), error=str(error))
        return None


def tail(tx: Transaction, session_id: UUID, limit: int) -> tuple[int, bytes, bytes]:
    """Where a recording ends: the offset, the SHA-256 of its last chunk, and the last `limit` bytes of output.

    There are fewer bytes when a chunk is damaged: what follows it.
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
        yield from greenlets.in_thread(decompressed, page)
        if len(page) < _PAGE_CHUNKS:
            return
        epoch, seq = page[-1].epoch, page[-1].seq


def list_page(
    tx: Transaction,
    *,
    session_id: UUID | None = None,
    user_id: UUID | None = None,
    before: datetime | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Recordings newest first; `user_id` limits them to one user's sessions."""
    filters = {"of_session": session_id, "of_user": user_id}
    conditions = [sql.SQL(_SQL[name]) for name, value in filters.items() if value is not None]
    statement = sql.SQL(_SQL["summaries"]).format(conditions=all_of(conditions), user_mark=mark(user_id is not None))
    if session_id is None:
        read_in_order(tx)
    values = {"session_id": session_id, "user_id": user_id, "before": before, "limit": limit}
    return tx.execute(statement, values).fetchall()


def ids(tx: Transaction) -> list[UUID]:
    """The sessions that have a recording."""
    return [row["id"] for row in tx.execute(_SQL["ids"])]


def rename(tx: Transaction, session_id: UUID, name: str) -> bool:
    return tx.execute(_SQL["rename"], {"session_id": session_id, "name": name}).fetchone() is not None


def discard(tx: Transaction, session_ids: Sequence[UUID]) -> None:
    """Takes whole recordings of ended sessions and their summaries away, at once; `sweep` removes their chunks."""
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

    Several instances may sweep at once: each takes other recordings.
    """
    discarded = [row["id"] for row in tx.execute(_SQL["discarded"], {"limit": SWEEP_CHUNKS})]
    if discarded:
        read_in_order(tx)
        tx.execute(_SQL["sweep"], {"ids": discarded, "limit": SWEEP_CHUNKS, "limit_bytes": SWEEP_BYTES})
        tx.execute(_SQL["swept"], {"ids": discarded})
    return bool(discarded)
