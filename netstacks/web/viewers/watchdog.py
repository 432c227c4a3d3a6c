"""Periodic checks of a viewer, also while its input waits for a slow device."""

import math
import time
from collections.abc import Callable

from netstacks import greenlets

# The interval of pings and of checks of the share: an upper limit for a revocation that did not reach the owner.
LOOK_SECS = 10.0


class Watchdog:
    """Calls `look` every LOOK_SECS, the first time `at_once` if wanted.

    The argument of `look` tells whether the viewer's input is being read: while it is not, its pongs are not read
    either. Use it in the greenlet that receives from the viewer.
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
        """Runs `work`, which may block, in another greenlet, and waits for it. Raises the errors of both."""
        working = greenlets.spawn("viewer-typing", work)
        while not working.ready():
            working.join(self.due_secs)
            self.look_if_due(is_read=False)
        working.get()


def _next_at() -> float:
    """Aligned to whole seconds, so that the viewers of a share check it together with one query."""
    return math.ceil(time.monotonic() + LOOK_SECS)
