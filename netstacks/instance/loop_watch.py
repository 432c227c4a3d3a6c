"""Detects a stalled event loop: a frozen process, or a computation that did not yield."""

import math
import time
from collections import deque

from prometheus_client import Histogram

from netstacks import greenlets
from netstacks.instance.stall_reporter import STALL_SECS, StallReporter

_TICK_SECS = 0.1
# Health reports the loop as blocked when stalls took more than half of this time; a busy loop is late by less.
WINDOW_SECS = 10.0

LAG = Histogram(
    "netstacks_loop_lag_seconds",
    "Lag of the event loop, measured ten times a second: every keystroke and every request waits this long",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)


class LoopWatch:
    """Reads the clock ten times a second; `stood_still_at` is the end of the last stall longer than `gap_secs`.

    By a clock that runs on while the host is suspended, because the peers run on as well.
    """

    def __init__(self, gap_secs: float) -> None:
        self._gap_secs = gap_secs
        self._ticked_at = _now()
        self._due_at = math.inf
        """When the next tick is due, by the monotonic clock; the thread of the stall reporter reads it."""
        self._stood_still_at = -math.inf
        self._largest_lag_secs = 0.0
        self._delays: deque[tuple[float, float]] = deque()
        """Stalls within WINDOW_SECS: when each ended, by `_now`, and its length in seconds."""
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
            lag_secs = max(0.0, time.monotonic() - self._due_at)
            LAG.observe(lag_secs)
            self._largest_lag_secs = max(self._largest_lag_secs, lag_secs)
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

    def take_largest_lag(self) -> float:
        """The largest lag of the loop since the last call, in seconds."""
        largest, self._largest_lag_secs = self._largest_lag_secs, 0.0
        return largest

    def stood_still_at(self) -> float:
        """When the last stall ended, by the monotonic clock; minus infinity when there was none.

        Includes a stall that is ending now: a thawed process may run other greenlets before the one that ticks.
        """
        if _now() - self._ticked_at > _TICK_SECS + self._gap_secs:
            self._tick()
        return self._stood_still_at

    @property
    def is_blocked(self) -> bool:
        """Whether stalls of STALL_SECS or more took more than half of the last WINDOW_SECS."""
        since = _now() - WINDOW_SECS
        return sum(delay for at, delay in self._delays if at >= since) > WINDOW_SECS / 2


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
