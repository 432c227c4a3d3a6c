"""What one redraw may cost. A device decides what there is to draw, so the work is counted and done in slices."""

import time
from collections.abc import Callable

from netstacks import greenlets

# The unit is a cell that is written among others of its row: about 40 ns. An editor takes 230,000 of them at 80 x 24,
# and 1,700,000 at the largest size.
CELLS = 6_000_000
# For a host on which a cell costs more. Of the thread's own time: waiting for the interpreter does not count.
SECS = 0.5
# A thread that computes gives up the interpreter every 5 ms, and the event loop waits for it whenever it has something
# to do. So the thread rests sooner, and for as long as it has computed.
_SLICE_SECS = 0.001
# The clock is read once in so many cells.
_LOOK_CELLS = 5_000


class OverBudget(BaseException):
    """The redraw would cost more than it may, or its client has gone.

    Not an Exception: those are suppressed where pyte trips over what a device sends.
    """


class Budget:
    """Counts what one redraw has cost. For one thread; only `cancel` is called from another one."""

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
        """Ends the redraw at its next look at the clock."""
        self.is_cancelled = True

    def charge(self, cells: int) -> None:
        """To be called before the work is done. Raises OverBudget when too little is left for it."""
        self.spent += cells
        if self.spent >= self._look_at:
            self._look()

    def _look(self) -> None:
        now = self._clock()
        if self._began_at is None:
            # Not in `__init__`: the clock is that of the thread that computes.
            self._began_at = self._slice_began_at = now
        if self.is_cancelled or self.spent > self._cells or now - self._began_at > self._secs:
            raise OverBudget
        self._look_at = min(self.spent + _LOOK_CELLS, self._cells + 1)
        if now - self._slice_began_at >= _SLICE_SECS:
            self._rest(now - self._slice_began_at)
            self._slice_began_at = self._clock()
