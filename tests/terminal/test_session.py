"""Sessions, attachments and their cursors, with a scripted device and scripted clients."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from netstacks import greenlets
from netstacks.terminal import attachment as attachment_module
from netstacks.terminal import forced_redraw, frames, input_writer
from netstacks.terminal.attachment import KEEPALIVE_SECS, Attachment, Kind
from netstacks.terminal.charset import Charset
from netstacks.terminal.forced_redraw import force_redraw
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.output_log import OutputLog
from netstacks.terminal.session import Session
from netstacks.terminal.session_facts import SessionFacts, State
from netstacks.terminal.session_hooks import Hooks
from tests.waits import until

CAPACITY = 1000


class Device:
    """A transport whose output the test decides; a read takes what is there, an empty write ends it."""

    def __init__(self) -> None:
        self.typed = b""
        self.size = (0, 0)
        self.reads = 0
        self.close_reason = "the device closed the connection"
        self.is_watched = False
        self._output = b""
        self._closed = False
        self._silent = False
        self._changed = greenlets.Event()
        self._takes = greenlets.Event()
        self._takes.set()

    def takes_nothing(self) -> None:
        self._takes.clear()

    def takes_on(self) -> None:
        self._takes.set()

    def says(self, data: bytes) -> None:
        self._output += data
        self._changed.set()

    def hangs_up(self) -> None:
        self._closed = True
        self._changed.set()

    def falls_silent(self) -> None:
        """The next read gives up waiting."""
        self._silent = True
        self._changed.set()

    def read(self, max_bytes: int) -> bytes | None:
        while not self._output and not self._closed:
            self._changed.clear()
            if self._silent:
                self._silent = False
                return None
            self._changed.wait()
        self.reads += 1
        data, self._output = self._output[:max_bytes], self._output[max_bytes:]
        return data

    def call_when_readable(self, callback: Callable[[], Any]) -> None:
        def call(_: greenlets.Event) -> None:
            self._changed.unlink(call)
            callback()

        self._changed.rawlink(call)
        self.is_watched = True

    def try_write(self, data: bytes) -> int:
        if not self._takes.is_set():
            return 0
        self.typed += data
        return len(data)

    def write(self, data: bytes, goes_on: Callable[[], bool] = lambda: True) -> int:
        self._takes.wait()
        if not goes_on():
            return 0
        self.typed += data
        return len(data)

    def resize(self, cols: int, rows: int) -> None:
        self.size = (cols, rows)

    def close(self) -> None:
        self.hangs_up()


class Client:
    """A sink that keeps what it is sent, and can stop reading."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.pings: list[int] = []
        self.closed: tuple[int, str] | None = None
        self.delivered = 0
        self.undelivered = 0
        self._reads = greenlets.Event()
        self._reads.set()

    def stops_reading(self) -> None:
        self._reads.clear()

    def reads_on(self) -> None:
        self._reads.set()

    def send(self, *messages: bytes) -> None:
        self._reads.wait()
        self.frames.extend(messages)

    def ping(self, payload: bytes) -> None:
        self.pings.append(int.from_bytes(payload, "big"))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = (code, reason)

    def abort(self) -> None:
        self.closed = (1006, "")

    def can_take_now(self, _size: int) -> bool:
        return self._reads.is_set()

    def delivered_bytes(self) -> int:
        return self.delivered

    def undelivered_bytes(self) -> int:
        return self.undelivered

    def payload(self, kind: int = frames.FrameType.DATA) -> bytes:
        return b"".join(frame[1:] for frame in self.frames if frame[0] == kind)


@dataclass
class Recording:
    """A recording with or without room, as the test sets it."""

    has_room: bool = True
    held_by_store: bool = False
    fenced: bool = False
    is_stopped: bool = False
    stored_offset: int = 0
    acked_offset: int = 0
    waiting_bytes: int = 0
    owned_at: float = 0.0
    rechecks: int = 0
    notes: list[str] = field(default_factory=list)
    typed: bytes = b""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    sent: bytes = b""
    on_limit: Callable[[], None] = lambda: None

    def may_record(self) -> bool:
        self.on_limit()
        return True

    def output(self, data: bytes) -> None:
        self.sent += data
        self.stored_offset += len(data)

    def input(self, data: bytes) -> None:
        self.typed += data

    def acknowledged(self, offset: int) -> None:
        self.acked_offset = max(self.acked_offset, offset)

    def resize(self, cols: int, rows: int) -> None:
        self.sizes.append((cols, rows))

    def recheck(self) -> None:
        self.rechecks += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


