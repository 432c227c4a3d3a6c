"""Observations of the instances in PostgreSQL, taken periodically."""

import threading

import psycopg

from tests.torture.history import Hold

_NEWEST = """
SELECT DISTINCT ON (session_id) session_id::text, epoch, seq, sha256 FROM recording_chunks
ORDER BY session_id, epoch DESC, seq DESC
"""
# Transactions of instances that have locked rows of sessions, and whose next message PostgreSQL waits for. An instance
# that has only prepared a statement has the lock of the table, which blocks no row, and no transaction id yet.
_HOLDERS = """
SELECT application_name, pid, extract(epoch FROM since)::float, extract(epoch FROM clock_timestamp() - since)::float
FROM pg_stat_activity AS activity CROSS JOIN LATERAL (SELECT greatest(state_change, query_start) AS since) AS word
WHERE datname = current_database() AND application_name LIKE 'ctrl-%' AND wait_event = 'ClientRead'
  AND backend_xid IS NOT NULL
  AND EXISTS (SELECT FROM pg_locks WHERE pg_locks.pid = activity.pid AND granted
              AND relation = 'sessions'::regclass AND mode = 'RowExclusiveLock')
"""


class Sightings(threading.Thread):
    """What was once seen in the recordings must be there at the end. What is held must be let go."""

    def __init__(self, database_url: str) -> None:
        super().__init__(daemon=True)
        self.chunks: dict[str, set[tuple[int, int, bytes]]] = {}
        self._holds: dict[tuple[int, float], Hold] = {}
        self._url = database_url
        self._stopping = threading.Event()

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The longest sight of each."""
        return tuple(self._holds.values())

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stopping.wait(0.5):
                for name, pid, since, secs in connection.execute(_HOLDERS):
                    self._holds[pid, since] = Hold(name, since, secs)
                for session_id, *chunk in connection.execute(_NEWEST):
                    self.chunks.setdefault(session_id, set()).add(tuple(chunk))

    def stop(self) -> None:
        self._stopping.set()
        self.join()
