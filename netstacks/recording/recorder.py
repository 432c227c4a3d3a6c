"""The recorder: stores the recordings of all sessions in batches, off the data path."""

import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.recording import metrics, storage
from netstacks.recording.chunks import compressed, decompressed, is_worth_compressing
from netstacks.recording.closing import close
from netstacks.recording.recent_batches import RecentBatches
from netstacks.recording.session_recording import Recording, Unstored
from netstacks.recording.spool import Leftover
from netstacks.recording.storage import Batch
from netstacks.store.pool import Database, Transaction

log = structlog.get_logger()

# All waiting events are stored this long after the first of them. A session that has many, or ends, is stored at once
# and alone, so that each of the others still makes at most one chunk in this time.
BATCH_SECS = 0.5
# The pause between two batches: heavy output is stored in fewer, larger transactions, at a third of the cost.
_REST_SECS = 0.02
_RETRY_SECS = (0.2, 0.5, 1.0, 2.0)
# The most sessions in one transaction: each session that ends, or is refused, costs statements of its own, and the
# transaction must finish within its time limit over a slow network too.
_STEP = 100
# How often it is checked that the server is still the same one.
_CHECK_SERVER_SECS = 1.0
# How long a stopping instance waits for a running transaction.
_STOP_SECS = 1.0