class Room:
    """One session with everything around it."""

    def __init__(self) -> None:
        self.device = Device()
        self.recording = Recording()
        self.gone: list[str] = []
        self.stood_still_at = -1.0
        facts = SessionFacts(
            id=uuid.uuid4(),
            epoch=1,
            owner="ctrl-1",
            user_id=uuid.uuid4(),
            username="ana",
            device_id=None,
            device_name="r1",
            host="192.0.2.1",
            port=22,
            credential_id=None,
            token=uuid.uuid4(),
        )
        hooks = Hooks(lambda *_: None, lambda *_: None, lambda _, reason: self.gone.append(reason))
        self.session = Session(
            facts,
            self.device,
            self.recording,  # type: ignore[arg-type]
            OutputLog(CAPACITY),
            size=(80, 24),
            charset=Charset(),
            read_stored=lambda _, offset, limit: self.recording.sent[offset : offset + limit],
            hooks=hooks,
            stood_still_at=lambda: self.stood_still_at,
        )
        self.session.start()

    def attach(self, kind: Kind = Kind.CONTROL, cursor: int = 0, *, speaks: bool = False) -> tuple[Client, Attachment]:
        client = Client()
        attachment = Attachment(client, kind, user_id=None, username="ana", speaks_offsets=speaks)
        self.session.attach(attachment, cursor)
        return client, attachment

    def close(self) -> None:
        self.session.end("test over")


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.close()


def settle() -> None:
    """Lets every greenlet that can run do so."""
    for _ in range(20):
        greenlets.sleep(0)


def test_output_reaches_the_client_and_keys_reach_the_device(room: Room) -> None:
    client, attachment = room.attach()
    room.device.says(b"R1#")
    until(lambda: client.payload() == b"R1#")
    room.session.input(attachment, b"show ver\r")
    until(lambda: room.device.typed)
    assert room.device.typed == room.recording.typed == b"show ver\r"


def test_a_command_is_not_typed_into_a_session_that_ends_because_it_cannot_be_recorded(room: Room) -> None:
    _, attachment = room.attach()
    room.recording.on_limit = lambda: room.session.recording_stopped("the limit is reached", ends=True)
    room.session.input(attachment, b"write erase\r")
    assert room.session.end_reason == "the limit is reached"
    greenlets.sleep(0.05)
    assert room.device.typed == room.recording.typed == b""


def test_a_silent_device_keeps_no_reader_and_is_heard_again(room: Room) -> None:
    client, _ = room.attach()
    for _ in range(2):
        room.device.is_watched = False
        room.device.falls_silent()
        until(lambda: room.device.is_watched)
        room.device.says(b"again")
    until(lambda: client.payload() == b"againagain")
    assert not room.gone


def test_a_paste_that_the_device_takes_slowly_holds_up_no_reader(room: Room) -> None:
    _, attachment = room.attach()
    room.device.takes_nothing()
    for _ in range(10):
        room.session.input(attachment, b"x" * 50_000)
    assert room.device.typed == b""
    room.device.takes_on()
    until(lambda: room.device.typed == b"x" * 500_000)


def test_a_client_that_leaves_a_full_session_waits_no_longer(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_writer, "TYPED_BYTES", 1)
    _, attachment = room.attach()
    room.device.takes_nothing()
    for key in (b"a", b"b"):
        room.session.input(attachment, key)
        greenlets.sleep(0.01)
    waiting = greenlets.spawn("waiting", room.session.input, attachment, b"c")
    greenlets.sleep(0.01)
    assert not waiting.ready()
    room.session.detach(attachment)
    waiting.join(30)
    assert waiting.ready()
    room.device.takes_on()
    until(lambda: room.device.typed == b"ab")


