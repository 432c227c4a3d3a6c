"""The writer of a session's input: at once when the device accepts it, else from a buffer, in order."""

from collections.abc import Callable
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import DeviceError
from netstacks.terminal.transport import Transport

log = structlog.get_logger()

# The limit of the buffer. Below it the client is still read: its pings are answered while a slow device accepts a
# long paste.
TYPED_BYTES = 1024 * 1024


class InputWriter:
    """Writes input of all attachments of a session, in the order of their calls, while `may_write` returns true.

    Input that may not be written yet waits for `resume`. It is never written when another instance owns the session.
    """

    def __init__(self, session_id: UUID, transport: Transport, may_write: Callable[[], bool]) -> None:
        self._session_id = session_id
        self._transport = transport
        self._may_write = may_write
        # Accepted and not yet written, in order. Later input goes behind it.
        self._waiting = bytearray()
        self._room = greenlets.Event()
        # Whether a greenlet is writing `_waiting`: one at most, or the order would be lost.
        self._is_writing = False
        self._stopped = False

    def wait_for_room(self, is_attached: Callable[[], bool]) -> None:
        """Waits while TYPED_BYTES of input wait, and the client `is_attached`."""
        while not self._stopped and len(self._waiting) >= TYPED_BYTES and is_attached():
            self._room.clear()
            self._room.wait(1.0)

    def write(self, data: bytes) -> None:
        """Writes what the device accepts now; a greenlet writes the rest. Never waits."""
        may_write = self._may_write()
        # Not past input that waits already: the order would be lost.
        written = self._try_write(data) if may_write and not self._is_writing and not self._waiting else 0
        if written < len(data):
            self._waiting += data[written:]
            if may_write:
                self.resume()

    def resume(self) -> None:
        """Writes the waiting input, in a greenlet."""
        if self._waiting and not self._is_writing:
            self._is_writing = True
            greenlets.spawn(f"session-input-{self._session_id}", self._write_waiting)

    def stop(self) -> None:
        """Stops writing; to be called before the transport is closed."""
        self._stopped = True
        # `may_write` refers to the session: a reference cycle would keep both in memory.
        self._may_write = _never
        self._room.set()

    def _try_write(self, data: bytes) -> int:
        try:
            return self._transport.try_write(data)
        except DeviceError as error:
            self._lost(error)
            return len(data)

    def _write_waiting(self) -> None:
        try:
            while self._waiting and self._may_continue():
                data = bytes(self._waiting)
                self._waiting.clear()
                self._room.set()
                written = self._transport.write(data, self._may_continue)
                self._waiting[:0] = data[written:]
        except DeviceError as error:
            self._lost(error)
        finally:
            self._is_writing = False

    def _may_continue(self) -> bool:
        return not self._stopped and self._may_write()

    def _lost(self, error: DeviceError) -> None:
        # The reader sees the end of the connection too, and ends the session with the reason.
        log.info("session.input_lost", session_id=str(self._session_id), error=str(error))


def _never() -> bool:
    return False
