"""The budget of one redraw: the device decides how much there is to draw, so the work is limited and sliced."""

import time
from collections.abc import Callable

from netstacks import greenlets

# The unit is one cell written together with others of its row: about 40 ns. An editor costs 230,000 cells at 80 x 24,
# and 1,700,000 at the largest size.
CELLS = 6_000_000
# The limit on slower hosts, in CPU time of the thread: waiting for the interpreter does not count.
SECS = 0.5
# A computing thread releases the interpreter every 5 ms only, and the event loop would wait that long each time. So the
# thread sleeps after this slice, for as long as it has computed.
_SLICE_SECS = 0.001
# The clock is read once per this many cells.
_LOOK_CELLS = 5_000


class OverBudget(BaseException):
    """The redraw would exceed its budget, or its client has left.

    Not an Exception: the player suppresses those, because pyte raises them for malformed output.
    """


class Budget:
    """Counts the cost of one redraw, for one thread; only `cancel` may be called from another."""

    def __init__(
        self,
        cells: int = CELLS,
        secs: float = SECS,
        *,
        clock: Callable[[], float] = time.thread_time,
        rest: Callable[[float], None] = greenlets.sleep_in_thread,
    ) -> None:
        self.spent = 0
        self.is_cancelled = False
        self._cells = cells
        self._secs = secs
        self._clock = clock
        self._rest = rest
        self._look_at = 0
        self._began_at: float | None = None
        self._slice_began_at = 0.0

    def cancel(self) -> None:
        """Ends the redraw at its next check of the clock."""
        self.is_cancelled = True

    def charge(self, cells: int) -> None:
        """Charges the work before it is done. Raises OverBudget when the budget does not suffice."""
        self.spent += cells
        if self.spent >= self._look_at:
            self._look()

    def _look(self) -> None:
        now = self._clock()
        if self._began_at is None:
            # Not in `__init__`, which runs in another thread: the clock counts this thread's time.
            self._began_at = self._slice_began_at = now
        if self.is_cancelled or self.spent > self._cells or now - self._began_at > self._secs:
            raise OverBudget
        self._look_at = min(self.spent + _LOOK_CELLS, self._cells + 1)
        if now - self._slice_began_at >= _SLICE_SECS:
            self._rest(now - self._slice_began_at)
            self._slice_began_at = self._clock()
