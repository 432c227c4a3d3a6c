"""The device reader: takes a session's output from the device until its shell ends."""

from functools import partial
from typing import Protocol

import structlog

from netstacks import greenlets
from netstacks.errors import DeviceError
from netstacks.terminal import metrics
from netstacks.terminal.backpressure import Backpressure, HeldSession
from netstacks.terminal.charset import Charset
from netstacks.terminal.transport import Transport

log = structlog.get_logger()

READ_BYTES = 64 * 1024
# Output of this size is seldom the last: after a short pause more of it comes in one piece, which costs far less.
# Longer pauses would look like a slow network to the device's congestion control.
_BURST_BYTES = 1024
_BURST_PAUSE_SECS = 0.0005


class DeviceSession(HeldSession, Protocol):
    """What the reader needs of its session."""

    def take(self, data: bytes) -> None: ...
    def end(self, reason: str) -> None: ...


class DeviceReader:
    """Reads in a greenlet while the device sends; a silent device needs none.

    The session is an argument, not a member: the two would keep each other in memory until the garbage collector runs.
    """

    def __init__(self, transport: Transport, charset: Charset) -> None:
        self._transport = transport
        self._charset = charset
        self._backpressure = Backpressure()

    def start(self, session: DeviceSession) -> None:
        """Reads the device from now on; ends the session when the device closes its shell."""
        greenlets.spawn(f"session-reader-{session.id}", self._read, session)

    def reconsider(self) -> None:
        """See `Backpressure.reconsider`."""
        self._backpressure.reconsider()

    def _read(self, session: DeviceSession) -> None:
        try:
            while session.is_live:
                self._backpressure.wait_for_room(session)
                data = self._transport.read(READ_BYTES)
                if data is None:
                    self._transport.call_when_readable(partial(self.start, session))
                    return
                if not data:
                    break
                session.take(self._charset.to_user(data))
                metrics.DEVICE_BYTES.value += len(data)
                if _BURST_BYTES <= len(data) < READ_BYTES:
                    greenlets.sleep(_BURST_PAUSE_SECS)
            session.end(self._transport.close_reason)
        except DeviceError as error:
            session.end(str(error))
        except Exception:
            # A session without a reader must not look alive.
            log.exception("session.failed", session_id=str(session.id))
            session.end("an unexpected error, logged by the controller")
