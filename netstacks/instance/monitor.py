"""The health monitor: gathers the facts of `/api/v1/health` in the background, so that no request waits for them."""

import time
from collections.abc import Callable

from netstacks import greenlets
from netstacks.cluster import health
from netstacks.cluster.health import Facts, HealthReport

REFRESH_SECS = 2.0


class HealthMonitor:
    """Holds the newest facts; `gather` collects them and may wait for PostgreSQL and the registry."""

    def __init__(self, gather: Callable[[float], Facts]) -> None:
        self._gather = gather
        self._periodic = greenlets.Periodic("health", self.refresh, REFRESH_SECS)
        self._latest: Facts | None = None

    def start(self) -> None:
        self._periodic.start()

    def refresh(self) -> None:
        """Gathers the facts now."""
        self._latest = self._gather(time.monotonic())

    def report(self) -> HealthReport | None:
        """The verdict on the newest facts; None before the first were gathered."""
        return health.judge(self._latest, time.monotonic(), REFRESH_SECS) if self._latest else None
