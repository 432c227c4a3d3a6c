"""How many terminals an instance opens a second: as many as leave its event loop and its database responsive.

The rate is found by trial, as TCP finds the rate of a path: up a little while nothing suffers, down a lot when
something does (additive increase, multiplicative decrease: RFC 5681).
"""

from dataclasses import dataclass

_START_PER_SEC, _LOWEST_PER_SEC, _HIGHEST_PER_SEC = 25.0, 2.0, 400.0
# Operators plan with this pace: a loop that is late by less than keys may take is a reason to go no faster than it, and
# not a reason to go slower.
_PLANNED_PER_SEC = 25.0
_UP, _DOWN = 1.5, 0.75
# A key passes the loop twice on its way to the device and back, and is to be echoed within 50 ms. The worst lag of a
# second is several times the one that is compared here.
LAG_SECS = 0.01
MOST_LAG_SECS = 0.05
# Beyond this, a transaction waits for longer than it takes.
_WAITING_FOR_CONNECTION = 6
# What was not used up may be used at once, but for no longer than this.
_BURST_SECS = 0.4
_LEAST_BURST = 8.0


@dataclass(frozen=True)
class Strain:
    """What suffered since the last step."""

    lag_secs: float
    """By how much timers fired late: the worst but one in ten."""
    waiting_for_connection: int
    """Transactions that waited for a connection to PostgreSQL."""

    def is_too_much_for(self, per_sec: float) -> bool:
        most_lag_secs = LAG_SECS if per_sec > _PLANNED_PER_SEC else MOST_LAG_SECS
        return self.lag_secs > most_lag_secs or self.waiting_for_connection > _WAITING_FOR_CONNECTION


class Pace:
    """A token bucket whose rate adapts. Times are of one monotonic clock, in seconds."""

    def __init__(self, now: float) -> None:
        self.per_sec = _START_PER_SEC
        self._tokens = self._burst
        self._filled_at = now

    @property
    def _burst(self) -> float:
        return max(_LEAST_BURST, self.per_sec * _BURST_SECS)

    def adapt(self, strain: Strain, *, is_wanted: bool) -> None:
        """One step of the search. Without demand the rate does not rise: nothing proves that it could be kept."""
        if strain.is_too_much_for(self.per_sec):
            self.per_sec = max(_LOWEST_PER_SEC, self.per_sec * _DOWN)
        elif is_wanted:
            self.per_sec = min(_HIGHEST_PER_SEC, self.per_sec + _UP)

    def take(self, now: float) -> bool:
        """Whether one more may be opened now."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self.per_sec)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
