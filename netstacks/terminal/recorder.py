"""The recorder: stores what sessions record in batches, off the data path, and holds a device back only when full."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.store import recordings
from netstacks.store.chunks import Chunk, Event, EventKind, make_chunk
from netstacks.store.closing import Closing, close
from netstacks.store.pool import Database, Transaction
from netstacks.store.recordings import Batch
from netstacks.store.spool import Leftover
from netstacks.terminal.echo import EchoFilter

log = structlog.get_logger()

# A batch is stored this long after its first event, or as soon as one session has this much.
BATCH_SECS = 0.5
BATCH_BYTES = 64 * 1024
# Between two batches: a flood is stored in fewer, larger transactions, at a third of the cost.
_REST_SECS = 0.02
# What may wait for PostgreSQL: for one session, for the process, and what every session may have even then.
SESSION_BUFFER_BYTES = 4 * 1024 * 1024
PROCESS_BUFFER_BYTES = 64 * 1024 * 1024
SESSION_RESERVE_BYTES = 16 * 1024
# What an event costs beside its payload, so that many small ones count too.
_EVENT_COST_BYTES = 128
_RETRY_SECS = (0.2, 0.5, 1.0, 2.0)
# So many sessions in a transaction: each that ends, or is refused, costs statements of its own, and all of them must be
# answered within its time limit over a slow network, too.
_STEP = 100
# A transaction may take so long to end when the instance stops.
_STOP_SECS = 1.0


@dataclass
class _Unstored:
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
    """

    def __init__(
        self,
        recorder: "Recorder",
        session_id: UUID,
        epoch: int,
        *,
        offset: int = 0,
        previous_sha256: bytes = b"",
        on_room: Callable[[], None],
        on_fenced: Callable[[], None],
        on_owned: Callable[[], None] = lambda: None,
    ) -> None:
        self.session_id = session_id
        self.epoch = epoch
        self.stored_offset = offset
        self.acked_offset = offset
        self.printed_at = time.monotonic()
        self.on_room = on_room
        self.on_fenced = on_fenced
        self.on_owned = on_owned
        self.owned_at = time.monotonic()
        self.fenced = False
        self.waiting_bytes = 0
        self.closing: Closing | None = None
        self._rechecking = False
        self._recorder = recorder
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
        typed = self._echo.sent(data)
        if typed:
            self._add(EventKind.INPUT, typed)
        self._add(EventKind.OUTPUT, data)

    def input(self, data: bytes) -> None:
        """Records what the user typed, as soon as it is known whether the device echoes it."""
        decided = self._echo.typed(data, time.monotonic())
        if decided:
            self._add(EventKind.INPUT, decided)
        if self._echo.deadline is not None:
            self._recorder.schedule(self)

    def resize(self, cols: int, rows: int) -> None:
        self._add(EventKind.RESIZE, f"{cols}x{rows}".encode())

    def note(self, text: str) -> None:
        """Records an event of the recording itself: a gap, a new owner, the end."""
        self._add(EventKind.NOTE, text.encode())

    def recheck(self) -> None:
        """Compares the epoch with the session's row at once, even when there is nothing to store."""
        self._rechecking = True
        self._recorder.schedule(self, at_once=True)

    def close(self, closing: Closing) -> None:
        """Stores what is left, and how it ended in the transaction of the last chunk: the epoch moves on with it."""
        self._add_expired_input(float("inf"))
        self.closing = closing
        self._recorder.schedule(self, at_once=True)

    def _add(self, kind: EventKind, payload: bytes) -> None:
        if self.fenced:
            return
        self._events.append(Event(time.time(), kind, payload))
        cost = len(payload) + _EVENT_COST_BYTES
        self._events_bytes += cost
        self.waiting_bytes += cost
        self._recorder.waiting_bytes += cost
        self._recorder.schedule(self, at_once=self._events_bytes >= BATCH_BYTES)

    def _add_expired_input(self, now: float) -> None:
        typed = self._echo.expired(now)
        if typed:
            self._add(EventKind.INPUT, typed)

    def take(self) -> _Unstored | None:
        """Makes the next chunk of what has gathered; None when there is nothing to do."""
        self._add_expired_input(time.monotonic())
        chunks = [self._next_chunk()] if self._events else []
        if not chunks and self.closing is None and not self._rechecking:
            return None
        self._rechecking = False
        batch = Batch(self.session_id, self.epoch, self.acked_offset, chunks)
        unstored = _Unstored(self, batch, self._events_bytes, self.closing)
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

    def stored(self, unstored: _Unstored) -> None:
        """Takes note that a chunk is in PostgreSQL, or never will be."""
        self.waiting_bytes -= unstored.cost_bytes
        self._recorder.waiting_bytes -= unstored.cost_bytes
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


