"""A session: one terminal to one device, its output log, and the attachments that read from it."""

import math
import time
from collections.abc import Callable
from uuid import UUID

from netstacks.cluster.model import SessionRecord
from netstacks.recording.session_recording import Recording
from netstacks.terminal import frames, metrics
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.charset import Charset
from netstacks.terminal.device_reader import DeviceReader
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.output_log import OutputLog
from netstacks.terminal.session_facts import TRANSITIONS, SessionFacts, State
from netstacks.terminal.session_hooks import Hooks, ReadStored
from netstacks.terminal.session_input import SessionInput
from netstacks.terminal.transport import Transport


class Session:
    """A session at its owner, for one epoch. `end`, `fence` or `hand_over` stop it; the first call counts."""

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
        # Where this epoch begins: offsets below it are of a former owner's output.
        self.first_offset = output.end
        self.output = output
        self.recording = recording
        # At most one is of kind CONTROL. Only `attach` and `detach` change the list, and neither yields.
        self.attachments: list[Attachment] = []
        self.expulsions = 0
        """Counts expulsions of viewers. A permission check is void when the count has changed since."""
        self.cols, self.rows = size
        self.end_reason = ""
        self.was_left = False
        """Whether the user has closed the terminal, rather than lost the connection to it."""
        self._transport = transport
        self._read_stored = read_stored
        self._hooks = hooks
        self._reader = DeviceReader(transport, charset)
        self._input = SessionInput(facts.id, transport, charset, recording, stood_still_at, self.show_notice)
        # A notice that no control attachment has been shown yet; "" when there is none.
        self._pending_notice = ""

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
        """The session's entry in the registry."""
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
        """Reads the device from now on; `words` is what it sent during the log-in, in UTF-8."""
        if words:
            self.take(words)
        self._reader.start(self)

    def take(self, data: bytes) -> None:
        """Appends output, in UTF-8, and hands it to the attachments and the recording. Never waits for them."""
        # Output that is not stored yet stays in the log, whatever its capacity: readers find it nowhere else.
        self.output.append(data, keep_from=self.recording.stored_offset)
        # No yield in the loop: `deliver` does not wait, so `attachments` cannot change.
        for attachment in self.attachments:
            attachment.deliver(data)
        self.recording.output(data)

    def room_changed(self) -> None:
        """The recorder or a cursor has advanced."""
        self._reader.reconsider()

    cursor_moved = room_changed

    # The clients' side.

    def read(self, attachment: Attachment, limit: int) -> bytes:
        """Output from the attachment's cursor on, at most `limit` bytes; b"" at the end of the log.

        A cursor behind the log is served from the recording (the controlling terminal), or moved forward (a viewer).
        """
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
        attachment.show_notice(f"{missed} bytes left out here: {where}")

    def attach(self, attachment: Attachment, cursor: int, size: tuple[int, int] | None = None) -> None:
        """Adds an attachment that reads from `cursor`. A second control attachment closes the first at once.

        Neither this nor `detach` yields: callers rely on what they checked before.
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
        self._reader.reconsider()
        self._show_pending_notice()
        self._hooks.on_attach(self, attachment)

    def detach(self, attachment: Attachment, *, was_left: bool = False) -> None:
        """Removes an attachment whose socket is gone; without a control attachment the session is detached.

        `was_left`: the user has closed the terminal, so that the session ends after a short grace period.
        """
        if attachment not in self.attachments:
            return
        self.attachments.remove(attachment)
        if attachment.kind is Kind.CONTROL and self.is_live:
            self._become(State.DETACHED)
            self.was_left = was_left
            self.detached_at = time.monotonic()
        self._reader.reconsider()
        self._hooks.on_detach(self, attachment)

    def ownership_confirmed(self) -> None:
        """PostgreSQL has confirmed that this instance owns the session."""
        if self.is_live:
            self._input.ownership_confirmed()

    def input(self, attachment: Attachment, data: bytes) -> None:
        """Writes input to the device; waits only while a megabyte of it is unwritten. Ignores a detached client."""
        self._input.wait_for_room(lambda: attachment in self.attachments)
        # Checked again: a viewer that was expelled during the wait must not type.
        if attachment in self.attachments and self._takes_input():
            if attachment.kind is Kind.CONTROL:
                attachment.typed()
            metrics.CLIENT_BYTES.value += len(data)
            self._input.write(data)

    @property
    def typed_at(self) -> float:
        """When input last came, by the monotonic clock."""
        return self._input.typed_at

    def _takes_input(self) -> bool:
        # Before the input is written: a command that exceeds a recording limit must not run in a session that ends at
        # that limit.
        if self.is_live:
            self.recording.may_record()
        return self.is_live

    def resize(self, attachment: Attachment, cols: int, rows: int) -> None:
        """Takes the window size of the controlling terminal; the sizes of other attachments are ignored."""
        if attachment is self.control and self.is_live:
            self._set_window(cols, rows)

    def _set_window(self, cols: int, rows: int) -> None:
        if (cols, rows) != (self.cols, self.rows):
            self.cols, self.rows = cols, rows
            self.recording.resize(cols, rows)
            self.resize_device(cols, rows)

    def resize_device(self, cols: int, rows: int) -> None:
        """Sends the device another window size; the session's own size stays as it is."""
        self._transport.resize(cols, rows)

    def acknowledged(self, attachment: Attachment, offset: int) -> None:
        """The client has everything before `offset`. Only the controlling one counts: viewers never resume."""
        if attachment is self.control:
            self.recording.acknowledged(offset)

    def recording_stopped(self, reason: str, *, ends: bool) -> None:
        """A limit has stopped the recording: the session `ends`, or goes on and shows its user a notice, once."""
        if ends:
            self.end(reason)
        else:
            self.tell_user(f"{reason}: from here on this session is not recorded")

    def tell_user(self, text: str) -> None:
        """Shows the user a notice, now or when the client comes back."""
        self._pending_notice = "; ".join(filter(None, (self._pending_notice, text)))
        self._show_pending_notice()

    def _show_pending_notice(self) -> None:
        if self._pending_notice and self.control is not None:
            text, self._pending_notice = self._pending_notice, ""
            self.show_notice(text)

    def show_notice(self, text: str) -> None:
        """Shows a line of the controller's own in all terminals of the session."""
        for attachment in self.attachments:
            attachment.show_notice(text)

    # The end.

    def end(self, reason: str, *, only_detached: bool = False) -> None:
        """Ends the session: all attachments get the rest of the output, then the reason.

        With `only_detached` nothing happens while the user is attached.
        """
        if only_detached and self.state is not State.DETACHED:
            return
        if self._stop(State.ENDED, reason):
            self.recording.note(f"ended: {reason}")
            self._finish(CloseCode.ENDED, reason, frames.error(f"Session ended: {reason}"), frames.CLOSE)
            self._hooks.on_close(self, reason)

    def fence(self) -> None:
        """Stops this copy of the session, now owned by another instance; it writes nothing more."""
        if self._stop(State.FENCED, "moved to another instance"):
            metrics.FENCED.inc()
            self._finish(CloseCode.FENCED, "moved to another instance")
            self._hooks.on_close(self, self.end_reason)

    def hand_over(self, reason: str) -> None:
        """Stops here so that another instance can claim the session; clients reconnect by themselves."""
        if self._stop(State.FENCED, reason):
            self.recording.note(f"handed over: {reason}")
            self._finish(CloseCode.RESTARTING, reason)
            self._hooks.on_close(self, reason)

    def _stop(self, state: State, reason: str) -> bool:
        # No yield between the check and the change of state: the session ends once, for one reason.
        if not self.is_live:
            return False
        self._become(state)
        self.end_reason = reason
        self._input.stop()
        # The callbacks refer to the session: a reference cycle would keep both in memory until the garbage collector
        # runs.
        recording = self.recording
        recording.on_room = recording.on_fenced = recording.on_owned = recording.on_limit = _nothing
        self._transport.close()
        self._reader.reconsider()
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
