"""One session's recording: events gather, and become the next chunk when the recorder takes them."""

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

# A batch is stored as soon as one session has this much.
BATCH_BYTES = 64 * 1024
# What may wait for PostgreSQL: for one session, for the process, and what every session may have even then.
SESSION_BUFFER_BYTES = 4 * 1024 * 1024
PROCESS_BUFFER_BYTES = 64 * 1024 * 1024
SESSION_RESERVE_BYTES = 16 * 1024
# What an event costs beside its payload, so that many small ones count too.
_EVENT_COST_BYTES = 128

MASKED_FROM_HERE = "input is masked from here: the device did not echo it, or asked for a secret"


class Backlog(Protocol):
    """What a recording needs of the recorder: it knows how much waits for PostgreSQL, of all sessions."""

    waiting_bytes: int
    failing: bool

    def schedule(self, recording: "Recording", *, at_once: bool = False) -> None: ...


@dataclass
class Unstored:
    """What is on its way to PostgreSQL for one recording; kept until it is known to be there."""

    recording: "Recording"
    batch: Batch
    cost_bytes: int
    closing: Closing | None
    taken_at: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[UUID, int]:
        return self.batch.session_id, self.batch.epoch


class Recording:
    """One session's end of the recorder, for one epoch.

    `on_room` is called whenever something was stored, `on_fenced` once when another instance owns the session,
    `on_owned` when PostgreSQL has confirmed that this instance owns it: it did at `owned_at` of the monotonic clock.
    `on_limit` is called once, with the reason, when the `allowance` is used up and the recording has stopped.
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
    ) -> None:
        self.session_id = session_id
        self.epoch = epoch
        self.stored_offset = offset
        self.acked_offset = offset
        self.printed_at = time.monotonic()
        self.on_room = on_room
        self.on_fenced = on_fenced
        self.on_owned = on_owned
        self.on_limit = on_limit
        self.is_stopped = False
        """Whether a limit has ended the recording. Notes are still recorded: what happens to the session is short."""
        self.owned_at = time.monotonic()
        self.fenced = False
        self.waiting_bytes = 0
        self.closing: Closing | None = None
        self._rechecking = False
        self._recorder = recorder
        self._allowance = allowance or Allowance()
        self._echo = EchoFilter()
        self._events: list[Event] = []
        self._events_bytes = 0
        self._next_seq = 0
        self._next_offset = offset
        self._sha256 = previous_sha256

    @property
    def has_room(self) -> bool:
        """Whether the device may go on sending."""
        if self.waiting_bytes < SESSION_RESERVE_BYTES:
            return True
        return self.waiting_bytes < SESSION_BUFFER_BYTES and self._recorder.waiting_bytes < PROCESS_BUFFER_BYTES

    @property
    def held_by_store(self) -> bool:
        """Whether it is full because PostgreSQL does not answer."""
        return not self.has_room and self._recorder.failing

    def output(self, data: bytes) -> None:
        """Records what the device sent; never waits."""
        self.printed_at = time.monotonic()
        if not self.may_record():
            return
        self._add_input(self._echo.sent(data, self.printed_at))
        self._add(EventKind.OUTPUT, data)

    def input(self, data: bytes) -> None:
        """Records what the user typed, line by line, as soon as it is known whether the device has echoed it."""
        if not self.may_record():
            return
        self._add_input(self._echo.typed(data, time.monotonic()))
        if self._echo.deadline is not None:
            self._recorder.schedule(self)

    def resize(self, cols: int, rows: int) -> None:
        if not self.is_stopped and self._allowance.problem is None:
            self._add(EventKind.RESIZE, f"{cols}x{rows}".encode())

    def note(self, text: str) -> None:
        """Records an event of the recording itself: a gap, a new owner, the end."""
        self._add(EventKind.NOTE, text.encode())

    def may_record(self) -> bool:
        """Asked before each event. The first time that a limit forbids it, recording and session are told."""
        if not self.is_stopped and (reason := self._allowance.problem) is not None:
            self.is_stopped = True
            self._add_input(self._echo.end())
            self.note(f"recording stops here: {reason}")
            # Nothing more is stored, so the output log keeps nothing for that.
            self.stored_offset = sys.maxsize
            self.on_limit(reason)
        return not self.is_stopped

    def recheck(self) -> None:
        """Compares the epoch with the session's row at once, even when there is nothing to store."""
        self._rechecking = True
        self._recorder.schedule(self, at_once=True)

    def close(self, closing: Closing) -> None:
        """Stores what is left, and how it ended in the transaction of the last chunk: the epoch moves on with it."""
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
        """Makes the next chunk of what has gathered; None when there is nothing to do."""
        self._add_input(self._echo.expired(time.monotonic()))
        chunks = [self._next_chunk()] if self._events else []
        if not chunks and self.closing is None and not self._rechecking:
            return None
        self._rechecking = False
        # A client may have acknowledged what is not recorded. A new owner has no more than the recording.
        acked_offset = min(self.acked_offset, self._next_offset)
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
        """Takes note that a chunk is in PostgreSQL, or never will be."""
        self.waiting_bytes -= unstored.cost_bytes
        self._recorder.waiting_bytes -= unstored.cost_bytes
        if not self.is_stopped:
            for chunk in unstored.batch.chunks:
                self.stored_offset = chunk.end_offset
        self.on_room()

    def owned(self, at: float) -> None:
        """PostgreSQL has taken a batch that was made at `at`: nobody had claimed the session by then."""
        self.owned_at = at
        self.on_owned()

    def fence(self) -> None:
        if not self.fenced:
            self.fenced = True
            self.on_fenced()