def test_after_standing_still_keys_wait_until_the_session_is_known_to_be_still_here(room: Room) -> None:
    _, attachment = room.attach()
    room.stood_still_at = 100.0
    for key in (b"r", b"m"):
        room.session.input(attachment, key)
    settle()
    assert (room.device.typed, room.recording.rechecks) == (b"", 1)
    room.recording.owned_at = 99.0
    room.session.ownership_confirmed()
    settle()
    assert room.device.typed == b""
    room.recording.owned_at = 101.0
    room.session.ownership_confirmed()
    until(lambda: room.device.typed == b"rm")
    room.session.input(attachment, b"\r")
    until(lambda: room.device.typed == b"rm\r")


def test_waiting_keys_of_a_session_that_was_claimed_are_never_typed(room: Room) -> None:
    _, attachment = room.attach()
    room.stood_still_at = 100.0
    room.session.input(attachment, b"reload\r")
    room.session.fence()
    room.recording.owned_at = 101.0
    room.session.ownership_confirmed()
    settle()
    assert room.device.typed == b""


def test_a_paste_under_way_stops_where_the_instance_stood_still(room: Room) -> None:
    _, attachment = room.attach()
    room.device.takes_nothing()
    room.session.input(attachment, b"x" * 50_000)
    settle()
    room.stood_still_at = 100.0
    room.device.takes_on()
    settle()
    assert room.device.typed == b""
    room.recording.owned_at = 101.0
    room.session.ownership_confirmed()
    until(lambda: room.device.typed == b"x" * 50_000)


def test_a_detached_client_types_nothing(room: Room) -> None:
    """Input that the client sent before may still arrive on its connection."""
    _, attachment = room.attach()
    room.session.detach(attachment)
    room.session.input(attachment, b"write erase\r")
    settle()
    assert room.device.typed == room.recording.typed == b""


def test_a_superseded_terminal_types_nothing(room: Room) -> None:
    _, former = room.attach()
    _, current = room.attach()
    room.session.input(former, b"write erase\r")
    room.session.input(current, b"show ver\r")
    until(lambda: room.device.typed)
    settle()
    assert room.device.typed == room.recording.typed == b"show ver\r"


def test_a_superseded_terminal_neither_resizes_the_device_nor_acknowledges(room: Room) -> None:
    _, former = room.attach()
    room.attach()
    room.session.acknowledged(former, 5)
    room.session.resize(former, 10, 10)
    assert (room.recording.acked_offset, room.session.cols, room.device.size) == (0, 80, (0, 0))


def test_an_acknowledged_offset_never_moves_back(room: Room) -> None:
    _, control = room.attach()
    room.session.acknowledged(control, 5)
    room.session.acknowledged(control, 3)
    assert room.recording.acked_offset == 5


def test_any_error_on_the_data_path_ends_the_session(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_data: bytes) -> None:
        raise ZeroDivisionError

    client, _ = room.attach()
    monkeypatch.setattr(room.recording, "output", fail)
    room.device.says(b"R1#")
    until(lambda: client.closed)
    assert room.session.state is State.ENDED
    assert "unexpected error" in room.session.end_reason


def test_a_client_resumes_at_the_exact_byte(room: Room) -> None:
    first, attachment = room.attach()
    room.device.says(b"0123456789")
    until(lambda: first.payload() == b"0123456789")
    room.session.detach(attachment)
    assert room.session.state is State.DETACHED
    room.device.says(b"abc")
    second, _ = room.attach(cursor=7)
    until(lambda: second.payload() == b"789abc")
    assert room.session.state is State.ACTIVE


def test_a_client_that_was_away_for_more_than_the_log_gets_the_rest_from_the_recording(room: Room) -> None:
    sent = b"".join(b"%06d\n" % number for number in range(1000))
    for begin, end in ((0, 6993), (6993, 7000)):
        room.device.says(sent[begin:end])
        until(lambda end=end: room.session.output.end == end)
    assert room.session.output.start > 5
    client, _ = room.attach(cursor=5)
    until(lambda: client.payload() == sent[5:])


