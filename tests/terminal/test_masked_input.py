"""The masking of passwords in recordings: in PostgreSQL and in the exported file."""

import json
import uuid
from collections.abc import Iterator
from uuid import UUID

import pytest

from netstacks.recording import asciicast, storage
from netstacks.recording.chunks import Chunk, EventKind
from netstacks.recording.closing import Closing
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import MASKED_FROM_HERE, Recording
from netstacks.store.pool import Database
from tests.rows import make_session


class Recorded:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.recorder = Recorder(database)
        self.recorder.start()
        self.session_id: UUID = make_session(database)
        self.recording = Recording(self.recorder, self.session_id, 1, on_room=lambda: None, on_fenced=lambda: None)

    def play(self, *steps: tuple[str, bytes]) -> None:
        """Records what was typed (`t`) and sent (`s`)."""
        for kind, data in steps:
            (self.recording.input if kind == "t" else self.recording.output)(data)

    def chunks(self) -> list[Chunk]:
        assert self.recorder.flush(30)
        return list(storage.chunks(self.database, self.session_id))

    def events(self) -> list[tuple[EventKind, bytes]]:
        """The recorded events beside the output."""
        events = (event for chunk in self.chunks() for event in chunk.unpacked())
        return [(event.kind, event.payload) for event in events if event.kind is not EventKind.OUTPUT]


@pytest.fixture
def recorded(database: Database) -> Iterator[Recorded]:
    recorded = Recorded(database)
    yield recorded
    recorded.recorder.stop()


NOTE = (EventKind.NOTE, MASKED_FROM_HERE.encode())


def test_a_password_is_masked_and_the_recording_says_so(recorded: Recorded) -> None:
    recorded.play(("s", b"R1>"), ("t", b"enable"), ("s", b"enable"), ("t", b"\r"), ("s", b"\r\nPassword: "))
    recorded.play(("t", b"hunter2\r"), ("s", b"\r\nR1#"))
    recorded.play(("t", b"show ver"), ("s", b"show ver"), ("t", b"\r"), ("s", b"\r\nCisco IOS"))
    assert recorded.events() == [
        (EventKind.INPUT, b"enable\r"),
        NOTE,
        (EventKind.INPUT, b"*******\r"),
        (EventKind.INPUT, b"show ver\r"),
    ]
    assert b"hunter2" not in b"".join(chunk.plain().events for chunk in recorded.chunks())


def test_a_password_that_the_device_prints_next_is_masked(recorded: Recorded) -> None:
    recorded.play(("s", b"Your key> "), ("t", b"Cisco"), ("t", b"\r"), ("s", b"Cisco\r\nR1#"))
    assert recorded.events() == [NOTE, (EventKind.INPUT, b"*****\r")]


def test_half_a_line_is_masked_when_the_session_ends(recorded: Recorded) -> None:
    recorded.play(("s", b"R1#"), ("t", b"show"), ("s", b"show"))
    assert recorded.events() == []
    recorded.recording.close(Closing(True, "exit", uuid.uuid4(), "ana", "r1"))
    assert recorded.events() == [NOTE, (EventKind.INPUT, b"****")]


def test_a_player_is_shown_where_masking_begins(recorded: Recorded) -> None:
    recorded.play(("s", b"Password: "), ("t", b"hunter2\r"), ("s", b"\r\nR1#"))
    for with_input in (True, False):
        lines = asciicast.lines(recorded.chunks(), title="r1", cols=80, rows=24, started_at=0.0, with_input=with_input)
        events = [json.loads(line)[1:] for line in list(lines)[1:]]
        assert ["m", MASKED_FROM_HERE] in events
        assert (["i", "*******\r"] in events) is with_input
