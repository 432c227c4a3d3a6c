"""What a session needs of the connection to its device."""

from collections.abc import Callable
from typing import Any, Protocol


class Transport(Protocol):
    """A terminal's two-way connection; any of its methods may be called from any greenlet."""

    def read(self, max_bytes: int) -> bytes | None:
        """Waits for output; b"" when the device has closed the shell, None when it has been silent for some seconds."""

    def call_when_readable(self, callback: Callable[[], Any]) -> None:
        """Calls `callback` once when a read would not wait; a silent device needs no greenlet that waits for it."""

    def try_write(self, data: bytes) -> int:
        """Types what the device takes at once, and returns how many bytes that were. Raises as `write` does."""

    def write(self, data: bytes, goes_on: Callable[[], bool] = lambda: True) -> int:
        """Types; waits while the device takes nothing. Returns how many bytes were typed: all, while `goes_on` says so.

        Raises DeviceError when the connection is gone.
        """

    def resize(self, cols: int, rows: int) -> None: ...

    def close(self) -> None:
        """Ends the connection; whoever waits in `read` or `write` is woken. May be called twice."""

    @property
    def close_reason(self) -> str:
        """Why `read` returned b"", in words for the user."""