class Recorder:
    """The process's one writer of recordings."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.waiting_bytes = 0
        self.failing = False
        self._dirty: dict[tuple[UUID, int], Recording] = {}
        self._storing: list[_Unstored] = []
        self._wake = greenlets.Event()
        self._at_once = greenlets.Event()
        self._idle = greenlets.Event()
        self._idle.set()
        # What PostgreSQL has refused for a reason of its own, and what came behind it. It is tried again now and then,
        # so that other sessions do not wait for it.
        self._stuck: dict[tuple[UUID, int], list[_Unstored]] = {}
        self._retry_stuck_at = 0.0
        self._stopping = greenlets.Event()
        self.background = greenlets.Background("recorder", self._run)

    def start(self) -> None:
        self.background.start()

    def schedule(self, recording: Recording, *, at_once: bool = False) -> None:
        """Has the recording stored within BATCH_SECS, or as soon as possible."""
        self._dirty[recording.session_id, recording.epoch] = recording
        self._idle.clear()
        self._wake.set()
        if at_once:
            self._at_once.set()

    def has_unstored(self, session_id: UUID) -> bool:
        """Whether something of the session is still on its way to PostgreSQL."""
        storing = (unstored.batch.session_id for unstored in self._storing)
        return session_id in storing or any(session_id == waiting for waiting, _ in (*self._dirty, *self._stuck))

    def flush(self, timeout_secs: float) -> bool:
        """Stores everything that waits; False when that took longer than `timeout_secs`."""
        self._at_once.set()
        return bool(self._idle.wait(timeout_secs))

    def stop(self) -> list[Leftover]:
        """Stops storing; returns what PostgreSQL may not have, one for each recording.

        A transaction under way is waited for a moment. One that ends later does no harm: storing again leaves out what
        is stored.
        """
        self._stopping.set()
        self._wake.set()
        self._at_once.set()
        self.background.join(_STOP_SECS)
        gathered: dict[Recording, list[_Unstored]] = {}
        rest = [unstored for recording in self._dirty.values() if (unstored := recording.take())]
        stuck = [unstored for parts in self._stuck.values() for unstored in parts]
        for unstored in [*stuck, *self._storing, *rest]:
            gathered.setdefault(unstored.recording, []).append(unstored)
        leftovers = [_joined(each) for each in gathered.values()]
        return [each for each in leftovers if each.batch.chunks or each.closing]

    def _run(self) -> None:
        while True:
            self._wake.wait(_RETRY_SECS[-1] if self._stuck else None)
            self._wake.clear()
            self._at_once.wait(BATCH_SECS)
            self._at_once.clear()
            if self._stopping.is_set():
                return
            # No yield from here to `_store`: what is in neither list would be lost to `stop` and `has_unstored`.
            dirty, self._dirty = self._dirty, {}
            batch = [unstored for recording in dirty.values() if (unstored := recording.take())]
            for recording in dirty.values():
                if recording.input_waits and recording.closing is None:
                    self.schedule(recording)
            if batch or self._stuck:
                self._store(batch)
                greenlets.sleep(_REST_SECS)
            if not self._dirty and not self._stuck:
                self._idle.set()

    def _store(self, batch: list[_Unstored]) -> None:
        """Stores a batch in one transaction, or else what can be stored of it."""
        for unstored in batch:
            if unstored.key in self._stuck:
                self._stuck[unstored.key].append(unstored)
        self._storing = [unstored for unstored in batch if unstored.key not in self._stuck]
        while self._storing:
            step = self._storing[:_STEP]
            if not self._try_to_store(step):
                for unstored in step:
                    self._stuck.setdefault(unstored.key, []).append(unstored)
            del self._storing[:_STEP]
        if time.monotonic() < self._retry_stuck_at:
            return
        for key, parts in list(self._stuck.items()):
            if self._try_to_store(parts):
                del self._stuck[key]
        self._retry_stuck_at = time.monotonic() + _RETRY_SECS[-1]

    def _try_to_store(self, batch: list[_Unstored]) -> bool:
        """Stores all of it, however long the database is away; False when it cannot be stored like this."""
        tries = 0
        while not self._stopping.is_set():
            try:
                refused = self._write(batch, again=tries > 0 or any(each.key in self._stuck for each in batch))
            except StoreUnavailable as error:
                if not self.failing:
                    log.warning("recorder.store_unavailable", waiting_bytes=self.waiting_bytes, error=str(error))
                self.failing = True
                self._stopping.wait(_RETRY_SECS[min(tries, len(_RETRY_SECS) - 1)])
                tries += 1
            except Exception:
                # Whatever it is, what was recorded is kept and tried again: a device is held back rather than lost.
                log.exception("recorder.failed", sessions=sorted({str(each.batch.session_id) for each in batch}))
                return False
            else:
                self._settle(batch, refused)
                return True
        return False

    def _write(self, batch: list[_Unstored], *, again: bool) -> list[Batch]:
        """Returns what was refused: the session is at another epoch by now."""
        with self._database.transaction() as tx:
            refused = recordings.save(tx, [unstored.batch for unstored in batch], again=again)
            for each in refused:
                self._tell_refusal(tx, each)
            for unstored in batch:
                if unstored.closing and unstored.batch not in refused:
                    close(tx, unstored.batch.session_id, unstored.batch.epoch, unstored.closing)
        return refused

    def _settle(self, batch: list[_Unstored], refused: list[Batch]) -> None:
        if self.failing:
            self.failing = False
            log.info("recorder.store_back", waiting_bytes=self.waiting_bytes)
        for unstored in batch:
            try:
                unstored.recording.stored(unstored)
                if unstored.batch in refused:
                    unstored.recording.fence()
                else:
                    unstored.recording.owned(unstored.taken_at)
            except Exception:
                # What one session makes of it is no other's affair.
                log.exception("recorder.session_failed", session_id=str(unstored.batch.session_id))

    @staticmethod
    def _tell_refusal(tx: Transaction, batch: Batch) -> None:
        reason = recordings.refused(tx, batch)
        if reason:
            log.warning("recorder.refused", session_id=str(batch.session_id), epoch=batch.epoch, reason=reason)


def _joined(parts: list[_Unstored]) -> Leftover:
    """Consecutive parts of one recording as one."""
    last = parts[-1]
    chunks = [chunk for part in parts for chunk in part.batch.chunks]
    return Leftover(replace(last.batch, chunks=chunks), last.closing)
