"""Compressed chunks: what they hold is what was recorded, whatever stands beside them, and damage is named."""

import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from netstacks.errors import NetstacksError
from netstacks.recording import asciicast, storage
from netstacks.recording.chunks import (
    Chunk,
    ChunkDamaged,
    Event,
    EventKind,
    compressed,
    decompressed,
    make_chunk,
    verify,
)
from netstacks.recording.compression import LARGEST_BYTES, SMALLEST_BYTES
from netstacks.recording.storage import Batch
from netstacks.store import schema
from netstacks.store.pool import Database
from tests.rows import make_session
from tests.store.test_recordings import chain, save, stored

SESSION = uuid.UUID("6f1a2f0e-0000-4000-8000-000000000001")
ROUTES = b"O E2    10.1.2.0/24 [110/20] via 172.16.0.1, 3d04h, TenGigabitEthernet0/1/2\r\n" * 200

_events = st.lists(
    st.builds(
        lambda at, kind, piece, times: Event(at, kind, piece * times),
        st.floats(1000, 2000),
        st.sampled_from(EventKind),
        st.binary(max_size=60),
        st.integers(0, 1000),
    ),
    min_size=1,
    max_size=8,
)


@given(st.lists(_events, min_size=1, max_size=5))
def test_compressed_chunks_hold_the_recorded_events(recorded: list[list[Event]]) -> None:
    plain: list[Chunk] = []
    for seq, events in enumerate(recorded):
        previous = plain[-1] if plain else None
        place = (SESSION, 1, seq, previous.end_offset if previous else 0)
        plain.append(make_chunk(previous.sha256 if previous else b"", *place, events))
    smaller = compressed(plain)
    assert verify(smaller) is None
    assert decompressed(smaller) == plain
    assert [chunk.output() for chunk in smaller] == [chunk.output() for chunk in plain]
    for before, after in zip(plain, smaller, strict=True):
        assert len(after.events) <= len(before.events)
        assert after.codec == "none" or len(before.events) > SMALLEST_BYTES


def test_a_chunk_that_is_small_or_does_not_shrink_or_is_too_large_stays_as_it_is() -> None:
    chunks = chain(SESSION, ROUTES[:4000], os.urandom(100_000), bytes(LARGEST_BYTES), ROUTES)
    assert [chunk.codec for chunk in compressed(chunks)] == ["none", "none", "none", "zstd"]
    assert compressed(chunks)[:3] == chunks[:3]


def test_all_readers_read_plain_and_compressed_chunks_of_one_recording(database: Database) -> None:
    session_id = make_session(database)
    first, second, third, fourth = chain(session_id, b"R1#show ip route\r\n", ROUTES, ROUTES, b"R1#")
    mixed = [first, *compressed([second]), third, fourth]
    assert save(database, Batch(session_id, 1, 0, mixed)) == []
    with database.transaction() as tx:
        row = tx.execute("SELECT array_agg(codec ORDER BY seq) AS codecs FROM recording_chunks").fetchone()
        assert row == {"codecs": ["none", "zstd", "none", "none"]}
        output = b"R1#show ip route\r\n" + ROUTES + ROUTES + b"R1#"
        assert storage.tail(tx, session_id, 20_000) == (len(output), fourth.sha256, output[-20_000:])
        assert storage.read_output(tx, session_id, 100, len(output)) == output[100:]
    assert stored(database, session_id) == [first, second, third, fourth]
    assert verify(stored(database, session_id)) is None


def test_a_compressed_chunk_is_not_stored_twice_nor_taken_for_another(database: Database) -> None:
    session_id = make_session(database)
    chunks = chain(session_id, ROUTES, ROUTES)
    save(database, Batch(session_id, 1, 0, chunks[:1]))
    assert save(database, Batch(session_id, 1, 0, compressed(chunks)), again=True) == []
    assert stored(database, session_id) == chunks


def test_the_end_of_a_compressed_recording_can_be_noted(database: Database) -> None:
    session_id = make_session(database)
    save(database, Batch(session_id, 1, 0, compressed(chain(session_id, ROUTES))))
    with database.transaction() as tx:
        storage.append_note(tx, session_id, 1, "ended: the device is gone")
    assert verify(stored(database, session_id)) is None


def _zeros(size: int) -> bytes:
    return zstandard.ZstdCompressor(1).compress(bytes(size))


def _without_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(1, write_content_size=False).compress(data)


_BOMBS = {
    "its frame says more than a chunk may hold": _zeros(LARGEST_BYTES + 1),
    "its frame says nothing of its size": _without_size(bytes(1000)),
    "its frame says less than it holds": _zeros(1_000_000).replace(
        struct.pack("<I", 1_000_000), struct.pack("<I", 70_000)
    ),
    "another frame follows": _zeros(1000) + _zeros(1000),
    "it is cut": _zeros(100_000)[:-2],
    "it is empty": b"",
    "it is no frame": b"R1#show version",
}


