"""Measures the processor use of this process; its event loop is one thread and can use one core at most."""

import time
from collections import deque
from collections.abc import Callable

# Long enough that one log-in to a device does not look like a busy instance.
WINDOW_SECS = 6.0


class LoadMeter:
    """Compares the CPU time of the process with elapsed time."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu_clock: Callable[[], float] = time.process_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._readings = deque([(clock(), cpu_clock())])
        """Pairs of time and CPU time, oldest first. The first is the newest one that is WINDOW_SECS old, if any is."""

    def cpu_share(self) -> float:
        """The mean share of one core over about the last WINDOW_SECS; call it every few seconds.

        Above 1 when native threads compute beside the event loop.
        """
        now, cpu_secs = self._clock(), self._cpu_clock()
        while len(self._readings) > 1 and self._readings[1][0] <= now - WINDOW_SECS:
            self._readings.popleft()
        self._readings.append((now, cpu_secs))
        since, cpu_secs_before = self._readings[0]
        return (cpu_secs - cpu_secs_before) / (now - since) if now > since else 0.0
