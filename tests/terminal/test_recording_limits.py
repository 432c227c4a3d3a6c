"""Recordings that reach a limit: they say so, verify, and stay so with the next owner."""

import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstacks.recording import storage
from netstacks.recording.chunks import EVENT_HEAD_BYTES, Chunk, EventKind, verify
from netstacks.recording.closing import Closing
from netstacks.recording.limits import Allowance, DayTotal, shown_size
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import Backlog, Recording
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.terminal.attachment import Kind
from tests.rows import make_session
from tests.terminal.test_recorder import nothing, stored
from tests.terminal.test_session import CAPACITY, Room, settle
from tests.waits import until

PIECE = b"x" * 1000
TODAY, TOMORROW = date(2026, 1, 1), date(2026, 1, 2)


@pytest.fixture
def recorder(database: Database) -> Recorder:
    recorder = Recorder(database)
    recorder.start()
    return recorder


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.close()


def begin(
    recorder: Backlog, session_id: UUID, allowance: Allowance, *, epoch: int = 1, after: Chunk | None = None
) -> tuple[Recording, list[str]]:
    """A recording, and the reasons that it was stopped for."""
    reasons: list[str] = []
    offset, sha256 = (after.end_offset, after.sha256) if after else (0, b"")
    recording = Recording(
        recorder,
        session_id,
        epoch,
        offset=offset,
        previous_sha256=sha256,
        on_room=nothing,
        on_fenced=nothing,
        on_limit=reasons.append,
        allowance=allowance,
    )
    return recording, reasons


def said(chunks: list[Chunk], kind: EventKind) -> list[bytes]:
    return [event.payload for chunk in chunks for event in chunk.unpacked() if event.kind is kind]