def test_a_controlling_terminal_that_does_not_read_holds_the_device_back(room: Room) -> None:
    client, _ = room.attach()
    client.stops_reading()
    sent = b"x" * 500_000
    room.device.says(sent)
    settle()
    assert room.session.output.end < len(sent)
    client.reads_on()
    until(lambda: client.payload() == sent)


def test_a_device_runs_on_while_no_client_is_attached(room: Room) -> None:
    room.device.says(b"x" * 500_000)
    until(lambda: room.session.output.end == 500_000)


def test_a_slow_viewer_is_moved_forward_with_a_notice_and_delays_no_other(room: Room) -> None:
    control, _ = room.attach()
    viewer, _ = room.attach(Kind.VIEWER, speaks=True)
    room.device.says(b"first\n")
    until(lambda: viewer.payload() == b"first\n")
    viewer.stops_reading()
    sent = b"".join(b"%06d\n" % number for number in range(10_000))
    for piece in (sent[:-7], sent[-7:]):
        room.device.says(piece)
        until(lambda piece=piece: control.payload().endswith(piece))
    viewer.reads_on()
    until(lambda: viewer.payload().endswith(sent[-CAPACITY:]))
    assert len(viewer.payload()) < len(sent)
    assert b"bytes left out here" in viewer.payload(frames.FrameType.NOTICE)


def test_a_full_recorder_holds_the_device_and_says_so_when_the_store_is_away(room: Room) -> None:
    client, _ = room.attach(speaks=True)
    room.device.says(b"a")
    until(lambda: client.payload() == b"a")
    room.recording.has_room = False
    room.recording.held_by_store = True
    # The read under way is the last one.
    room.device.says(b"b")
    until(lambda: client.payload() == b"ab")
    room.device.says(b"c")
    until(lambda: b"held back" in client.payload(frames.FrameType.NOTICE))
    assert client.payload() == b"ab"
    room.recording.has_room = True
    room.session.room_changed()
    until(lambda: client.payload() == b"abc")
    assert b"goes on" in client.payload(frames.FrameType.NOTICE)


def test_a_second_terminal_closes_the_first_at_once(room: Room) -> None:
    first, _ = room.attach()
    first.stops_reading()
    second, _ = room.attach()
    until(lambda: first.closed)
    assert first.closed is not None
    assert first.closed[0] == CloseCode.SUPERSEDED
    room.device.says(b"hello")
    until(lambda: second.payload() == b"hello")


def test_the_end_of_the_device_comes_after_its_last_bytes_with_the_reason(room: Room) -> None:
    client, _ = room.attach()
    room.device.says(b"bye")
    room.device.hangs_up()
    until(lambda: client.closed)
    assert client.closed == (CloseCode.ENDED, "the device closed the connection")
    assert [frame[0] for frame in client.frames] == [1, 6, 5]
    assert client.payload() == b"bye"
    assert room.gone == ["the device closed the connection"]
    assert room.recording.notes == ["ended: the device closed the connection"]


def test_a_client_may_be_kept_when_its_session_has_ended(room: Room) -> None:
    client, attachment = room.attach()
    told: list[tuple[CloseCode, str, bytes]] = []

    def keep(code: CloseCode, reason: str) -> bool:
        told.append((code, reason, client.payload()))
        return True

    attachment.on_finish = keep
    room.device.says(b"logout")
    room.device.hangs_up()
    until(lambda: told)
    settle()
    assert told == [(CloseCode.ENDED, "the device closed the connection", b"logout")]
    assert client.closed is None
    assert frames.CLOSE not in client.frames


def test_a_fenced_session_closes_its_copy_and_records_nothing(room: Room) -> None:
    client, _ = room.attach()
    room.session.fence()
    until(lambda: client.closed)
    assert client.closed is not None
    assert client.closed[0] == CloseCode.FENCED
    assert room.recording.notes == []
    assert room.session.state is State.FENCED


