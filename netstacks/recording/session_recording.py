"""The recording of one session: it collects events, and packs them into the next chunk when the recorder takes them."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from netstacks.recording.chunks import EVENT_HEAD_BYTES, Chunk, Event, EventKind, make_chunk
from netstacks.recording.closing import Closing
from netstacks.recording.echo_filter import Decided, EchoFilter
from netstacks.recording.limits import Allowance
from netstacks.recording.storage import Batch

# A session with this much is stored at once.
BATCH_BYTES = 64 * 1024
# The limits of unstored events: per session, per process, and the reserve of every session when the process is full.
SESSION_BUFFER_BYTES = 4 * 1024 * 1024
PROCESS_BUFFER_BYTES = 64 * 1024 * 1024
SESSION_RESERVE_BYTES = 16 * 1024
# The memory of an event besides its payload, so that many small events count too.
_EVENT_COST_BYTES = 128

INPUT_OFF = "input is not recorded from here: an administrator has switched that off"
INPUT_ON = "input is recorded again from here"
MASKED_FROM_HERE = "input is masked from here: the device did not echo it, or asked for a secret"


class Backlog(Protocol):
    """What a recording needs of the recorder; `waiting_bytes` is the total of all sessions."""

    waiting_bytes: int
    failing: bool

    def schedule(self, recording: "Recording", *, at_once: bool = False) -> None: ...


@dataclass
class Unstored:
    """A part of one recording on its way to PostgreSQL; kept until it is known to be stored."""

    recording: "Recording"
    batch: Batch
    cost_bytes: int
    closing: Closing | None
    taken_at: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[UUID, int]:
        return self.batch.session_id, self.batch.epoch


class Recording:
    """The recording of one session at one epoch.

    `on_room` is called after every stored part, `on_fenced` once when another instance owns the session, `on_owned`
    when PostgreSQL has confirmed the ownership as of `owned_at`, by the monotonic clock. `on_limit` is called once,
    with the reason, when the `allowance` is used up and the recording has stopped. Input is left out while
    `records_input` is false.
    """

    def __init__(
        self,
        recorder: Backlog,
        session_id: UUID,
        epoch: int,
        *,
        offset: int = 0,
        previous_sha256: bytes = b"",
        on_room: Callable[[], None],
        on_fenced: Callable[[], None],
        on_owned: Callable[[], None] = lambda: None,
        on_limit: Callable[[str], None] = lambda reason: None,
        allowance: Allowance | None = None,
        records_input: Callable[[], bool] = lambda: True,
    ) -> None:
        self.session_id = session_id
        self.epoch = epoch
        # Output before `stored_offset` is in PostgreSQL; `acked_offset` is what the client has acknowledged.
        self.stored_offset = offset
        self.acked_offset = offset
        # The acknowledged offset of the last batch: a later one is stored even when nothing else is.
        self._taken_acked_offset = offset
        self.printed_at = time.monotonic()
        self.on_room = on_room
        self.on_fenced = on_fenced
        self.on_owned = on_owned
        self.on_limit = on_limit
        self.is_stopped = False
        """Whether a limit has ended the recording. Notes are still recorded: they are few and short."""
        self.owned_at = time.monotonic()
        # Final: nothing is recorded at this epoch any more.
        self.fenced = False
        # The cost of all events that are not known to be stored; part of the recorder's total.
        self.waiting_bytes = 0
        self.closing: Closing | None = None
        # Whether the next batch is taken even if it is empty, for its comparison of epochs.
        self._rechecking = False
        self._recorder = recorder
        self._allowance = allowance or Allowance()
        self._echo = EchoFilter()
        self._records_input = records_input
        self._leaves_out_input = False
        # Events for the next chunk, and their cost.
        self._events: list[Event] = []
        self._events_bytes = 0
        # Number, first offset and predecessor's hash of the next chunk. Only `take` advances them, in one step.
        self._next_seq = 0
        self._next_offset = offset
        self._sha256 = previous_sha256

    @property
    def has_room(self) -> bool:
        """Whether the device may continue to send."""
        if self.waiting_bytes < SESSION_RESERVE_BYTES:
            return True
        return self.waiting_bytes < SESSION_BUFFER_BYTES and self._recorder.waiting_bytes < PROCESS_BUFFER_BYTES

    @property
    def held_by_store(self) -> bool:
        """Whether it has no room because PostgreSQL does not answer."""
        return not self.has_room and self._recorder.failing

    @property
    def is_delayed(self) -> bool:
        """Whether PostgreSQL takes no recordings at the moment."""
        return self._recorder.failing

    def output(self, data: bytes) -> None:
        """Records output; never waits."""
        self.printed_at = time.monotonic()
        if not self.may_record():
            return
        self._add_input(self._echo.sent(data, self.printed_at))
        self._add(EventKind.OUTPUT, data)

    def input(self, data: bytes) -> None:
        """Records input line by line, as soon as the echo filter has decided; never waits."""
        if not self.may_record() or self._is_input_left_out():
            return
        self._add_input(self._echo.typed(data, time.monotonic()))
        if self._echo.deadline is not None:
            self._recorder.schedule(self)

    def _is_input_left_out(self) -> bool:
        """Whether input is not recorded now. A note says where that begins and ends."""
        is_left_out = not self._records_input()
        if is_left_out != self._leaves_out_input:
            self._leaves_out_input = is_left_out
            self.note(INPUT_OFF if is_left_out else INPUT_ON)
        return is_left_out

    def acknowledged(self, offset: int) -> None:
        """Notes that the client has everything before `offset`; a new owner serves the client from there."""
        if offset <= self.acked_offset:
            return
        self.acked_offset = offset
        # While events wait, the next batch stores it anyway.
        if not self._events and not self.fenced:
            self._recorder.schedule(self)

    def resize(self, cols: int, rows: int) -> None:
        if not self.is_stopped and self._allowance.problem is None:
            self._add(EventKind.RESIZE, f"{cols}x{rows}".encode())

    def note(self, text: str) -> None:
        """Records an event of the recording itself: a gap, a new owner, the end."""
        self._add(EventKind.NOTE, text.encode())

    def may_record(self) -> bool:
        """Whether events may be recorded. Stops the recording, and calls `on_limit`, when a limit is first exceeded."""
        if not self.is_stopped and (reason := self._allowance.problem) is not None:
            self.is_stopped = True
            self._add_input(self._echo.end())
            self.note(f"recording stops here: {reason}")
            # Nothing more is stored: the output log must not keep output for it.
            self.stored_offset = sys.maxsize
            self.on_limit(reason)
        return not self.is_stopped

    def recheck(self) -> None:
        """Has the epoch compared with the session's row at once, even with nothing to store."""
        self._rechecking = True
        self._recorder.schedule(self, at_once=True)

    def close(self, closing: Closing) -> None:
        """Stores the rest. The transaction of the last chunk also ends or releases the session."""
        self._add_input(self._echo.end())
        self.closing = closing
        self._recorder.schedule(self, at_once=True)

    def _add(self, kind: EventKind, payload: bytes) -> None:
        if self.fenced:
            return
        self._events.append(Event(time.time(), kind, payload))
        self._allowance.spend(len(payload) + EVENT_HEAD_BYTES)
        cost = len(payload) + _EVENT_COST_BYTES
        self._events_bytes += cost
        self.waiting_bytes += cost
        self._recorder.waiting_bytes += cost
        self._recorder.schedule(self, at_once=self._events_bytes >= BATCH_BYTES)

    def _add_input(self, decided: Decided) -> None:
        if decided.begins_masking:
            self.note(MASKED_FROM_HERE)
        if decided.data:
            self._add(EventKind.INPUT, decided.data)

    def take(self) -> Unstored | None:
        """Packs the collected events into the next chunk; None when there is nothing to do."""
        self._add_input(self._echo.expired(time.monotonic()))
        chunks = [self._next_chunk()] if self._events else []
        # A client may have acknowledged output that is not recorded, but a new owner has only the recording.
        acked_offset = min(self.acked_offset, self._next_offset)
        if not chunks and self.closing is None and not self._rechecking and acked_offset <= self._taken_acked_offset:
            return None
        self._rechecking = False
        self._taken_acked_offset = acked_offset
        batch = Batch(self.session_id, self.epoch, acked_offset, chunks, self._allowance.recorded_bytes)
        unstored = Unstored(self, batch, self._events_bytes, self.closing)
        self._events = []
        self._events_bytes = 0
        return unstored

    def _next_chunk(self) -> Chunk:
        place = (self.session_id, self.epoch, self._next_seq, self._next_offset)
        chunk = make_chunk(self._sha256, *place, self._events)
        self._sha256 = chunk.sha256
        self._next_seq += 1
        self._next_offset = chunk.end_offset
        return chunk

    @property
    def input_waits(self) -> bool:
        return self._echo.deadline is not None

    def stored(self, unstored: Unstored) -> None:
        """A part is stored, or refused for good: frees its room."""
        self.waiting_bytes -= unstored.cost_bytes
        self._recorder.waiting_bytes -= unstored.cost_bytes
        if not self.is_stopped:
            for chunk in unstored.batch.chunks:
                self.stored_offset = chunk.end_offset
        self.on_room()

    def owned(self, at: float) -> None:
        """PostgreSQL has accepted a batch taken at `at`: no other instance had claimed the session by then."""
        self.owned_at = at
        self.on_owned()

    def fence(self) -> None:
        if not self.fenced:
            self.fenced = True
            self.on_fenced()
