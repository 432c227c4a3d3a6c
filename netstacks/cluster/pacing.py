"""The rate at which an instance opens terminals: the highest that keeps its event loop and PostgreSQL responsive.

The rate is found by trial, as TCP finds the rate of a path: additive increase while nothing is strained,
multiplicative decrease otherwise (RFC 5681).
"""

from dataclasses import dataclass

_START_PER_SEC, _LOWEST_PER_SEC, _HIGHEST_PER_SEC = 25.0, 2.0, 400.0
# Operators plan capacity with this pace. Lag that stays within the limit for keystrokes prevents a higher pace, but
# does not reduce the pace below this.
_PLANNED_PER_SEC = 25.0
_UP, _DOWN = 1.5, 0.75
# A keystroke passes the loop twice on its way to the device and back, and must be echoed within 50 ms. The worst lag
# within a second is several times the 90th percentile that is compared here.
LAG_SECS = 0.01
MAX_LAG_SECS = 0.05
# With more waiting transactions, each waits for longer than it runs.
_WAITING_FOR_CONNECTION = 6
# The burst: unused permits of this time may be used at once.
_BURST_SECS = 0.4
_MIN_BURST = 8.0


@dataclass(frozen=True)
class Strain:
    """The strain since the last step."""

    lag_secs: float
    """By how much timers fired late: the 90th percentile."""
    waiting_for_connection: int
    """Transactions that waited for a connection to PostgreSQL."""

    def is_too_much_for(self, per_sec: float) -> bool:
        most_lag_secs = LAG_SECS if per_sec > _PLANNED_PER_SEC else MAX_LAG_SECS
        return self.lag_secs > most_lag_secs or self.waiting_for_connection > _WAITING_FOR_CONNECTION


class Pace:
    """A token bucket whose rate adapts. Times are of one monotonic clock, in seconds."""

    def __init__(self, now: float) -> None:
        self.per_sec = _START_PER_SEC
        self._tokens = self._burst
        self._filled_at = now

    @property
    def _burst(self) -> float:
        return max(_MIN_BURST, self.per_sec * _BURST_SECS)

    def adapt(self, strain: Strain, *, is_wanted: bool) -> None:
        """Adapts the rate by one step. Without demand it does not rise: nothing shows that more is sustainable."""
        if strain.is_too_much_for(self.per_sec):
            self.per_sec = max(_LOWEST_PER_SEC, self.per_sec * _DOWN)
        elif is_wanted:
            self.per_sec = min(_HIGHEST_PER_SEC, self.per_sec + _UP)

    def take(self, now: float) -> bool:
        """Takes a token; False when none is left."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self.per_sec)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
