"""What is typed, on its way to the device: at once when the device takes it, or in its turn."""

from collections.abc import Callable
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import DeviceError
from netstacks.terminal.transport import Transport

log = structlog.get_logger()

# What was typed or pasted and the device has not taken yet; the client is read on meanwhile, so that its pings are
# answered while a slow device takes a long paste.
TYPED_BYTES = 1024 * 1024


class Typist:
    """Types for all attachments of a session, in the order of their calls, while `may_type` says so.

    What may not be typed now waits for `go_on`, or for ever when the session turns out to be another instance's.
    """

    def __init__(self, session_id: UUID, transport: Transport, may_type: Callable[[], bool]) -> None:
        self._session_id = session_id
        self._transport = transport
        self._may_type = may_type
        self._waiting = bytearray()
        self._room = greenlets.Event()
        self._typing = False
        self._stopped = False

    def wait_for_room(self, is_there: Callable[[], bool]) -> None:
        """Waits while TYPED_BYTES are before the next key, and its client `is_there`."""
        while not self._stopped and len(self._waiting) >= TYPED_BYTES and is_there():
            self._room.clear()
            self._room.wait(1.0)

    def type(self, data: bytes) -> None:
        """Types what the device takes now; a greenlet types the rest."""
        may_type = self._may_type()
        # Behind what waits already, or nothing would be in its order.
        taken = self._try_type(data) if may_type and not self._typing and not self._waiting else 0
        if taken < len(data):
            self._waiting += data[taken:]
            if may_type:
                self.go_on()

    def go_on(self) -> None:
        """Types what waits."""
        if self._waiting and not self._typing:
            self._typing = True
            greenlets.spawn(f"session-typist-{self._session_id}", self._type)

    def stop(self) -> None:
        """Types no more; to be called before the transport is closed."""
        self._stopped = True
        # What allows it belongs to the session, and the two would keep each other in memory.
        self._may_type = _never
        self._room.set()

    def _try_type(self, data: bytes) -> int:
        try:
            return self._transport.try_write(data)
        except DeviceError as error:
            self._lost(error)
            return len(data)

    def _type(self) -> None:
        try:
            while self._waiting and self._goes_on():
                data = bytes(self._waiting)
                self._waiting.clear()
                self._room.set()
                written = self._transport.write(data, self._goes_on)
                self._waiting[:0] = data[written:]
        except DeviceError as error:
            self._lost(error)
        finally:
            self._typing = False

    def _goes_on(self) -> bool:
        return not self._stopped and self._may_type()

    def _lost(self, error: DeviceError) -> None:
        # The reader sees the end of the connection too, and says why.
        log.info("session.input_lost", session_id=str(self._session_id), error=str(error))


def _never() -> bool:
    return False
