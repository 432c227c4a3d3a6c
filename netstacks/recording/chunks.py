"""The content of a recording: events of four kinds with their times, packed into numbered chunks in a hash chain."""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from uuid import UUID

import zstandard

from netstacks.errors import NetstacksError
from netstacks.recording import compression


class EventKind(Enum):
    """The kinds of asciicast v2, and NOTE: events of the recording itself (a gap, a new epoch, the end)."""

    OUTPUT = b"o"
    INPUT = b"i"
    RESIZE = b"r"
    NOTE = b"n"


# Plausible limits: the year 9999, in seconds since 1970, and a century in microseconds. A clock may have been set while
# a chunk was open.
_LATEST = 253_402_300_799.0
_MAX_MICROS = 100 * 365 * 86400 * 10**6
# The head of an event: kind, microseconds since the chunk began, length of the payload that follows.
_HEAD = struct.Struct(">cQI")
EVENT_HEAD_BYTES = _HEAD.size


@dataclass(frozen=True, slots=True)
class Event:
    """An event at the time `at`, in seconds since 1970. The payload of a resize is `COLSxROWS`."""

    at: float
    kind: EventKind
    payload: bytes


class ChunkDamaged(NetstacksError):
    """The events of a chunk cannot be read: the text names the chunk, `problem` is its second half without the name."""

    def __init__(self, chunk: "Chunk", problem: str) -> None:
        super().__init__(f"chunk {chunk.seq} of epoch {chunk.epoch} {problem}")
        self.problem = problem


@dataclass(frozen=True)
class Chunk:
    """A numbered piece of a recording: output bytes `first_offset` to `end_offset`, and the other events meanwhile.

    `events` are encoded with `codec`. `sha256` covers the events without the codec, and the predecessor's `sha256`.
    `began_at` and `ended_at` are in seconds since 1970.
    """

    session_id: UUID
    epoch: int
    seq: int
    first_offset: int
    end_offset: int
    began_at: float
    ended_at: float
    events: bytes
    sha256: bytes
    codec: str = compression.NONE

    def plain(self) -> "Chunk":
        """The same chunk without a codec. Raises ChunkDamaged."""
        if self.codec == compression.NONE:
            return self
        try:
            events = compression.decompress(self.codec, self.events)
        except ValueError as error:
            raise ChunkDamaged(self, str(error)) from error
        return replace(self, events=events, codec=compression.NONE)

    def unpacked(self) -> Iterator[Event]:
        """The events, in order. A NOTE replaces events that cannot be read: every gap in a recording is an event."""
        try:
            yield from self._events()
        except ChunkDamaged as error:
            text = f"{error}; some or all of the output bytes {self.first_offset} to {self.end_offset} are missing here"
            yield Event(self.began_at, EventKind.NOTE, text.encode())

    def output(self) -> bytes:
        """The device's bytes in this chunk. Raises ChunkDamaged."""
        return b"".join(event.payload for event in self._events() if event.kind is EventKind.OUTPUT)

    def _events(self) -> Iterator[Event]:
        if not 0 <= self.began_at <= _LATEST:
            raise ChunkDamaged(self, "is damaged: the time of its beginning is not valid")
        events = self.plain().events
        position = 0
        while position < len(events):
            try:
                head, micros, size = _HEAD.unpack_from(events, position)
                kind = EventKind(head)
            except (struct.error, ValueError) as error:
                raise ChunkDamaged(self, f"is damaged: {error}") from error
            position += _HEAD.size
            if position + size > len(events):
                raise ChunkDamaged(self, "is damaged: it ends within an event")
            if micros > _MAX_MICROS:
                raise ChunkDamaged(self, "is damaged: the time of an event is not valid")
            yield Event(self.began_at + micros / 1e6, kind, events[position : position + size])
            position += size


