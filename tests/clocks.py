"""Clocks for tests of time limits, in which a pause of the machine does not count."""

import time


class SteadyClock:
    """Real time in steps of at most `longest_step_secs` from one reading to the next: a longer pause is cut short."""

    def __init__(self, longest_step_secs: float) -> None:
        self._longest_step_secs = longest_step_secs
        self._now = self._read_at = time.monotonic()

    def monotonic(self) -> float:
        read_at = time.monotonic()
        self._now += min(read_at - self._read_at, self._longest_step_secs)
        self._read_at = read_at
        return self._now
