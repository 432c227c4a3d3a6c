"""The recorder against a real PostgreSQL."""

import uuid
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.recording import recorder as module
from netstacks.recording import session_recording as recording_module
from netstacks.recording import storage
from netstacks.recording.chunks import Chunk, Event, EventKind, make_chunk, verify
from netstacks.recording.closing import Closing
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import Recording
from netstacks.recording.storage import Batch, output_bytes
from netstacks.store import audit, session_lists, sessions
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from tests.postgres import Postgres
from tests.rows import make_session
from tests.waits import until

LINES = b"".join(b"line %d of the running configuration\r\n" % number for number in range(1000))


def nothing() -> None:
    pass


@pytest.fixture
def recorder(database: Database) -> Recorder:
    recorder = Recorder(database)
    recorder.start()
    return recorder


def begin(recorder: Recorder, session_id: UUID, on_fenced: Callable[[], None] = nothing) -> Recording:
    return Recording(recorder, session_id, 1, on_room=nothing, on_fenced=on_fenced)


def stored(database: Database, session_id: UUID) -> list[Chunk]:
    return list(storage.chunks(database, session_id))


def test_output_is_stored_in_order_and_its_chain_verifies(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording = begin(recorder, session_id)
    for number in range(100):
        recording.output(f"line {number}\r\n".encode() * 50)
        greenlets.sleep(0)
    assert recorder.flush(30)
    chunks = stored(database, session_id)
    assert b"".join(chunk.output() for chunk in chunks) == b"".join(
        f"line {number}\r\n".encode() * 50 for number in range(100)
    )
    assert verify(chunks) is None
    assert recording.waiting_bytes == recorder.waiting_bytes == 0
    assert recording.stored_offset == chunks[-1].end_offset


def test_an_acknowledgement_after_the_last_output_is_stored_without_further_output(
    database: Database, recorder: Recorder
) -> None:
    session_id = make_session(database)
    recording = begin(recorder, session_id)
    recording.output(b"the last output")
    assert recorder.flush(30)
    recording.acknowledged(4)
    recording.acknowledged(15)
    recording.acknowledged(9)

    def acked_offset() -> int:
        with database.transaction() as tx:
            row = sessions.find(tx, session_id)
        assert row is not None
        return row.acked_offset

    until(lambda: acked_offset() == 15)
    assert recorder.flush(30)
    assert len(stored(database, session_id)) == 1
    assert recording.take() is None


def test_an_altered_or_missing_chunk_is_named(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording = begin(recorder, session_id)
    for number in range(3):
        recording.output(b"%d" % number)
        assert recorder.flush(30)
    with database.transaction() as tx:
        tx.execute("UPDATE recording_chunks SET events = replace(events::text, '31', '39')::bytea WHERE seq = 1")
    gap = verify(stored(database, session_id))
    assert gap is not None
    assert gap.seq == 1
    assert "altered" in gap.problem
    with database.transaction() as tx:
        tx.execute("DELETE FROM recording_chunks WHERE seq = 1")
    gap = verify(stored(database, session_id))
    assert gap is not None
    assert gap.seq == 2
    assert "chunk 1 is missing" in gap.problem


def codecs(database: Database, session_id: UUID) -> list[str]:
    with database.transaction() as tx:
        rows = tx.execute("SELECT codec FROM recording_chunks WHERE session_id = %s ORDER BY seq", [session_id])
        return [row["codec"] for row in rows]


def test_large_chunks_are_compressed(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording = begin(recorder, session_id)
    for output in (b"R1#", LINES, b"bye"):
        recording.output(output)
        assert recorder.flush(30)
    assert codecs(database, session_id) == ["none", "zstd", "none"]
    assert [chunk.output() for chunk in stored(database, session_id)] == [b"R1#", LINES, b"bye"]


def test_chunks_are_not_compressed_while_an_instance_lives_that_could_not_read_them(database: Database) -> None:
    understood = False
    recorder = Recorder(database, may_compress=lambda: understood)
    recorder.start()
    session_id = make_session(database)
    recording = begin(recorder, session_id)
    recording.output(LINES)
    assert recorder.flush(30)
    understood = True
    recording.output(LINES)
    assert recorder.flush(30)
    assert codecs(database, session_id) == ["none", "zstd"]
    assert verify(stored(database, session_id)) is None


def test_spooled_chunks_are_not_compressed(
    database: Database, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance of the former version may store it."""
    tried: list[Batch] = []

    def fail(_: object, batches: list[Batch], *, again: bool) -> list[Batch]:
        tried.extend(batches)
        raise StoreUnavailable("away")

    monkeypatch.setattr(storage, "save", fail)
    recording = begin(recorder, make_session(database))
    recording.output(LINES)
    until(lambda: tried, "the first try")
    (leftover,) = recorder.stop()
    assert [chunk.codec for chunk in tried[0].chunks] == ["zstd"]
    assert [(chunk.codec, chunk.output()) for chunk in leftover.batch.chunks] == [("none", LINES)]


def test_a_quiet_session_makes_one_chunk_in_a_window_however_much_another_one_prints(
    database: Database, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECS", 3600.0)
    quiet, loud = begin(recorder, make_session(database)), begin(recorder, make_session(database))
    for number in range(3):
        quiet.output(b"%d" % number)
        loud.output(bytes(recording_module.BATCH_BYTES))
        until(lambda: loud.waiting_bytes == 0, "storing the loud one")
    assert len(stored(database, loud.session_id)) == 3
    assert stored(database, quiet.session_id) == []
    assert recorder.has_unstored(quiet.session_id)
    assert recorder.flush(30)
    (chunk,) = stored(database, quiet.session_id)
    assert chunk.output() == b"012"


def test_output_of_a_window_is_stored_at_its_end_beside_a_session_that_never_rests(
    database: Database, recorder: Recorder
) -> None:
    quiet, loud = begin(recorder, make_session(database)), begin(recorder, make_session(database))

    def is_stored() -> bool:
        loud.output(bytes(recording_module.BATCH_BYTES))
        return quiet.waiting_bytes == 0

    quiet.output(b"R1#")
    until(is_stored, "storing the quiet one")
    assert [chunk.output() for chunk in stored(database, quiet.session_id)] == [b"R1#"]


def test_a_fenced_epoch_stores_nothing_more(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    fenced: list[bool] = []
    recording = begin(recorder, session_id, on_fenced=lambda: fenced.append(True))
    recording.output(b"mine")
    assert recorder.flush(30)
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
        assert row is not None
        assert sessions.claim(tx, row, owner="ctrl-2", owner_address=None) is not None
        assert sessions.claim(tx, row, owner="ctrl-3", owner_address=None) is None
    recording.output(b"not mine any more")
    assert recorder.flush(30)
    assert fenced == [True]
    recording.output(b"nor this")
    assert b"".join(chunk.output() for chunk in stored(database, session_id)) == b"mine"
    with database.transaction() as tx:
        (told,) = audit.list_page(tx, event="recording.refused")
    assert told["details"]["bytes"] == len(b"not mine any more")


def test_a_batch_whose_commit_was_not_seen_is_not_stored_twice(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording = begin(recorder, session_id)
    recording.output(b"once")
    unstored = recording.take()
    assert unstored is not None
    for again in (False, True):
        with database.transaction() as tx:
            assert storage.save(tx, [unstored.batch], again=again) == []
    assert len(stored(database, session_id)) == 1


def test_the_last_chunk_and_the_end_of_the_session_are_one_transaction(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording = begin(recorder, session_id)
    recording.output(b"bye")
    recording.close(Closing(True, "logged out", uuid.uuid4(), "ana", "r1"))
    assert recorder.flush(30)
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    assert (row.state, row.end_reason, row.owner, row.epoch) == ("ended", "logged out", None, 2)
    assert stored(database, session_id)[0].output() == b"bye"


def test_without_a_database_the_buffer_fills_holds_the_device_and_loses_nothing() -> None:
    own = Postgres().start()
    database = Database(own.create_database())
    database.open()
    try:
        migrate(database)
        session_id = make_session(database)
        recorder = Recorder(database)
        recorder.start()
        recording = begin(recorder, session_id)
        own.stop()
        sent = b""
        while recording.has_room:
            sent += b"x" * 60_000
            recording.output(b"x" * 60_000)
            greenlets.sleep(0)
        assert (
            recording_module.SESSION_BUFFER_BYTES
            <= recording.waiting_bytes
            < recording_module.SESSION_BUFFER_BYTES + 120_000
        )
        until(lambda: recorder.failing, "a failure to store")
        assert recording.held_by_store
        own.start()
        assert recorder.flush(30)
        assert recording.has_room
        chunks = stored(database, session_id)
        assert b"".join(chunk.output() for chunk in chunks) == sent
        assert verify(chunks) is None
    finally:
        database.close()
        own.destroy()


def test_only_the_reserve_of_a_session_stands_when_the_process_buffer_is_full(
    database: Database, recorder: Recorder
) -> None:
    recording = begin(recorder, make_session(database))
    recorder.waiting_bytes = recording_module.PROCESS_BUFFER_BYTES
    assert recording.has_room
    recording.waiting_bytes = recording_module.SESSION_RESERVE_BYTES
    assert not recording.has_room


def test_a_session_that_postgresql_refuses_for_a_reason_of_its_own_holds_up_no_other(
    database: Database, recorder: Recorder
) -> None:
    """Its number is taken by another chunk, as only a fault can bring about."""
    poisoned, healthy = make_session(database), make_session(database)
    other = make_chunk(b"", poisoned, 1, 0, 0, [Event(1000.0, EventKind.OUTPUT, b"another")])
    with database.transaction() as tx:
        assert storage.save(tx, [Batch(poisoned, 1, 0, [other])]) == []
    wrong, right = begin(recorder, poisoned), begin(recorder, healthy)
    wrong.output(b"what comes second")
    for number in range(5):
        right.output(b"line %d\r\n" % number)
        greenlets.sleep(0.05)
    until(lambda: right.waiting_bytes == 0, "the healthy one")
    assert b"".join(chunk.output() for chunk in stored(database, healthy)) == b"".join(
        b"line %d\r\n" % number for number in range(5)
    )
    assert wrong.waiting_bytes > 0
    assert recorder.has_unstored(poisoned)
    (leftover,) = recorder.stop()
    assert output_bytes(leftover.batch.chunks) == len(b"what comes second")


def test_an_error_in_what_one_session_does_ends_the_recording_of_no_other(
    database: Database, recorder: Recorder
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    failing = Recording(recorder, make_session(database), 1, on_room=fail, on_fenced=nothing)
    failing.output(b"one")
    until(lambda: stored(database, failing.session_id), "its chunk")
    other = begin(recorder, make_session(database))
    other.output(b"two")
    until(lambda: stored(database, other.session_id), "the other's chunk")
    assert not recorder.background.has_died


def test_very_many_sessions_that_end_at_once_are_ended_in_steps(database: Database, recorder: Recorder) -> None:
    count = 2 * module._STEP + 1
    user_id = uuid.uuid4()
    ended = [begin(recorder, make_session(database)) for _ in range(count)]
    for recording in ended:
        recording.note("ended: exit")
        recording.close(Closing(True, "exit", user_id, "ana", "r1"))
    assert recorder.flush(60)
    with database.transaction() as tx:
        assert len(session_lists.page(tx, live=False, limit=1000).rows) == count


def test_the_recorder_retries_for_as_long_as_postgresql_is_away(
    database: Database, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECS", (0.01,))
    save, tries = storage.save, 0

    def fail_at_first(*args: Any, **kwargs: Any) -> list[Batch]:
        nonlocal tries
        tries += 1
        if tries <= 10:
            raise StoreUnavailable("away")
        return save(*args, **kwargs)

    monkeypatch.setattr(storage, "save", fail_at_first)
    recording = begin(recorder, make_session(database))
    recording.output(b"typed while PostgreSQL was away")
    assert recorder.flush(30)
    assert not recorder.failing
    assert recording.waiting_bytes == 0
    (chunk,) = stored(database, recording.session_id)
    assert chunk.output() == b"typed while PostgreSQL was away"


def test_input_is_left_out_while_its_recording_is_off_and_notes_say_so(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    is_on = True
    recording = Recording(recorder, session_id, 1, on_room=nothing, on_fenced=nothing, records_input=lambda: is_on)

    def type_line(text: bytes) -> None:
        for byte in text:
            recording.input(bytes([byte]))
            recording.output(bytes([byte]))
        recording.input(b"\r")
        recording.output(b"\r\nR1#")

    recording.output(b"R1#")
    type_line(b"show one")
    is_on = False
    type_line(b"show two")
    type_line(b"show three")
    is_on = True
    type_line(b"show four")
    assert recorder.flush(30)
    until(lambda: b"show four" in b"".join(e.payload for e in events(database, session_id, EventKind.INPUT)))
    assert recorder.flush(30)
    typed = b"".join(each.payload for each in events(database, session_id, EventKind.INPUT))
    assert b"show one" in typed
    assert b"show two" not in typed
    assert b"show three" not in typed
    notes = [each.payload.decode() for each in events(database, session_id, EventKind.NOTE)]
    assert notes == [recording_module.INPUT_OFF, recording_module.INPUT_ON]


def events(database: Database, session_id: UUID, kind: EventKind) -> list[Event]:
    return [each for chunk in stored(database, session_id) for each in chunk.unpacked() if each.kind is kind]