def test_at_the_limit_the_recording_stops_says_so_once_and_verifies(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording, reasons = begin(recorder, session_id, Allowance(session_bytes=3 * len(PIECE)))
    for _ in range(10):
        recording.output(PIECE)
        recording.input(b"\x03")
        recording.resize(80, 25)
    recording.close(Closing(True, "exit", uuid.uuid4(), "ana", "r1"))
    assert recorder.flush(30)
    chunks = stored(database, session_id)
    assert said(chunks, EventKind.OUTPUT) == [PIECE] * 3
    reason = "the limit of 2.93 KiB for the recording of one session is reached"
    assert said(chunks, EventKind.NOTE) == [f"recording stops here: {reason}".encode()]
    assert reasons == [reason]
    assert verify(chunks) is None
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    assert (row.state, row.recording_bytes) == ("ended", 3 * len(PIECE))


def test_typed_input_counts_too(database: Database, recorder: Recorder) -> None:
    recording, reasons = begin(recorder, make_session(database), Allowance(session_bytes=100))
    for _ in range(100 // (EVENT_HEAD_BYTES + 1)):
        recording.input(b"\r")
    assert not reasons
    for _ in range(2):
        recording.input(b"\r")
    assert len(reasons) == 1


def test_windows_that_change_without_end_are_not_recorded_beyond_the_limit(
    database: Database, recorder: Recorder
) -> None:
    session_id = make_session(database)
    recording, _ = begin(recorder, session_id, Allowance(session_bytes=1000))
    for number in range(1000):
        recording.resize(80 + number % 2, 24)
    assert recorder.flush(30)
    assert sum(len(chunk.events) for chunk in stored(database, session_id)) < 1100


def test_a_password_that_waits_for_its_echo_is_masked_when_the_recording_stops(
    database: Database, recorder: Recorder
) -> None:
    session_id = make_session(database)
    allowance = Allowance(session_bytes=1000)
    recording, reasons = begin(recorder, session_id, allowance)
    recording.output(b"Password: ")
    recording.input(b"hunter2")
    allowance.spend(1000)
    recording.output(b"hunter2")
    assert len(reasons) == 1
    assert recorder.flush(30)
    assert b"hunter2" not in b"".join(chunk.events for chunk in stored(database, session_id))


def test_the_next_owner_goes_on_without_recording(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording, _ = begin(recorder, session_id, Allowance(session_bytes=2000))
    for _ in range(4):
        recording.output(PIECE)
    # The client has had all four.
    recording.acked_offset = 4 * len(PIECE)
    assert recorder.flush(30)
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
        assert row is not None
        claimed = sessions.claim(tx, row, owner="ctrl-2", owner_address=None)
    assert claimed is not None
    assert claimed.acked_offset == 2 * len(PIECE)
    last = stored(database, session_id)[-1]
    allowance = Allowance(session_bytes=2000, recorded_bytes=claimed.recorded_bytes)
    second, reasons = begin(recorder, session_id, allowance, epoch=2, after=last)
    second.note("claimed by ctrl-2")
    second.output(PIECE)
    assert recorder.flush(30)
    chunks = stored(database, session_id)
    assert len(reasons) == 1
    assert said(chunks, EventKind.OUTPUT) == [PIECE] * 2
    assert len(said(chunks, EventKind.NOTE)) == 3
    assert verify(chunks) is None


def test_the_output_log_keeps_nothing_for_a_recording_that_has_stopped(database: Database, recorder: Recorder) -> None:
    recording, _ = begin(recorder, make_session(database), Allowance(session_bytes=1500))
    for _ in range(4):
        recording.output(PIECE)
    assert recorder.flush(30)
    assert recording.waiting_bytes == 0
    assert recording.stored_offset == sys.maxsize


class Idle:
    """A recorder that stores nothing by itself."""

    waiting_bytes = 0
    failing = False

    def schedule(self, recording: Recording, *, at_once: bool = False) -> None:
        pass


@settings(deadline=None)
@given(
    epochs=st.lists(st.lists(st.binary(min_size=1, max_size=60), max_size=8), min_size=1, max_size=4),
    limit=st.integers(0, 400),
    taken_every=st.integers(1, 4),
)
def test_a_recording_is_a_prefix_of_any_output_or_says_that_it_stops(
    epochs: list[list[bytes]], limit: int, taken_every: int
) -> None:
    session_id = uuid.UUID(int=1)
    chunks: list[Chunk] = []
    recorded_bytes = 0
    for epoch, outputs in enumerate(epochs, 1):
        allowance = Allowance(session_bytes=limit, recorded_bytes=recorded_bytes)
        recording, reasons = begin(Idle(), session_id, allowance, epoch=epoch, after=chunks[-1] if chunks else None)
        mine: list[Chunk] = []
        for number, data in enumerate(outputs):
            recording.output(data)
            if number % taken_every == 0 and (unstored := recording.take()):
                mine += unstored.batch.chunks
        recording.note("handed over")
        unstored = recording.take()
        assert unstored is not None
        mine += unstored.batch.chunks
        recorded_bytes = unstored.batch.recorded_bytes
        chunks += mine
        kept, notes = said(mine, EventKind.OUTPUT), said(mine, EventKind.NOTE)
        assert kept == outputs[: len(kept)]
        assert (len(kept) < len(outputs)) == bool(reasons) == notes[0].startswith(b"recording stops here")
    assert verify(chunks) is None


def test_sessions_of_one_user_share_the_day_and_others_do_not(database: Database, recorder: Recorder) -> None:
    today = DayTotal()
    first, first_reasons = begin(recorder, make_session(database), Allowance(day_bytes=1500, today=today))
    second, second_reasons = begin(recorder, make_session(database), Allowance(day_bytes=1500, today=today))
    other, other_reasons = begin(recorder, make_session(database), Allowance(day_bytes=1500, today=DayTotal()))
    for recording in (first, second, other, first, second):
        recording.output(PIECE)
    assert first_reasons == second_reasons == ["the limit of 1.465 KiB recorded for one user in a day (UTC) is reached"]
    assert other_reasons == []


def test_a_day_knows_what_others_have_stored_and_what_is_not_stored_yet() -> None:
    total = DayTotal()
    Allowance(today=total).spend(100)
    total.update(TODAY, 40)
    assert total.recorded_bytes == 100
    total.update(TODAY, 5000)
    assert total.recorded_bytes == 5000
    total.update(TOMORROW, 3)
    assert total.recorded_bytes == 3


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 bytes"), (1024, "1 KiB"), (10 * 2**30, "10 GiB"), (1_500_000, "1.431 MiB")]
)
def test_sizes_are_shown_in_the_largest_unit(size: int, shown: str) -> None:
    assert shown_size(size) == shown


def test_a_user_is_told_once_that_nothing_is_recorded_any_more(room: Room) -> None:
    client, attachment = room.attach()
    room.session.recording_stopped("a limit is reached", ends=False)
    settle()
    told = b"a limit is reached: from here on this session is not recorded"
    assert client.payload().count(told) == 1
    room.session.detach(attachment)
    again, _ = room.attach(cursor=room.session.output.end)
    settle()
    assert told not in again.payload()
    assert room.session.is_live


def test_a_detached_user_is_told_on_return(room: Room) -> None:
    viewer, _ = room.attach(Kind.VIEWER)
    room.session.recording_stopped("a limit is reached", ends=False)
    client, _ = room.attach()
    settle()
    assert b"is not recorded" in client.payload()
    assert b"is not recorded" in viewer.payload()


def test_a_session_that_is_to_be_recorded_ends_with_its_recording(room: Room) -> None:
    client, _ = room.attach()
    room.session.recording_stopped("a limit is reached", ends=True)
    until(lambda: client.closed)
    assert room.gone == ["a limit is reached"]
    assert room.recording.notes == ["ended: a limit is reached"]


def test_a_viewer_that_has_missed_output_is_not_sent_to_a_recording_without_it(room: Room) -> None:
    viewer, _ = room.attach(Kind.VIEWER)
    room.recording.is_stopped = True
    viewer.stops_reading()
    for number in (1, 5, 9):
        room.device.says(b"x" * (number * CAPACITY - room.session.output.end))
        until(lambda number=number: room.session.output.end == number * CAPACITY)
    viewer.reads_on()
    until(lambda: b"left out here" in viewer.payload())
    assert b"they cannot be read now" in viewer.payload()


def test_the_end_of_an_unrecorded_session_is_in_its_recording(database: Database, recorder: Recorder) -> None:
    session_id = make_session(database)
    recording, _ = begin(recorder, session_id, Allowance(session_bytes=1))
    for _ in range(2):
        recording.output(PIECE)
    recording.note("ended: exit")
    assert recorder.flush(30)
    chunks = list(storage.chunks(database, session_id))
    assert said(chunks, EventKind.NOTE)[-1] == b"ended: exit"
    assert verify(chunks) is None


def test_the_total_of_yesterday_limits_nothing_today() -> None:
    today = datetime.now(UTC).date()
    total = DayTotal(today, 100)
    allowance = Allowance(day_bytes=100, today=total)
    assert allowance.problem is not None
    total.day = today - timedelta(days=1)
    assert allowance.problem is None
