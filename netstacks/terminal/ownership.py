"""The ownership check: input goes to the device only while this instance is known to own the session."""

import math
import time
from collections.abc import Callable

from netstacks.recording.session_recording import Recording

# A notice explains the delay to a user whose input has waited this long.
_NOTICE_SECS = 1.0


class Ownership:
    """After a stall of the process PostgreSQL must confirm that no other instance has claimed the session meanwhile.

    Input that reaches the old shell after another instance has opened a new one would run commands twice, or out of
    context. `stood_still_at` is the time at which the process last resumed, by the monotonic clock; `show_notice` shows
    a line to the session's clients.
    """

    def __init__(
        self, recording: Recording, stood_still_at: Callable[[], float], show_notice: Callable[[str], None]
    ) -> None:
        self._recording = recording
        self._stood_still_at = stood_still_at
        self._show_notice = show_notice
        # The stall that the last query was for, and the time of the query; math.inf once the notice is shown.
        self._queried_stall = -math.inf
        self._queried_at = math.inf

    def stop(self) -> None:
        """Shows no more notices. `show_notice` refers to the session: a reference cycle would keep both in memory."""
        self._show_notice = _ignore

    def is_sure(self) -> bool:
        """Whether the ownership is confirmed since the last stall. If not, PostgreSQL is queried.

        The recording calls `on_owned` when the answer is there.
        """
        stood_still_at = self._stood_still_at()
        if stood_still_at <= self._recording.owned_at:
            return True
        now = time.monotonic()
        if self._queried_stall < stood_still_at:
            self._queried_stall, self._queried_at = stood_still_at, now
            self._recording.recheck()
        elif now - self._queried_at > _NOTICE_SECS:
            self._queried_at = math.inf
            self._show_notice(
                "this controller was suspended: input waits until the database confirms that the session is still here"
            )
        return False


def _ignore(text: str) -> None:
    pass
