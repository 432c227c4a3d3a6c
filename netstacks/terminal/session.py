"""A session: one terminal to one device, its output log, and everybody who reads from it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.model import SessionRecord
from netstacks.errors import DeviceError
from netstacks.recording.session_recording import Recording
from netstacks.terminal import frames
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.charset import Charset
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.input_writer import Typist
from netstacks.terminal.output_log import OutputLog
from netstacks.terminal.ownership import Ownership
from netstacks.terminal.transport import Transport

log = structlog.get_logger()

READ_BYTES = 64 * 1024
# Output of this size is seldom the last: a moment later more of it comes in one piece, which costs far less. Longer
# pauses would be taken for a slow network by the device's congestion control.
_BURST_BYTES = 1024
_BURST_PAUSE_SECS = 0.0005
# A program that is told of two sizes at once may see the second only. So the second one waits until the program has
# drawn something for the first, and no longer than this: a program may draw nothing.
_REDRAW_LONGEST_SECS = 5.0
_REDRAW_AFTER_SECS = 0.5
_REDRAW_PAUSE_SECS = 0.5


class State(Enum):
    ACTIVE = "active"
    DETACHED = "detached"
    ENDED = "ended"
    FENCED = "fenced"


TRANSITIONS = {
    State.ACTIVE: {State.DETACHED, State.ENDED, State.FENCED},
    State.DETACHED: {State.ACTIVE, State.ENDED, State.FENCED},
    State.ENDED: set[State](),
    State.FENCED: set[State](),
}


@dataclass(frozen=True)
class SessionFacts:
    """What does not change while this instance owns the session."""

    id: UUID
    epoch: int
    owner: str
    user_id: UUID
    username: str
    device_id: UUID | None
    device_name: str
    host: str
    port: int
    credential_id: UUID | None
    token: UUID = field(repr=False)
    term: str = "xterm-256color"
    started_at: float = field(default_factory=time.time)


@dataclass
class Hooks:
    """What the rest of the instance wants to know; called from the session's greenlets, must not wait."""

    on_attach: Callable[["Session", Attachment], None]
    on_detach: Callable[["Session", Attachment], None]
    on_close: Callable[["Session", str], None]


# Reads output that the log no longer holds: (session id, offset, limit) -> bytes, b"" when it cannot be had now.
ReadStored = Callable[[UUID, int, int], bytes]


