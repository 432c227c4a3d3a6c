"""Whether the event loop has stood still: the process was frozen, or something computed for too long in one piece."""

import math
import time
from collections import deque

from prometheus_client import Histogram

from netstacks import greenlets
from netstacks.instance.stall_reporter import STALL_SECS, StallReporter

_TICK_SECS = 0.1
# Health calls the loop blocked when stalls took more than half of this time. One that is merely busy is late by less.
WINDOW_SECS = 10.0

LAG = Histogram(
    "netstacks_loop_lag_seconds",
    "How late the event loop was, ten times a second: as long a wait stood before every key and every request",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)


class LoopWatch:
    """Looks at the clock ten times a second. Standing still for `gap_secs` is told in `stood_still_at`.

    By the clock that goes on while the host sleeps: its peers go on, too.
    """

    def __init__(self, gap_secs: float) -> None:
        self._gap_secs = gap_secs
        self._ticked_at = _now()
        self._due_at = math.inf
        """When the next tick is due, by the monotonic clock."""
        self._stood_still_at = -math.inf
        self._delays: deque[tuple[float, float]] = deque()
        self._reporter = StallReporter(lambda: self._due_at)
        self.background = greenlets.Background("loop-watch", self._run)

    def start(self) -> None:
        self._ticked_at = _now()
        self._due_at = time.monotonic() + _TICK_SECS
        self.background.start()
        self._reporter.start()

    def _run(self) -> None:
        while True:
            self._due_at = time.monotonic() + _TICK_SECS
            greenlets.sleep(_TICK_SECS)
            LAG.observe(max(0.0, time.monotonic() - self._due_at))
            self._tick()

    def _tick(self) -> None:
        now = _now()
        delay, self._ticked_at = now - self._ticked_at - _TICK_SECS, now
        if delay > self._gap_secs:
            self._stood_still_at = time.monotonic()
        if delay > STALL_SECS:
            self._delays.append((now, delay))
        while self._delays and self._delays[0][0] < now - WINDOW_SECS:
            self._delays.popleft()

    def stood_still_at(self) -> float:
        """When the loop last went on after it had stood still, by the monotonic clock; minus infinity if it never did.

        A gap that ends right now counts: a thawed process may run other greenlets before the one that ticks.
        """
        if _now() - self._ticked_at > _TICK_SECS + self._gap_secs:
            self._tick()
        return self._stood_still_at

    @property
    def is_blocked(self) -> bool:
        """Whether the loop has lately stood still, for STALL_SECS or more each time, more than it ran."""
        since = _now() - WINDOW_SECS
        return sum(delay for at, delay in self._delays if at >= since) > WINDOW_SECS / 2


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
