"""The shared view of all pools of a process on PostgreSQL: when it last answered, and its current fault."""

import math
import time
from collections.abc import Iterator
from typing import Any

import structlog
from psycopg_pool import ConnectionPool

from netstacks.store.faults import Fault

log = structlog.get_logger()

# A server that answered this recently is reachable: a pool without a free connection is busy, not disconnected.
_ANSWER_COUNTS_SECS = 3.0
# The least time between two replacements of all connections. Where a name resolves to a random server, each new
# connection may find or lose the fault, and the pools would reconnect without end.
_RENEW_AFTER_SECS = 30.0


class Contact:
    """When PostgreSQL last answered any pool of this process, when it last failed to, and its current `fault`."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.failure: str | None = None
        """Why the last attempt to connect failed, as a text; None once PostgreSQL has answered."""
        self.renewals = 0
        """How often all connections were replaced. Holders of other connections reconnect when this changes."""
        self._answered_at = -math.inf
        self._failed_at = -math.inf
        self._failing_since: float | None = None
        """When the first attempt failed that no answer has followed; None while PostgreSQL answers."""
        self._renewed_at = -math.inf
        self._pools: list[ConnectionPool[Any]] = []

    def add(self, pool: ConnectionPool[Any]) -> None:
        """Makes this pool reconnect too when the server accepts writes again."""
        self._pools.append(pool)

    def connection_counts(self) -> Iterator[tuple[str, int, int]]:
        """The name of each pool, how many of its connections are in use, and how many are idle."""
        for pool in self._pools:
            counts = pool.get_stats()
            yield pool.name, counts["pool_size"] - counts["pool_available"], counts["pool_available"]

    def answered(self) -> None:
        self._answered_at = time.monotonic()
        self._failing_since = None
        self.failure = None

    def failed(self) -> None:
        self._failed_at = time.monotonic()
        if self._failing_since is None:
            self._failing_since = self._failed_at

    @property
    def away_secs(self) -> float:
        """How long every attempt to reach PostgreSQL has failed; 0 while it answers."""
        return time.monotonic() - self._failing_since if self._failing_since is not None else 0.0

    @property
    def has_answered_recently(self) -> bool:
        return self._answered_at > max(self._failed_at, time.monotonic() - _ANSWER_COUNTS_SECS)

    def note(self, fault: Fault | None) -> None:
        """Records the current fault, or None; logs each change once."""
        former, self.fault = self.fault, fault
        if fault is not None and (former is None or former.kind != fault.kind):
            log.warning("database.fault", problem=fault.problem, advice=fault.advice)
        if former is not None and fault is None:
            log.info("database.mended", was=former.problem)
        if former is not None and former.kind == "read_only" and (fault is None or fault.kind != "read_only"):
            self._renew()

    def _renew(self) -> None:
        """Replaces all connections: those opened while the server was read-only may stay read-only."""
        if time.monotonic() - self._renewed_at < _RENEW_AFTER_SECS:
            return
        self._renewed_at = time.monotonic()
        self.renewals += 1
        for pool in self._pools:
            pool.drain()