class Session:
    """The owner's side of a session at one epoch."""

    def __init__(
        self,
        facts: SessionFacts,
        transport: Transport,
        recording: Recording,
        output: OutputLog,
        *,
        size: tuple[int, int],
        charset: Charset,
        read_stored: ReadStored,
        hooks: Hooks,
        stood_still_at: Callable[[], float] = lambda: -math.inf,
    ) -> None:
        self.facts = facts
        self.state = State.DETACHED
        self.detached_at = time.monotonic()
        self.opened_at = time.time()
        self.first_offset = output.end
        self.output = output
        self.recording = recording
        self.attachments: list[Attachment] = []
        self.expulsions = 0
        """How often views were ended: when it has not changed since a check, what the check found holds."""
        self.cols, self.rows = size
        self.end_reason = ""
        self.was_left = False
        """Whether the user has closed the terminal, rather than lost the connection to it."""
        self._transport = transport
        self._charset = charset
        self._typed_at = -math.inf
        self._read_stored = read_stored
        self._hooks = hooks
        self._room = greenlets.Event()
        self._told_held = False
        self._untold = ""
        self._ownership = Ownership(recording, stood_still_at, self._tell)
        self._typist = Typist(facts.id, transport, self._ownership.is_sure)

    @property
    def id(self) -> UUID:
        return self.facts.id

    @property
    def control(self) -> Attachment | None:
        return next((one for one in self.attachments if one.kind is Kind.CONTROL), None)

    @property
    def is_live(self) -> bool:
        return self.state in (State.ACTIVE, State.DETACHED)

    def record(self) -> SessionRecord:
        """What the registry is to know of the session."""
        facts = self.facts
        return SessionRecord(
            id=facts.id,
            owner=facts.owner,
            epoch=facts.epoch,
            device=facts.device_name,
            user=facts.username,
            started_at=facts.started_at,
            state="active" if self.state is State.ACTIVE else "detached",
            cols=self.cols,
            rows=self.rows,
        )

    # The device's side.

    def start(self, words: bytes = b"") -> None:
        """Reads the device from now on; `words` is what it has said before its shell was there, in UTF-8."""
        if words:
            self._take(words)
        greenlets.spawn(f"session-reader-{self.id}", self._read_device)

    def _read_device(self) -> None:
        try:
            while self.is_live:
                self._wait_for_room()
                data = self._transport.read(READ_BYTES)
                if data is None:
                    self._transport.call_when_readable(self.start)
                    return
                if not data:
                    break
                self._take(self._charset.to_user(data))
                if _BURST_BYTES <= len(data) < READ_BYTES:
                    greenlets.sleep(_BURST_PAUSE_SECS)
            self.end(self._transport.close_reason)
        except DeviceError as error:
            self.end(str(error))
        except Exception:
            # A session that nothing reads any more must not look alive.
            log.exception("session.failed", session_id=str(self.id))
            self.end("an unexpected error, logged by the controller")

    def _take(self, data: bytes) -> None:
        self.output.append(data, keep_from=self.recording.stored_offset)
        for attachment in self.attachments:
            attachment.deliver(data)
        self.recording.output(data)

    def _wait_for_room(self) -> None:
        """Holds the device back while a cursor that may not lose is too far behind."""
        while self.is_live and not self._has_room():
            self._room.clear()
            if self.recording.held_by_store and not self._told_held:
                self._told_held = True
                log.warning("session.held", session_id=str(self.id), waiting_bytes=self.recording.waiting_bytes)
                self._tell("the recording cannot be stored now: the device is held back until the database answers")
            self._room.wait(1.0)
        if self._told_held and self.recording.has_room:
            self._told_held = False
            self._tell("the recording goes on")

    def _has_room(self) -> bool:
        control = self.control
        behind = self.output.end - control.cursor if control else 0
        return self.recording.has_room and behind < self.output.capacity

    def room_changed(self) -> None:
        """The recorder or a cursor has moved on."""
        self._room.set()

    cursor_moved = room_changed

    # The clients' side.

    def read(self, attachment: Attachment, limit: int) -> bytes:
        """The log from the attachment's cursor on, at most `limit` bytes; b"" when it has everything."""
        if attachment.cursor < self.output.start:
            if attachment.kind is Kind.CONTROL:
                stored = self._read_stored(self.id, attachment.cursor, limit)
                if stored:
                    return stored[:limit]
            self._skip(attachment)
        return self.output.read(attachment.cursor, limit)

    def _skip(self, attachment: Attachment) -> None:
        missed = self.output.start - attachment.cursor
        attachment.cursor = self.output.start
        is_recorded = attachment.kind is Kind.VIEWER and not self.recording.is_stopped
        where = "the recording has them" if is_recorded else "they cannot be read now"
        attachment.tell(f"{missed} bytes left out here: {where}")

    def attach(self, attachment: Attachment, cursor: int, size: tuple[int, int] | None = None) -> None:
        """Adds an attachment that reads from `cursor`. A second control attachment closes the first at once.

        Nothing here yields, nor in `detach`: callers rely on what they checked before.
        """
        former = self.control
        if attachment.kind is Kind.CONTROL:
            if former is not None:
                self.detach(former)
                former.drop(CloseCode.SUPERSEDED, "this terminal was opened elsewhere")
            self._become(State.ACTIVE)
            self.was_left = False
            if size is not None:
                self._set_window(*size)
        attachment.begin(self, cursor)
        self.attachments.append(attachment)
        attachment.wake()
        self._room.set()
        self._tell_untold()
        self._hooks.on_attach(self, attachment)

    def detach(self, attachment: Attachment, *, was_left: bool = False) -> None:
        """Removes an attachment whose socket is gone; the session waits for its user to come back.

        It does not wait for long when the terminal `was_left`: closed by its user.
        """
        if attachment not in self.attachments:
            return
        self.attachments.remove(attachment)
        if attachment.kind is Kind.CONTROL and self.is_live:
            self._become(State.DETACHED)
            self.was_left = was_left
            self.detached_at = time.monotonic()
        self._room.set()
        self._hooks.on_detach(self, attachment)

    def ownership_confirmed(self) -> None:
        """PostgreSQL has just said that this instance owns the session."""
        if self.is_live and self._ownership.is_sure():
            self._typist.go_on()

    def input(self, attachment: Attachment, data: bytes) -> None:
        """Types into the device; waits only while a megabyte is before it. A detached client types nothing."""
        self._typist.wait_for_room(lambda: attachment in self.attachments)
        if attachment in self.attachments and self._takes_keys():
            self._typed_at = time.monotonic()
            # A key is on its way before anything else is done about it.
            self._typist.type(self._charset.to_device(data))
            self.recording.input(data)

    def _takes_keys(self) -> bool:
        """A command that cannot be recorded any more must not run in a session that ends for that."""
        if self.is_live:
            self.recording.may_record()
        return self.is_live

    def resize(self, attachment: Attachment, cols: int, rows: int) -> None:
        """The controlling terminal's window is the device's; a viewer's, or a superseded one's, is its own affair."""
        if attachment is self.control and self.is_live:
            self._set_window(cols, rows)

    def _set_window(self, cols: int, rows: int) -> None:
        if (cols, rows) != (self.cols, self.rows):
            self.cols, self.rows = cols, rows
            self.recording.resize(cols, rows)
            self._transport.resize(cols, rows)

    def have_redrawn(self, attachment: Attachment) -> None:
        """Has full-screen programs draw their screen anew for a terminal that came back without it.

        The window is made a row smaller for a moment, as a user would do it; not while the user types.
        """
        greenlets.spawn(f"session-redraw-{self.id}", self._have_redrawn, attachment)

    def _have_redrawn(self, attachment: Attachment) -> None:
        greenlets.sleep(_REDRAW_AFTER_SECS)
        is_typing = time.monotonic() - self._typed_at < _REDRAW_AFTER_SECS
        if attachment is not self.control or not self.is_live or is_typing or self.rows < 2:
            return
        drawn_to, ends_at = self.output.end, time.monotonic() + _REDRAW_LONGEST_SECS
        self._transport.resize(self.cols, self.rows - 1)
        greenlets.sleep(_REDRAW_PAUSE_SECS)
        while self.is_live and self.output.end == drawn_to and time.monotonic() < ends_at:
            greenlets.sleep(_REDRAW_PAUSE_SECS)
        if self.is_live:
            self._transport.resize(self.cols, self.rows)

    def acknowledged(self, attachment: Attachment, offset: int) -> None:
        """The controlling client has everything before `offset`; a superseded one has no say any more."""
        if attachment is self.control:
            self.recording.acked_offset = max(self.recording.acked_offset, offset)

    def recording_stopped(self, reason: str, *, ends: bool) -> None:
        """The recording takes no more. The session ends, or else goes on, and its user is told: once, when attached."""
        if ends:
            self.end(reason)
        else:
            self._untold = f"{reason}: from here on this session is not recorded"
            self._tell_untold()

    def _tell_untold(self) -> None:
        if self._untold and self.control is not None:
            text, self._untold = self._untold, ""
            self._tell(text)

    def _tell(self, text: str) -> None:
        for attachment in self.attachments:
            attachment.tell(text)

    # The end.

    def end(self, reason: str, *, only_detached: bool = False) -> None:
        """Ends the session: all attachments get what is left, then the reason.

        With `only_detached` nothing happens while its user is attached.
        """
        if only_detached and self.state is not State.DETACHED:
            return
        if self._stop(State.ENDED, reason):
            self.recording.note(f"ended: {reason}")
            self._finish(CloseCode.ENDED, reason, frames.error(f"Session ended: {reason}"), frames.CLOSE)
            self._hooks.on_close(self, reason)

    def fence(self) -> None:
        """Another instance owns the session: this copy stops, and never writes again."""
        if self._stop(State.FENCED, "moved to another instance"):
            self._finish(CloseCode.FENCED, "moved to another instance")
            self._hooks.on_close(self, self.end_reason)

    def hand_over(self, reason: str) -> None:
        """Stops here so that another instance may claim the session; clients come back by themselves."""
        if self._stop(State.FENCED, reason):
            self.recording.note(f"handed over: {reason}")
            self._finish(CloseCode.RESTARTING, reason)
            self._hooks.on_close(self, reason)

    def _stop(self, state: State, reason: str) -> bool:
        if not self.is_live:
            return False
        self._become(state)
        self.end_reason = reason
        self._typist.stop()
        self._ownership.stop()
        # Nothing calls back from now on: references in a circle would keep the session in memory until the garbage
        # collector runs.
        recording = self.recording
        recording.on_room = recording.on_fenced = recording.on_owned = recording.on_limit = _nothing
        self._transport.close()
        self._room.set()
        return True

    def _finish(self, code: CloseCode, reason: str, *last_frames: bytes) -> None:
        for attachment in self.attachments:
            attachment.finish(code, reason, *last_frames)

    def _become(self, state: State) -> None:
        if state is not self.state:
            if state not in TRANSITIONS[self.state]:
                raise ValueError(f"a session does not go from {self.state.value} to {state.value}")
            self.state = state


def _nothing(*_: object) -> None:
    pass
