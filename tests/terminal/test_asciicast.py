"""The times of a recording: seconds since it began in the file, microseconds since it began in a chunk."""

import json
import struct
from uuid import UUID

from netstacks.recording import asciicast
from netstacks.recording.chunks import Chunk, Event, EventKind, make_chunk

SESSION = UUID(int=7)


def chunk(*times: float, previous: Chunk | None = None) -> Chunk:
    """A chunk of one byte of output at each of `times`."""
    events = [Event(at, EventKind.OUTPUT, b"x") for at in times]
    place = (previous.seq + 1, previous.end_offset) if previous else (0, 0)
    return make_chunk(previous.sha256 if previous else b"", SESSION, 1, *place, events)


def played(*chunks: Chunk, started_at: float) -> tuple[int, list[float]]:
    """The timestamp of the header, and the times of the events."""
    options = {"title": "r1", "cols": 80, "rows": 24, "with_input": False}
    header, *events = map(json.loads, asciicast.lines(chunks, started_at=started_at, **options))  # type: ignore[arg-type]
    return header["timestamp"], [at for at, _, _ in events]


def test_the_times_of_a_file_are_seconds_since_the_recording_began() -> None:
    first = chunk(1000.25, 1001.5)
    second = chunk(1060.0, 1060.000_001, previous=first)
    assert played(first, second, started_at=1000.25) == (1000, [0.0, 1.25, 59.75, 59.750001])


def test_the_times_of_a_file_never_decrease() -> None:
    """A clock may have been set back between two chunks, and before the first one."""
    first = chunk(1000.0, 1010.0)
    second = chunk(1005.0, 1012.0, previous=first)
    assert played(first, second, started_at=1000.0)[1] == [0.0, 10.0, 10.0, 12.0]
    assert played(first, started_at=1003.0)[1] == [0.0, 7.0]


def test_a_chunk_stores_microseconds_since_it_began() -> None:
    """Stored recordings depend on this layout: kind, 64-bit time, 32-bit length, payload."""
    made = chunk(1000.0, 1001.5)
    assert made.events == b"".join(struct.pack(">cQI", b"o", micros, 1) + b"x" for micros in (0, 1_500_000))
    assert (made.began_at, made.ended_at) == (1000.0, 1001.5)
    assert [event.at for event in made.unpacked()] == [1000.0, 1001.5]


def test_an_event_before_the_beginning_of_its_chunk_is_stored_at_the_beginning() -> None:
    """A clock was set back while the chunk was open: an unsigned time cannot hold that."""
    assert [event.at for event in chunk(1000.0, 990.0, 1000.5).unpacked()] == [1000.0, 1000.0, 1000.5]