class Recorder:
    """The only writer of recordings in the process. A device is held back only when the buffers are full.

    `may_compress` returns whether every instance of the cluster can read compressed chunks.
    """

    def __init__(self, database: Database, *, may_compress: Callable[[], bool] = lambda: True) -> None:
        self._database = database
        self._may_compress = may_compress
        # A thread of its own: password hashing may occupy all threads of `in_thread`.
        self._compressing = greenlets.Threads(1)
        # The sum of `waiting_bytes` of all recordings, which update it themselves.
        self.waiting_bytes = 0
        # Whether PostgreSQL did not answer the last try.
        self.failing = False
        # Recordings with events that no batch has taken yet, by session and epoch.
        self._dirty: dict[tuple[UUID, int], Recording] = {}
        # The keys in `_dirty` that do not wait for the end of the window.
        self._urgent: set[tuple[UUID, int]] = set()
        # By the monotonic clock; None while `_dirty` is empty.
        self._window_ends_at: float | None = None
        # Taken and not yet known to be stored. What was recorded is always in exactly one of: a recording's own events,
        # `_storing`, `_stuck`.
        self._storing: list[Unstored] = []
        # Set while `_dirty` is not empty.
        self._wake = greenlets.Event()
        # Set to end the window early.
        self._at_once = greenlets.Event()
        # Set while everything is stored.
        self._idle = greenlets.Event()
        self._idle.set()
        # Parts that raised an unexpected error, and later parts of the same recording, in order. They are retried now
        # and then, apart from the other sessions.
        self._stuck: dict[tuple[UUID, int], list[Unstored]] = {}
        self._retry_stuck_at = 0.0
        self._recent = RecentBatches()
        self._check_server_at = 0.0
        self._stopping = greenlets.Event()
        self.background = greenlets.Background("recorder", self._run)

    def start(self) -> None:
        self.background.start()

    def schedule(self, recording: Recording, *, at_once: bool = False) -> None:
        """Schedules the recording to be stored within BATCH_SECS, or `at_once`. Never waits."""
        key = (recording.session_id, recording.epoch)
        self._dirty[key] = recording
        self._idle.clear()
        self._wake.set()
        if at_once:
            self._urgent.add(key)
            self._at_once.set()

    def has_unstored(self, session_id: UUID) -> bool:
        """Whether a part of the session's recording is not stored yet."""
        storing = (unstored.batch.session_id for unstored in self._storing)
        return session_id in storing or any(session_id == waiting for waiting, _ in (*self._dirty, *self._stuck))

    def flush(self, timeout_secs: float) -> bool:
        """Stores everything that waits; False when that takes longer than `timeout_secs`."""
        self._window_ends_at = 0.0
        self._at_once.set()
        return bool(self._idle.wait(timeout_secs))

    def stop(self) -> list[Leftover]:
        """Stops storing; returns the parts that PostgreSQL may not have, joined into one per recording.

        Waits _STOP_SECS for a running transaction. One that commits later does no harm: storing again skips chunks that
        are stored.
        """
        self._stopping.set()
        self._wake.set()
        self._at_once.set()
        self.background.join(_STOP_SECS)
        gathered: dict[Recording, list[Unstored]] = {}
        untaken = [unstored for recording in self._dirty.values() if (unstored := recording.take())]
        stuck = [unstored for parts in self._stuck.values() for unstored in parts]
        for unstored in [*stuck, *self._storing, *untaken]:
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
            # It waits for PostgreSQL, so nothing is taken yet.
            self._check_server()
            if self._stopping.is_set():
                return
            # No yield from here to `_store`: `stop` and `has_unstored` would miss a part that is in neither list.
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
        """Removes the urgent recordings from `_dirty`, or all of them at the end of the window."""
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

    def _check_server(self) -> None:
        """After a failover, stores again what the new primary had not received."""
        if self._stopping.is_set() or time.monotonic() < self._check_server_at:
            return
        try:
            count = self._recent.store_again(self._database)
        except StoreUnavailable:
            return  # `_store` waits for it, and the next batch checks again.
        except Exception:
            # What is recorded now must be stored nevertheless.
            log.exception("recorder.check_failed")
            count = 0
        self._check_server_at = time.monotonic() + _CHECK_SERVER_SECS
        if count:
            log.warning("recorder.stored_again", chunks=count, advice="PostgreSQL failed over to a server without them")

    def _store(self, batch: list[Unstored]) -> None:
        """Stores a batch in steps of one transaction each; parts that fail move to `_stuck`."""
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
        """Stores a batch, however long the database is unavailable; False after an unexpected error."""
        tries = 0
        while not self._stopping.is_set():
            try:
                self._compress(batch)
                refused = self._write(batch, again=tries > 0 or any(each.key in self._stuck for each in batch))
            except StoreUnavailable as error:
                metrics.FAILURES.inc()
                if not self.failing:
                    log.warning("recorder.store_unavailable", waiting_bytes=self.waiting_bytes, error=str(error))
                self.failing = True
                self._stopping.wait(_RETRY_SECS[min(tries, len(_RETRY_SECS) - 1)])
                tries += 1
            except Exception:
                # Unexpected: the recorded events are kept and retried, and the devices are held back meanwhile.
                metrics.FAILURES.inc()
                log.exception("recorder.failed", sessions=sorted({str(each.batch.session_id) for each in batch}))
                return False
            else:
                self._confirm(batch, refused)
                return True
        return False

    def _compress(self, batch: list[Unstored]) -> None:
        """Compresses the chunks for which that is worth it."""
        chunks = [chunk for unstored in batch for chunk in unstored.batch.chunks]
        if any(map(is_worth_compressing, chunks)) and self._may_compress():
            smaller = iter(self._compressing.begin(compressed, chunks).get())
            for unstored in batch:
                unstored.batch = replace(unstored.batch, chunks=[next(smaller) for _ in unstored.batch.chunks])

    def _write(self, batch: list[Unstored], *, again: bool) -> list[Batch]:
        """Writes a batch; returns the parts that were refused, because their session is at another epoch."""
        with self._database.transaction() as tx:
            refused = storage.save(tx, [unstored.batch for unstored in batch], again=again)
            for each in refused:
                self._report_refusal(tx, each)
            for unstored in batch:
                if unstored.closing and unstored.batch not in refused:
                    close(tx, unstored.batch.session_id, unstored.batch.epoch, unstored.closing)
        return refused

    def _confirm(self, batch: list[Unstored], refused: list[Batch]) -> None:
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
                    self._recent.add(unstored.batch)
                    metrics.STORED_BYTES.inc(sum(len(chunk.events) for chunk in unstored.batch.chunks))
            except Exception:
                # An error in one session's callbacks must not affect the others.
                log.exception("recorder.session_failed", session_id=str(unstored.batch.session_id))

    @staticmethod
    def _report_refusal(tx: Transaction, batch: Batch) -> None:
        reason = storage.refused(tx, batch)
        if reason:
            log.warning("recorder.refused", session_id=str(batch.session_id), epoch=batch.epoch, reason=reason)


def _joined(parts: list[Unstored]) -> Leftover:
    """Consecutive parts of one recording as one, uncompressed: an instance of any version can store it."""
    last = parts[-1]
    chunks = decompressed(chunk for part in parts for chunk in part.batch.chunks)
    return Leftover(replace(last.batch, chunks=chunks), last.closing)
