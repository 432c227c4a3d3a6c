"""The interface between a session and the connection to its device."""

from collections.abc import Callable
from typing import Any, Protocol


class Transport(Protocol):
    """A terminal's two-way connection. Every method may be called from any greenlet."""

    def read(self, max_bytes: int) -> bytes | None:
        """Waits for output. Returns b"" when the device has closed the shell, None after some seconds of silence."""

    def call_when_readable(self, callback: Callable[[], Any]) -> None:
        """Calls `callback` once when a read would not wait: a silent device needs no waiting greenlet."""

    def try_write(self, data: bytes) -> int:
        """Writes what the device accepts at once, and returns the number of bytes. Raises as `write` does."""

    def write(self, data: bytes, goes_on: Callable[[], bool] = lambda: True) -> int:
        """Writes, and waits while the device accepts nothing. Returns the number of bytes: all, unless `goes_on` fails.

        Raises DeviceError when the connection is gone.
        """

    def resize(self, cols: int, rows: int) -> None: ...

    def close(self) -> None:
        """Closes the connection, and wakes the greenlets in `read` and `write`. May be called twice."""

    @property
    def close_reason(self) -> str:
        """The reason for a b"" from `read`, as a text for the user."""
