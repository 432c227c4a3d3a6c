"""Reports the stack that blocks the event loop: a native thread reads the main thread's stack during a stall."""

import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

import structlog

from netstacks import greenlets

log = structlog.get_logger()

STALL_SECS = 0.25
_PAUSE_SECS = 10.0
# The loop gets the time to tick before this thread looks again.
_SHORTEST_SLEEP_SECS = 0.05
_MOST_FRAMES = 25


class StallReporter:
    """Writes a line for a stall of STALL_SECS or more while it lasts, at most one in _PAUSE_SECS.

    `due_at` tells when the loop has to tick next, by the monotonic clock. The line has functions and line numbers only:
    arguments and variables may hold secrets.
    """

    def __init__(self, due_at: Callable[[], float]) -> None:
        self._due_at = due_at
        self._loop_thread = 0

    def start(self) -> None:
        """To be called in the loop's thread."""
        self._loop_thread = greenlets.this_thread()
        greenlets.start_thread(self._run)

    def _run(self) -> None:
        # No waiting for a greenlet in here, nor for anything else of gevent: this thread has no hub.
        may_report_at = time.monotonic()
        while True:
            due_at, computed_secs = self._due_at(), time.process_time()
            wakes_at = max(due_at + STALL_SECS, may_report_at)
            greenlets.sleep_in_thread(max(_SHORTEST_SLEEP_SECS, wakes_at - time.monotonic()))
            if self._due_at() != due_at:
                continue
            overslept_secs = time.monotonic() - wakes_at
            # Held up as well, while nothing was computed: the whole process was frozen, and no code of it is to blame.
            if overslept_secs < STALL_SECS or time.process_time() - computed_secs > overslept_secs / 2:
                self._report(time.monotonic() - due_at)
                may_report_at = time.monotonic() + _PAUSE_SECS

    def _report(self, stands_still_secs: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        log.warning("loop.stands_still", for_secs=round(stands_still_secs, 2), stack=" < ".join(_functions(frame)))


def _functions(frame: FrameType | None) -> Iterator[str]:
    """The functions of a stack, the innermost first."""
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        yield f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}:{frame.f_lineno}"
        frame = frame.f_back
