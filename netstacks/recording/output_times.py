"""When a device has sent a byte of its output, by the recording."""

from uuid import UUID

from netstacks.recording.chunks import Chunk, ChunkDamaged, EventKind
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("recordings")


def time_of(tx: Transaction, session_id: UUID, offset: int) -> float | None:
    """The time of the output byte at `offset`, in seconds since 1970; None when it is not stored, or damaged."""
    with tx.cursor(row_factory=row_of(Chunk)) as cursor:
        covering = {"session_id": session_id, "offset": offset, "limit": 1}
        chunk = cursor.execute(_SQL["covering"], covering).fetchone()
    if chunk is None or chunk.first_offset > offset:
        return None
    end = chunk.first_offset
    try:
        # Read as a whole first: in a damaged chunk, the offsets of the events prove nothing.
        chunk.output()
    except ChunkDamaged:
        return None
    for event in chunk.unpacked():
        if event.kind is EventKind.OUTPUT:
            end += len(event.payload)
            if end > offset:
                return event.at
    return None