@pytest.mark.parametrize("frame", _BOMBS.values(), ids=_BOMBS)
def test_a_frame_that_is_not_one_of_ours_is_damage(frame: bytes) -> None:
    (chunk,) = chain(SESSION, ROUTES)
    damaged = replace(chunk, events=frame, codec="zstd")
    with pytest.raises(ChunkDamaged, match="chunk 0 of epoch 1 is damaged"):
        damaged.output()
    gap = verify([damaged])
    assert gap is not None
    assert (gap.epoch, gap.seq) == (1, 0)
    assert gap.problem.startswith("it is damaged: ")


@given(st.data())
def test_any_changed_byte_of_a_compressed_chunk_is_noticed(data: st.DataObject) -> None:
    (chunk,) = compressed(chain(SESSION, ROUTES))
    position = data.draw(st.integers(0, len(chunk.events) - 1))
    changed = bytearray(chunk.events)
    changed[position] ^= data.draw(st.integers(1, 255))
    damaged = replace(chunk, events=bytes(changed))
    try:
        # A frame has bits without a meaning.
        assert damaged.plain() == chunk.plain()
    except ChunkDamaged:
        assert verify([damaged]) is not None


def test_events_that_make_no_sense_are_damage(database: Database) -> None:
    (chunk,) = chain(SESSION, b"R1#")
    for events in (b"?" + chunk.events[1:], chunk.events + b"o"):
        with pytest.raises(ChunkDamaged, match="chunk 0 of epoch 1 is damaged"):
            replace(chunk, events=events).output()


def test_a_codec_of_a_later_version_is_named() -> None:
    (chunk,) = chain(SESSION, ROUTES)
    with pytest.raises(NetstacksError, match="is compressed with 'later', which this version does not know"):
        replace(chunk, codec="later").output()


@pytest.fixture
def damaged(database: Database) -> uuid.UUID:
    """A recording of three compressed chunks, the second of which is damaged."""
    session_id = make_session(database)
    save(database, Batch(session_id, 1, 0, compressed(chain(session_id, ROUTES, ROUTES, ROUTES))))
    with database.transaction() as tx:
        tx.execute("UPDATE recording_chunks SET events = overlay(events PLACING 'damage' FROM 40) WHERE seq = 1")
    return session_id


def test_a_gap_is_an_event_in_what_is_played(database: Database, damaged: uuid.UUID) -> None:
    options = {"title": "r1", "cols": 80, "rows": 24, "started_at": 1000.0}
    lines = list(asciicast.lines(storage.chunks(database, damaged), with_input=False, **options))
    assert len([line for line in lines if '"o"' in line]) == 2
    (note,) = [line for line in lines if '"m"' in line]
    assert "chunk 1 of epoch 1 is damaged" in note
    assert f"the output bytes {len(ROUTES)} to {2 * len(ROUTES)} are missing here" in note


def test_a_damaged_chunk_is_a_gap_in_the_chain(database: Database, damaged: uuid.UUID) -> None:
    gap = verify(storage.chunks(database, damaged))
    assert gap is not None
    assert (gap.seq, "damaged" in gap.problem) == (1, True)


def test_a_session_is_claimed_with_what_follows_a_damaged_chunk(database: Database, damaged: uuid.UUID) -> None:
    end = 3 * len(ROUTES)
    with database.transaction() as tx:
        offset, _, output = storage.tail(tx, damaged, end)
        assert (offset, output) == (end, ROUTES)
        assert storage.read_output(tx, damaged, 0, end) == ROUTES
        assert storage.read_output(tx, damaged, len(ROUTES), end) == b""
        assert storage.read_output(tx, damaged, 2 * len(ROUTES), end) == ROUTES


_FORMER_SAVE = """
INSERT INTO recording_chunks (session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256)
VALUES (%(session_id)s, %(epoch)s, %(seq)s, %(first_offset)s, %(end_offset)s, %(began_at)s, %(ended_at)s, %(events)s,
        %(sha256)s)
"""


@pytest.fixture
def former(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database at the schema before the codec, opened."""
    known = schema.migrations()
    database = Database(database_url)
    database.open()
    monkeypatch.setattr(schema, "migrations", lambda: [each for each in known if each[0] < 9])
    schema.migrate(database)
    monkeypatch.undo()
    yield database
    database.close()


def test_chunks_of_the_former_version_are_kept_and_may_still_be_added(former: Database, database_url: str) -> None:
    one, two, three, four = chain(SESSION, b"R1#", ROUTES, b"R1#", ROUTES)
    with psycopg.connect(database_url) as connection:
        for chunk in (one, two):
            connection.execute(_FORMER_SAVE, vars(chunk))
        (rows_before,) = connection.execute("SELECT pg_relation_filenode('recording_chunks')").fetchone() or (None,)
    schema.migrate(former)
    with psycopg.connect(database_url) as connection:
        connection.execute(_FORMER_SAVE, vars(three))
        assert connection.execute("SELECT pg_relation_filenode('recording_chunks')").fetchone() == (rows_before,)
    session_id = make_session(former, session_id=SESSION)
    assert save(former, Batch(session_id, 1, 0, compressed([four]))) == []
    assert stored(former, session_id) == [one, two, three, four]
    assert verify(stored(former, session_id)) is None
