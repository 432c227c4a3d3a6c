"""How much of a processor this process uses: the event loop is one thread, so one core is all that it can have."""

import time
from collections import deque
from collections.abc import Callable

# Long enough that one log-in to a device does not look like a busy instance.
WINDOW_SECS = 6.0


class LoadMeter:
    """Compares the process's CPU time with the clock."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu_clock: Callable[[], float] = time.process_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._readings = deque([(clock(), cpu_clock())])
        """Times and the CPU time used until then; the first is the newest one that is WINDOW_SECS old, if any is."""

    def cpu_share(self) -> float:
        """The mean share of one core since the first call within WINDOW_SECS, or the last one before it.

        Above 1 when native threads compute beside the event loop. To be called every few seconds.
        """
        now, cpu_secs = self._clock(), self._cpu_clock()
        while len(self._readings) > 1 and self._readings[1][0] <= now - WINDOW_SECS:
            self._readings.popleft()
        self._readings.append((now, cpu_secs))
        since, cpu_secs_before = self._readings[0]
        return (cpu_secs - cpu_secs_before) / (now - since) if now > since else 0.0
