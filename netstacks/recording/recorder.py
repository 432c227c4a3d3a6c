"""The recorder: stores what sessions record in batches, off the data path, and holds a device back only when full."""

import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.recording import storage
from netstacks.recording.chunks import compressed, decompressed, is_worth_compressing
from netstacks.recording.closing import close
from netstacks.recording.session_recording import Recording, Unstored
from netstacks.recording.spool import Leftover
from netstacks.recording.storage import Batch
from netstacks.store.pool import Database, Transaction

log = structlog.get_logger()

# All that has gathered is stored this long after the first event. A session that has much, or ends, is stored at once,
# and alone: each of the others makes no more than one chunk in that time.
BATCH_SECS = 0.5
# Between two batches: a flood is stored in fewer, larger transactions, at a third of the cost.
_REST_SECS = 0.02
_RETRY_SECS = (0.2, 0.5, 1.0, 2.0)
# So many sessions in a transaction: each that ends, or is refused, costs statements of its own, and all of them must be
# answered within its time limit over a slow network, too.
_STEP = 100
# A transaction may take so long to end when the instance stops.
_STOP_SECS = 1.0


class Recorder:
    """The process's one writer of recordings.

    `may_compress` tells whether every instance that may read a chunk can read a compressed one.
    """

    def __init__(self, database: Database, *, may_compress: Callable[[], bool] = lambda: True) -> None:
        self._database = database
        self._may_compress = may_compress
        # Apart from the threads of `in_thread`, all of which may be busy with passwords.
        self._compressing = greenlets.Threads(1)
        self.waiting_bytes = 0
        self.failing = False
        self._dirty: dict[tuple[UUID, int], Recording] = {}
        # Those of `_dirty` that do not wait for the end of the window.
        self._urgent: set[tuple[UUID, int]] = set()
        # By the monotonic clock; None while nothing waits.
        self._window_ends_at: float | None = None
        self._storing: list[Unstored] = []
        self._wake = greenlets.Event()
        self._at_once = greenlets.Event()
        self._idle = greenlets.Event()
        self._idle.set()
        # What PostgreSQL has refused for a reason of its own, and what came behind it. It is tried again now and then,
        # so that other sessions do not wait for it.
        self._stuck: dict[tuple[UUID, int], list[Unstored]] = {}
        self._retry_stuck_at = 0.0
        self._stopping = greenlets.Event()
        self.background = greenlets.Background("recorder", self._run)

    def start(self) -> None:
        self.background.start()

    def schedule(self, recording: Recording, *, at_once: bool = False) -> None:
        """Has the recording stored within BATCH_SECS, or as soon as possible."""
        key = (recording.session_id, recording.epoch)
        self._dirty[key] = recording
        self._idle.clear()
        self._wake.set()
        if at_once:
            self._urgent.add(key)
            self._at_once.set()

    def has_unstored(self, session_id: UUID) -> bool:
        """Whether something of the session is still on its way to PostgreSQL."""
        storing = (unstored.batch.session_id for unstored in self._storing)
        return session_id in storing or any(session_id == waiting for waiting, _ in (*self._dirty, *self._stuck))

    def flush(self, timeout_secs: float) -> bool:
        """Stores everything that waits; False when that took longer than `timeout_secs`."""
        self._window_ends_at = 0.0
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
        gathered: dict[Recording, list[Unstored]] = {}
        rest = [unstored for recording in self._dirty.values() if (unstored := recording.take())]
        stuck = [unstored for parts in self._stuck.values() for unstored in parts]
        for unstored in [*stuck, *self._storing, *rest]:
            gathered.setdefault(unstored.recording, []).append(unstored)
        leftovers = [_joined(each) for each in gathered.values()]
        return [each for each in leftovers if each.batch.chunks or each.closing]

    def _run(self) -> None:
        while True:
            self._wake.wait(_RETRY_SECS[-1] if self._stuck else None)
            if self._window_ends_at is None:
                self._window_ends_at = time.monotonic() + BATCH_SECS
            self._at_once.wait(max(0.0, self._window_ends_at - time.monotonic()))
            self._at_once.clear()
            if self._stopping.is_set():
                return
            # No yield from here to `_store`: what is in neither list would be lost to `stop` and `has_unstored`.
            due = self._take_due()
            batch = [unstored for recording in due if (unstored := recording.take())]
            for recording in due:
                if recording.input_waits and recording.closing is None:
                    self.schedule(recording)
            if batch or self._stuck:
                self._store(batch)
                greenlets.sleep(_REST_SECS)
            if not self._dirty and not self._stuck:
                self._idle.set()

    def _take_due(self) -> list[Recording]:
        """Takes out of `_dirty` what is urgent, or all of it when the window is over."""
        if self._window_ends_at is not None and time.monotonic() < self._window_ends_at:
            due = [self._dirty.pop(key) for key in self._urgent]
        else:
            due = list(self._dirty.values())
            self._dirty.clear()
        self._urgent.clear()
        if not self._dirty:
            self._window_ends_at = None
            self._wake.clear()
        return due

    def _store(self, batch: list[Unstored]) -> None:
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

    def _try_to_store(self, batch: list[Unstored]) -> bool:
        """Stores all of it, however long the database is away; False when it cannot be stored like this."""
        tries = 0
        while not self._stopping.is_set():
            try:
                self._compress(batch)
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

    def _compress(self, batch: list[Unstored]) -> None:
        """Compresses what is worth it and has not been."""
        chunks = [chunk for unstored in batch for chunk in unstored.batch.chunks]
        if any(map(is_worth_compressing, chunks)) and self._may_compress():
            smaller = iter(self._compressing.begin(compressed, chunks).get())
            for unstored in batch:
                unstored.batch = replace(unstored.batch, chunks=[next(smaller) for _ in unstored.batch.chunks])

    def _write(self, batch: list[Unstored], *, again: bool) -> list[Batch]:
        """Returns what was refused: the session is at another epoch by now."""
        with self._database.transaction() as tx:
            refused = storage.save(tx, [unstored.batch for unstored in batch], again=again)
            for each in refused:
                self._tell_refusal(tx, each)
            for unstored in batch:
                if unstored.closing and unstored.batch not in refused:
                    close(tx, unstored.batch.session_id, unstored.batch.epoch, unstored.closing)
        return refused

    def _settle(self, batch: list[Unstored], refused: list[Batch]) -> None:
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
        reason = storage.refused(tx, batch)
        if reason:
            log.warning("recorder.refused", session_id=str(batch.session_id), epoch=batch.epoch, reason=reason)


def _joined(parts: list[Unstored]) -> Leftover:
    """Consecutive parts of one recording as one, none of it compressed: an instance of any version may store it."""
    last = parts[-1]
    chunks = decompressed(chunk for part in parts for chunk in part.batch.chunks)
    return Leftover(replace(last.batch, chunks=chunks), last.closing)
