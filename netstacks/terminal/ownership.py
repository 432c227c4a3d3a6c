"""Whether a session is still this instance's: to be known before a key is typed into it."""

import math
import time
from collections.abc import Callable

from netstacks.recording.session_recording import Recording

# A user whose keys have waited for so long is told why.
_TELL_SECS = 1.0


class Ownership:
    """After the process has stood still, PostgreSQL must say first that the session has not been claimed meanwhile.

    Keys that reach the old shell after another instance has opened a new one do harm. `stood_still_at` is when the
    process last went on, and `tell` shows the session's clients a line.
    """

    def __init__(self, recording: Recording, stood_still_at: Callable[[], float], tell: Callable[[str], None]) -> None:
        self._recording = recording
        self._stood_still_at = stood_still_at
        self._tell = tell
        self._asked_for = -math.inf
        self._asked_at = math.inf

    def stop(self) -> None:
        """Tells nothing more: what it would tell by holds it, too, and would stay in memory with it."""
        self._tell = _ignore

    def is_sure(self) -> bool:
        """If not, PostgreSQL is asked: the recording tells its session when it has answered."""
        stood_still_at = self._stood_still_at()
        if stood_still_at <= self._recording.owned_at:
            return True
        now = time.monotonic()
        if self._asked_for < stood_still_at:
            self._asked_for, self._asked_at = stood_still_at, now
            self._recording.recheck()
        elif now - self._asked_at > _TELL_SECS:
            self._asked_at = math.inf
            self._tell("this controller stood still: keys wait until the database says whose the session is")
        return False


def _ignore(text: str) -> None:
    pass
