"""A bounded in-memory queue of writes to PostgreSQL that must not delay a terminal, executed in batches in order."""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.store import audit
from netstacks.store.pool import Database, Transaction

log = structlog.get_logger()

CAPACITY = 10_000
_BATCH = 200
_RETRY_SECS = 1.0

Write = Callable[[Transaction], None]


class _Queued(NamedTuple):
    lock: str
    write: Write


class DeferredWrites:
    """A queue of functions of a transaction. Each must be idempotent or harmless to repeat: a retry may run it twice.

    When the queue is full, the oldest writes are dropped. Their number is written to the audit log afterwards.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Queued] = deque()
        self._dropped = 0
        """Writes that were lost and are not yet reported in the audit log."""
        self._wake = greenlets.Event()
        self._idle = greenlets.Event()
        self._idle.set()
        self.background = greenlets.Background("deferred_writes", self._run)

    def start(self) -> None:
        self.background.start()

    def put(self, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Queues a call of `write(tx, *args, **kwargs)`; never waits."""
        self.put_locking("", write, *args, **kwargs)

    def put_locking(self, lock: str, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Like `put`, for a write of a row that other instances write too; `lock` names the row.

        A batch keeps the rows locked until its end. It writes them last and in the order of their names: two instances
        with different orders would wait for each other.
        """
        if len(self._waiting) >= CAPACITY:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(_Queued(lock, lambda tx: write(tx, *args, **kwargs)))
        self._idle.clear()
        self._wake.set()

    def flush(self, timeout_secs: float) -> bool:
        """Waits until everything is written; False when that took longer than `timeout_secs`."""
        return bool(self._idle.wait(timeout_secs))

    def __len__(self) -> int:
        return len(self._waiting) + self._dropped

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._write_some()
            # No yield since the last check of `_waiting`: a write that was put meanwhile would count as flushed.
            self._idle.set()

    def _write_some(self) -> None:
        writes = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        writes.sort(key=lambda each: each.lock)
        try:
            self._write(writes)
        except StoreUnavailable:
            self._put_back(writes)
        except Exception:
            # One write has failed the whole batch: execute each alone, and drop those that fail.
            log.exception("deferred_writes.failed", writes=len(writes))
            while writes:
                try:
                    self._write(writes[:1])
                except StoreUnavailable:
                    self._put_back(writes)
                    return
                except Exception:
                    log.exception("deferred_writes.refused")
                    self._dropped += 1
                del writes[0]

    def _write(self, writes: list[_Queued]) -> None:
        dropped = self._dropped
        with self._database.transaction() as tx:
            refused = sum(not _accepted(tx, each.write) for each in writes)
            if dropped + refused:
                audit.append(tx, audit.SYSTEM, "audit.lost", "audit", rows=dropped + refused)
        self._dropped -= dropped

    def _put_back(self, writes: list[_Queued]) -> None:
        self._waiting.extendleft(reversed(writes))
        greenlets.sleep(_RETRY_SECS)


def _accepted(tx: Transaction, write: Write) -> bool:
    """Executes one write in a savepoint: a refused write must not roll the others back, and is not retried."""
    try:
        with tx.transaction():
            write(tx)
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.InternalError,
        psycopg.errors.InsufficientPrivilege,
    ):
        raise  # The connection or the server has failed, not this write.
    except Exception:
        log.exception("deferred_writes.refused")
        return False
    return True
