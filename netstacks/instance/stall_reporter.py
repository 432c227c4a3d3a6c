"""Reports the stack that blocks the event loop: a native thread reads the loop thread's stack during a stall."""

import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

import structlog

from netstacks import greenlets

log = structlog.get_logger()

STALL_SECS = 0.25
_PAUSE_SECS = 10.0
# Gives the loop the time to tick before this thread checks again.
_MIN_SLEEP_SECS = 0.05
_MAX_FRAMES = 25


class StallReporter:
    """Logs a line during a stall of STALL_SECS or more, at most one in _PAUSE_SECS.

    `due_at` returns when the loop's next tick is due, by the monotonic clock. The line has functions and line numbers
    only: arguments and variables may contain secrets.
    """

    def __init__(self, due_at: Callable[[], float]) -> None:
        self._due_at = due_at
        self._loop_thread = 0

    def start(self) -> None:
        """Starts the reporting thread; call it in the thread of the loop."""
        self._loop_thread = greenlets.thread_id()
        greenlets.start_thread(self._run)

    def _run(self) -> None:
        # No gevent call in here: this thread has no hub, and one created for it would never run.
        may_report_at = time.monotonic()
        while True:
            due_at, computed_secs = self._due_at(), time.process_time()
            wakes_at = max(due_at + STALL_SECS, may_report_at)
            greenlets.sleep_in_thread(max(_MIN_SLEEP_SECS, wakes_at - time.monotonic()))
            if self._due_at() != due_at:
                continue
            overslept_secs = time.monotonic() - wakes_at
            # If this thread overslept as well without CPU time used, the process was frozen, and no code is at fault.
            if overslept_secs < STALL_SECS or time.process_time() - computed_secs > overslept_secs / 2:
                self._report(time.monotonic() - due_at)
                may_report_at = time.monotonic() + _PAUSE_SECS
            else:
                # A loop that does not tick after the freeze either is at fault: this thread will not have overslept.
                may_report_at = time.monotonic() + STALL_SECS

    def _report(self, stalled_secs: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        log.warning("loop.stands_still", for_secs=round(stalled_secs, 2), stack=" < ".join(_functions(frame)))


def _functions(frame: FrameType | None) -> Iterator[str]:
    """The functions of a stack, the innermost first."""
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return
        yield f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}:{frame.f_lineno}"
        frame = frame.f_back
