"""The control of this instance's drain: who asked for it, and until when it can be cancelled."""

from netstacks import greenlets
from netstacks.errors import Conflict

# How long a cancel waits for the drain to notice it.
_NOTICE_SECS = 2.0


class DrainControl:
    """One drain at a time. SIGTERM's cannot be cancelled, an administrator's can until its hand-over has ended.

    Invariants: `is_leaving` and `is_terminated` never become False again. `_is_cancelled` is only True while a drain
    was requested. No method but `wait` and `cancel` yields.
    """

    def __init__(self) -> None:
        self.is_terminated = False
        """Whether SIGTERM has been received."""
        self.is_leaving = False
        """Whether the hand-over has ended: the process stops."""
        self._is_cancelled = False
        self._requested = greenlets.Event()
        self._resumed = greenlets.Event()

    def request(self) -> None:
        """Begins a drain that can be cancelled; a request after a cancel voids the cancel. Returns at once."""
        self._is_cancelled = False
        self._resumed.clear()
        self._requested.set()

    def terminate(self) -> None:
        """Begins a drain that cannot be cancelled, or makes the current one final. For a signal handler."""
        self.is_terminated = True
        self._requested.set()

    def wait(self) -> None:
        """Waits until a drain is requested."""
        self._requested.wait()

    @property
    def is_requested(self) -> bool:
        """Whether a drain is under way, or about to begin."""
        return bool(self._requested.is_set())

    @property
    def is_cancelled(self) -> bool:
        """Whether the drain must stop where it is, and the instance serve on."""
        return self._is_cancelled and not self.is_terminated

    def cancel(self) -> None:
        """Cancels the drain; returns when the instance serves again, or soon will.

        Raises Conflict when that is impossible.
        """
        self.check_cancel()
        self._is_cancelled = True
        if self._resumed.wait(_NOTICE_SECS) and not self.is_terminated:
            return
        self.check_cancel()
        if not self._is_cancelled:
            raise Conflict("another drain of the instance was requested meanwhile")

    def check_cancel(self) -> None:
        """Raises Conflict, with what to do instead, when no drain is under way that can be cancelled."""
        if not self._requested.is_set():
            raise Conflict("the instance is not draining, so there is nothing to cancel")
        if self.is_terminated:
            raise Conflict(
                "the drain cannot be cancelled: its process was told to stop (SIGTERM). Start it again when it has"
                " ended"
            )
        if self.is_leaving:
            raise Conflict(
                "it is too late to cancel the drain: all sessions are handed over and the process stops. Start it again"
                " when it has ended"
            )

    def request_cancel(self) -> bool:
        """Cancels the drain without waiting for it; False when that is impossible."""
        try:
            self.check_cancel()
        except Conflict:
            return False
        self._is_cancelled = True
        return True

    def leave(self) -> bool:
        """Passes the point of no return; False when the drain was cancelled before."""
        if self.is_cancelled:
            return False
        self.is_leaving = True
        return True

    def resume(self) -> None:
        """Ends a cancelled drain: this instance serves again."""
        self._is_cancelled = False
        self._requested.clear()
        # A signal handler may run between any two statements: a SIGTERM that came before `clear` must not be lost.
        if self.is_terminated:
            self._requested.set()
        self._resumed.set()
