"""Contact with PostgreSQL, as all pools of a process have it: when it answered, and what it does not do."""

import math
import time
from typing import Any

import structlog
from psycopg_pool import ConnectionPool

from netstacks.store.faults import Fault

log = structlog.get_logger()

# A server that gave an answer this recently is there: a pool without a free connection is busy, and not cut off.
_ANSWER_COUNTS_SECS = 3.0
# All connections are replaced no more often: where new ones reach one server or another by chance, it would not end.
_RENEW_AFTER_SECS = 30.0


class Contact:
    """When PostgreSQL last answered any pool of this process, when it last failed to, and the `fault` it has."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.renewals = 0
        """How often all connections were replaced: those that others hold are of another server now, maybe."""
        self._answered_at = -math.inf
        self._failed_at = -math.inf
        self._renewed_at = -math.inf
        self._pools: list[ConnectionPool[Any]] = []

    def add(self, pool: ConnectionPool[Any]) -> None:
        """Has this pool connect anew, too, when the server takes writes again."""
        self._pools.append(pool)

    def answered(self) -> None:
        self._answered_at = time.monotonic()

    def failed(self) -> None:
        self._failed_at = time.monotonic()

    @property
    def is_close(self) -> bool:
        return self._answered_at > max(self._failed_at, time.monotonic() - _ANSWER_COUNTS_SECS)

    def note(self, fault: Fault | None) -> None:
        """Takes note of what PostgreSQL does not do, or that it does everything again: one line in the log a change."""
        former, self.fault = self.fault, fault
        if fault is not None and (former is None or former.kind != fault.kind):
            log.warning("database.fault", problem=fault.what, advice=fault.do)
        if former is not None and fault is None:
            log.info("database.mended", was=former.what)
        if former is not None and former.kind == "read_only" and (fault is None or fault.kind != "read_only"):
            self._renew()

    def _renew(self) -> None:
        """Connections that were made to a server when it was read-only may stay so for as long as they last."""
        if time.monotonic() - self._renewed_at < _RENEW_AFTER_SECS:
            return
        self._renewed_at = time.monotonic()
        self.renewals += 1
        for pool in self._pools:
            pool.drain()