def test_a_pong_acknowledges_what_was_sent_before_its_ping(room: Room) -> None:
    client, attachment = room.attach()
    room.device.says(b"12345")
    until(lambda: client.pings)
    assert client.pings == [5]
    attachment.on_pong((5).to_bytes(8, "big"))
    assert room.recording.acked_offset == 5
    attachment.on_pong((99).to_bytes(8, "big"))
    attachment.on_pong(b"x")
    assert room.recording.acked_offset == 5


def test_a_split_character_waits_for_its_end(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    # The end comes soon, however long this machine pauses.
    monkeypatch.setattr(attachment_module, "SPLIT_CHARACTER_SECS", 60.0)
    client, _ = room.attach()
    room.device.says("grün".encode()[:3])
    until(lambda: client.frames)
    assert client.payload() == b"gr"
    room.device.says("grün".encode()[3:])
    until(lambda: client.payload() == "grün".encode())
    assert all(frame[1:].decode() for frame in client.frames)


def test_a_lone_byte_that_is_no_character_is_sent_after_a_while(room: Room) -> None:
    client, _ = room.attach()
    room.device.says(b"\xe9")
    until(lambda: client.payload() == b"\xe9")


def test_a_viewer_resizes_nothing(room: Room) -> None:
    _, control = room.attach()
    _, viewer = room.attach(Kind.VIEWER)
    room.session.resize(viewer, 10, 10)
    assert room.device.size == (0, 0)
    room.session.resize(control, 132, 43)
    assert room.device.size == (132, 43)
    assert room.recording.sizes == [(132, 43)]


@pytest.fixture
def sizes(room: Room, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The windows that the device is told of, soon after each other."""
    monkeypatch.setattr(forced_redraw, "_REDRAW_AFTER_SECS", 0.05)
    monkeypatch.setattr(forced_redraw, "_REDRAW_PAUSE_SECS", 0.01)
    monkeypatch.setattr(forced_redraw, "_REDRAW_MAX_SECS", 0.05)
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(room.device, "resize", lambda cols, rows: sizes.append((cols, rows)))
    return sizes


def test_a_terminal_that_came_back_gets_its_screen_drawn_by_a_window_that_changes(
    room: Room, sizes: list[tuple[int, int]]
) -> None:
    _, attachment = room.attach()
    force_redraw(room.session, attachment)
    until(lambda: len(sizes) == 2)
    assert sizes == [(80, 23), (80, 24)]


def test_a_window_that_changed_is_as_before_once_the_program_has_drawn_for_it(
    room: Room, sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two signals before a slow program looks at its window would be none: the size is the same again."""
    monkeypatch.setattr(forced_redraw, "_REDRAW_MAX_SECS", 60)
    _, attachment = room.attach()
    force_redraw(room.session, attachment)
    until(lambda: sizes)
    # Several times the pause between two looks at the output.
    greenlets.sleep(0.1)
    assert sizes == [(80, 23)]
    room.device.says(b"a screen")
    until(lambda: len(sizes) == 2)
    assert sizes == [(80, 23), (80, 24)]


def test_a_window_stays_as_it_is_for_a_user_that_types_or_has_another_terminal(
    room: Room, sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, former = room.attach()
    force_redraw(room.session, former)
    _, attachment = room.attach()
    # The user goes on typing, however long this machine pauses.
    monkeypatch.setattr(room.session._input, "typed_at", time.monotonic() + 60)
    force_redraw(room.session, attachment)
    # Several times the wait before a redraw.
    greenlets.sleep(0.2)
    assert sizes == []


def test_a_silent_client_is_dead_unless_it_still_takes_bytes(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    client, attachment = room.attach()
    assert not attachment.is_dead()
    now = time.monotonic()
    monkeypatch.setattr("netstacks.terminal.attachment.time", SimpleNamespace(time=time.time, monotonic=lambda: now))
    client.undelivered = 10
    for client.delivered in (10, 20):
        now += 3 * KEEPALIVE_SECS
        assert not attachment.is_dead()
    now += KEEPALIVE_SECS
    client.delivered, client.undelivered = 30, 0
    assert not attachment.is_dead()
    now += KEEPALIVE_SECS + 1
    assert attachment.is_dead()
    attachment.heard()
    assert not attachment.is_dead()


def test_a_pong_is_a_sign_of_life(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    _, attachment = room.attach()
    now = time.monotonic()
    monkeypatch.setattr("netstacks.terminal.attachment.time", SimpleNamespace(time=time.time, monotonic=lambda: now))
    # Even a pong that acknowledges nothing new, or carries no offset.
    for payload in (attachment.cursor.to_bytes(8, "big"), b""):
        now += 2 * KEEPALIVE_SECS + 1
        assert attachment.is_dead()
        attachment.on_pong(payload)
        assert not attachment.is_dead()


def test_a_client_is_pinged_when_it_has_been_silent(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    client, attachment = room.attach()
    room.device.says(b"x")
    until(lambda: client.pings == [1])
    until(lambda: not attachment._is_sending)
    now = time.monotonic()
    monkeypatch.setattr("netstacks.terminal.attachment.time", SimpleNamespace(time=time.time, monotonic=lambda: now))
    attachment.keep_alive()
    now += KEEPALIVE_SECS - 1
    attachment.heard()
    now += KEEPALIVE_SECS - 1
    attachment.keep_alive()
    assert client.pings == [1]
    now += 2
    attachment.keep_alive()
    attachment.keep_alive()
    assert client.pings == [1, 1]


def test_a_client_that_does_not_read_is_pinged_without_waiting_for_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, attachment = room.attach()
    until(lambda: not attachment._is_sending)
    later = time.monotonic() + KEEPALIVE_SECS
    client.stops_reading()
    with monkeypatch.context() as patch:
        patch.setattr("netstacks.terminal.attachment.time", SimpleNamespace(time=time.time, monotonic=lambda: later))
        attachment.keep_alive()
        assert client.pings == []
        until(lambda: client.pings == [0])


def test_a_small_output_keeps_its_place_behind_what_is_still_to_be_sent(room: Room) -> None:
    client, attachment = room.attach()
    client.stops_reading()
    room.device.says(b"first ")
    until(lambda: room.session.output.end == 6)
    attachment.show_notice("a notice")
    client.reads_on()
    room.device.says(b"second")
    until(lambda: client.payload().endswith(b"second"))
    assert re.fullmatch(rb"first (second)?\r\n.*a notice.*\r\n(second)?", client.payload(), re.DOTALL)
    assert client.payload().count(b"second") == 1


def test_every_byte_comes_once_and_in_order_from_either_sender(room: Room) -> None:
    client, _ = room.attach()
    sent = b""
    for number in range(300):
        piece = b"%d " % number * (400 if number % 7 == 0 else 1)
        room.device.says(piece)
        sent += piece
        if number % 11 == 0:
            client.stops_reading()
        if number % 11 == 5:
            client.reads_on()
        greenlets.sleep(0)
    client.reads_on()
    until(lambda: len(client.payload()) >= len(sent))
    assert client.payload() == sent


def test_an_inserted_text_is_shown_at_its_exact_offset(room: Room) -> None:
    room.device.says(b"old shell>")
    until(lambda: room.session.output.end == 10)
    client = Client()
    attachment = Attachment(client, Kind.CONTROL, user_id=None, username="ana")
    attachment.show_at(10, b"[new]")
    room.session.attach(attachment, 4)
    room.device.says(b"new shell>")
    until(lambda: client.payload().endswith(b"new shell>"))
    assert client.payload() == b"shell>[new]new shell>"


def test_an_unfinished_character_of_the_former_shell_delays_no_output(room: Room) -> None:
    room.device.says("日".encode()[:2])
    until(lambda: room.session.output.end == 2)
    client = Client()
    attachment = Attachment(client, Kind.CONTROL, user_id=None, username="ana")
    attachment.show_at(2, b"[new]")
    room.session.attach(attachment, 0)
    room.device.says(b"new shell>")
    until(lambda: client.payload().endswith(b"new shell>"))
    assert client.payload() == "日".encode()[:2] + b"[new]new shell>"