def make_chunk(
    previous_sha256: bytes, session_id: UUID, epoch: int, seq: int, first_offset: int, events: list[Event]
) -> Chunk:
    """Packs at least one event into the chunk that follows the one with `previous_sha256` (empty for the first)."""
    began_at = events[0].at
    parts: list[bytes] = []
    output_bytes = 0
    for event in events:
        # Not negative, even if the clock was set back since the chunk began.
        micros = max(0, round((event.at - began_at) * 1e6))
        parts += _HEAD.pack(event.kind.value, micros, len(event.payload)), event.payload
        if event.kind is EventKind.OUTPUT:
            output_bytes += len(event.payload)
    packed = b"".join(parts)
    return Chunk(
        session_id,
        epoch,
        seq,
        first_offset,
        first_offset + output_bytes,
        began_at,
        events[-1].at,
        packed,
        digest(previous_sha256, session_id, epoch, seq, first_offset, packed),
    )


def is_worth_compressing(chunk: Chunk) -> bool:
    return chunk.codec == compression.NONE and compression.is_worth_it(len(chunk.events))


def compressed(chunks: Iterable[Chunk]) -> list[Chunk]:
    """The same chunks, compressed where that saves bytes. Takes long; may run in any thread."""
    compressor = compression.compressor()
    return [_compressed(chunk, compressor) if is_worth_compressing(chunk) else chunk for chunk in chunks]


def _compressed(chunk: Chunk, compressor: zstandard.ZstdCompressor) -> Chunk:
    smaller = compressor.compress(chunk.events)
    return replace(chunk, events=smaller, codec=compression.ZSTD) if len(smaller) < len(chunk.events) else chunk


def decompressed(chunks: Iterable[Chunk]) -> list[Chunk]:
    """The same chunks without a codec, except damaged ones. Takes long; may run in any thread."""
    return [_decompressed(chunk) for chunk in chunks]


def _decompressed(chunk: Chunk) -> Chunk:
    try:
        return chunk.plain()
    except ChunkDamaged:
        return chunk


def digest(previous_sha256: bytes, session_id: UUID, epoch: int, seq: int, first_offset: int, events: bytes) -> bytes:
    """The SHA-256 of a chunk: over its predecessor's hash, its position and its events."""
    state = hashlib.sha256(previous_sha256)
    state.update(f"{session_id}/{epoch}/{seq}/{first_offset}/".encode())
    state.update(events)
    return state.digest()


@dataclass(frozen=True)
class Gap:
    """The first chunk of a recording that fails verification."""

    epoch: int
    seq: int
    problem: str


def verify(chunks: Iterable[Chunk]) -> Gap | None:
    """Checks numbers, offsets and hash chain of all chunks of one recording, in order; None when all are valid.

    A recording without its first chunks fails: retention removes whole recordings only.
    """
    previous: Chunk | None = None
    for chunk in chunks:
        problem = _problem(previous, chunk)
        if problem:
            return Gap(chunk.epoch, chunk.seq, problem)
        previous = chunk
    return None


def _problem(previous: Chunk | None, chunk: Chunk) -> str | None:
    # A new epoch numbers its chunks from 0, and continues the offsets and the hash chain.
    expected_seq = previous.seq + 1 if previous and previous.epoch == chunk.epoch else 0
    if chunk.seq != expected_seq:
        return f"chunk {expected_seq} is missing"
    expected_offset = previous.end_offset if previous else 0
    if chunk.first_offset != expected_offset:
        return f"output begins at byte {chunk.first_offset}, expected {expected_offset}"
    previous_sha256 = previous.sha256 if previous else b""
    position = (chunk.session_id, chunk.epoch, chunk.seq, chunk.first_offset)
    try:
        chunk = chunk.plain()
    except ChunkDamaged as error:
        return f"it {error.problem}"
    if digest(previous_sha256, *position, chunk.events) != chunk.sha256:
        return "its SHA-256 does not match: this chunk or its predecessor was altered"
    try:
        output_bytes = len(chunk.output())
    except ChunkDamaged as error:
        return f"it {error.problem}"
    if output_bytes != chunk.end_offset - chunk.first_offset:
        return "its output is shorter or longer than its offsets say"
    return None
