"""The health monitor: refreshes the facts of `/api/v1/health` in the background, so that no request waits for them."""

import time
from collections.abc import Callable
from dataclasses import replace

from netstacks import greenlets
from netstacks.cluster import health
from netstacks.cluster.health import Facts, HealthReport

REFRESH_SECS = 2.0


class HealthMonitor:
    """Holds the latest facts; `gather` collects them and may wait for PostgreSQL and the registry.

    `is_draining` must not wait; each report reads it, because a load balancer must see a drain at once. `on_refreshed`
    is called after each refresh and must return at once.
    """

    def __init__(
        self,
        gather: Callable[[float], Facts],
        is_draining: Callable[[], bool],
        on_refreshed: Callable[[], object] = lambda: None,
    ) -> None:
        self._gather = gather
        self._is_draining = is_draining
        self._on_refreshed = on_refreshed
        self._periodic = greenlets.Periodic("health", self.refresh, REFRESH_SECS)
        self._latest: Facts | None = None

    def start(self) -> None:
        self._periodic.start()

    def wake(self) -> None:
        """Starts a refresh now, in the background."""
        self._periodic.wake()

    def refresh(self) -> None:
        """Gathers the facts; returns when they are complete."""
        self._latest = self._gather(time.monotonic())
        self._on_refreshed()

    def report(self) -> HealthReport | None:
        """The health by the latest facts; None before the first refresh."""
        if self._latest is None:
            return None
        facts = replace(self._latest, draining=self._is_draining())
        return health.judge(facts, time.monotonic(), REFRESH_SECS)
