"""Batches that PostgreSQL has confirmed lately: a standby that becomes the primary may not have them."""

import time
from collections import deque
from datetime import datetime
from itertools import islice

from netstacks import greenlets
from netstacks.recording import storage
from netstacks.recording.storage import Batch
from netstacks.store.pool import Database
from netstacks.store.queries import load

_SQL = load("recordings")

# More than a standby that is used for a failover lags behind, unless it is broken.
_KEPT_SECS = 30.0
_KEPT_BYTES = 16 * 1024 * 1024
# What the objects of a batch take beside the events of its chunk.
_OBJECTS_BYTES = 1000
# The most batches in one transaction: it must end within its time limit, and the event loop must not stall.
_STEP = 500


class RecentBatches:
    """Keeps _KEPT_SECS of batches, at most _KEPT_BYTES, in the order in which they were stored."""

    def __init__(self) -> None:
        self._batches: deque[tuple[float, int, Batch]] = deque()
        # The sum of the sizes in `_batches`.
        self._bytes = 0
        # The server that has confirmed them: another start is another server, or the same after a restart.
        self._server_started_at: datetime | None = None

    def add(self, batch: Batch) -> None:
        """Keeps a batch that the server has confirmed."""
        now = time.monotonic()
        size = _OBJECTS_BYTES + sum(len(chunk.events) for chunk in batch.chunks)
        self._batches.append((now, size, batch))
        self._bytes += size
        while self._batches and (self._bytes > _KEPT_BYTES or now - self._batches[0][0] > _KEPT_SECS):
            self._bytes -= self._batches.popleft()[1]

    def store_again(self, database: Database) -> int:
        """On another server than before, stores what it lacks of live sessions; returns the number of chunks.

        Raises what `Database.transaction` raises; then the next call begins again.
        """
        with database.transaction() as tx:
            row = tx.execute(_SQL["server"]).fetchone()
        assert row is not None
        count = 0
        if self._server_started_at not in (None, row["started_at"]):
            batches = (batch for _, _, batch in self._batches)
            while step := list(islice(batches, _STEP)):
                with database.transaction() as tx:
                    count += storage.insert(tx, step)[0]["chunks"]
                greenlets.give_way()
        self._server_started_at = row["started_at"]
        return count
