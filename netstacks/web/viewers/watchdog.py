"""Looking after a viewer: every few seconds, whether it is read, or waits until the device takes what it has typed."""

import math
import time
from collections.abc import Callable

from netstacks import greenlets

# How often a viewer is pinged, and its share looked at: what no message told the owner, it finds out by then.
LOOK_SECS = 10.0


class Watchdog:
    """Calls `look` when it is due, which it is first `at_once` or after a while.

    Its argument tells whether the viewer is read: while it is not, its pongs wait unread, too. To be used by the
    greenlet that receives from the viewer.
    """

    def __init__(self, look: Callable[[bool], None], *, at_once: bool = False) -> None:
        self._look = look
        self._at = time.monotonic() if at_once else _next_at()

    @property
    def due_secs(self) -> float:
        return max(0.0, self._at - time.monotonic())

    def look_if_due(self, is_read: bool = True) -> None:
        if time.monotonic() >= self._at:
            self._look(is_read)
            self._at = _next_at()

    def during(self, work: Callable[[], None]) -> None:
        """Returns when `work`, which may wait, has ended in a greenlet of its own. Raises what it or `look` raises."""
        working = greenlets.spawn("viewer-typing", work)
        while not working.ready():
            working.join(self.due_secs)
            self.look_if_due(is_read=False)
        working.get()


def _next_at() -> float:
    """Those who look, look together once a second: the viewers of a share then ask about it once."""
    return math.ceil(time.monotonic() + LOOK_SECS)
