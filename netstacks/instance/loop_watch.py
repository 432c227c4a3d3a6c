"""Whether the event loop has stood still: the process was frozen, or something computed for too long in one piece."""

import math
import time
from collections import deque

from netstacks import greenlets

_TICK_SECS = 0.25
# Health calls the loop blocked when it stood still for more than half of this time.
WINDOW_SECS = 10.0


class LoopWatch:
    """Looks at the clock a few times a second. Standing still for `gap_secs` is told in `stood_still_at`.

    By the clock that goes on while the host sleeps: its peers go on, too.
    """

    def __init__(self, gap_secs: float) -> None:
        self._gap_secs = gap_secs
        self._ticked_at = _now()
        self._stood_still_at = -math.inf
        self._delays: deque[tuple[float, float]] = deque()
        self.background = greenlets.Background("loop-watch", self._run)

    def start(self) -> None:
        self._ticked_at = _now()
        self.background.start()

    def _run(self) -> None:
        while True:
            greenlets.sleep(_TICK_SECS)
            self._tick()

    def _tick(self) -> None:
        now = _now()
        delay, self._ticked_at = now - self._ticked_at - _TICK_SECS, now
        if delay > self._gap_secs:
            self._stood_still_at = time.monotonic()
        if delay > 0:
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
        """Whether the loop has lately stood still more than it ran."""
        since = _now() - WINDOW_SECS
        return sum(delay for at, delay in self._delays if at >= since) > WINDOW_SECS / 2


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
