"""A viewer's client: translates frames for it, tracks its position, and detects its death."""

import json
import time
from uuid import UUID

from netstacks.terminal import frames
from netstacks.terminal.attachment import KEEPALIVE_SECS
from netstacks.terminal.frames import CloseCode, FrameType
from netstacks.terminal.resume import SOFT_RESET, Resume
from netstacks.web.ws.routes import WebSocket

_WAITING = "the session's instance is gone; waiting for its user to reconnect"
_GOES_ON = "the session goes on"
# The payload of this instance's pings. An owner's ping carries an offset of eight bytes.
_OWN_PING = b""
_PINGS_BYTES = 16


class ViewerClient:
    """The sink of a view. It outlives a change of the session's owner.

    Owners send it frames with offsets. A client that does not speak offsets gets their content as Data frames.
    """

    def __init__(self, ws: WebSocket, *, speaks_offsets: bool) -> None:
        self._ws = ws
        self._speaks_offsets = speaks_offsets
        self._epoch: int | None = None
        self._offset = 0
        self._is_waiting = False
        self._heard_at = time.monotonic()
        self._delivered = 0

    @property
    def has_joined(self) -> bool:
        """Whether the client has received SessionInfo."""
        return self._epoch is not None

    @property
    def resume(self) -> Resume:
        """The position from which the next owner must continue."""
        if self._epoch is None:
            return Resume(None, None, tail=True)
        return Resume(self._epoch, self._offset, tail=False)

    # The sink of a view.

    def send(self, *messages: bytes) -> None:
        """Sends frames of the owner. Raises ConnectionClosed."""
        shown = [frame for message in messages for frame in self._shown(message)]
        if shown:
            self._ws.send(*shown)
        self._offset += sum(len(message) - 1 for message in messages if message[:1] == frames.data(b""))

    def ping(self, payload: bytes) -> None:
        """Passes a ping of the owner on. Its payload is the offset of the output before it."""
        if len(payload) == 8:
            # The offset may have moved past output that was skipped for a slow viewer.
            self._offset = int.from_bytes(payload, "big")
        self._ws.ping(payload)

    def can_take_now(self, size: int) -> bool:
        return self._ws.can_take_now(size)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        self._ws.close(code, reason)

    def abort(self) -> None:
        self._ws.abort()

    def delivered_bytes(self) -> int:
        return self._ws.delivered_bytes()

    def undelivered_bytes(self) -> int:
        return self._ws.undelivered_bytes()

    def _shown(self, message: bytes) -> list[bytes]:
        """The frames for this client. Application Pings of the owner are dropped: this instance sends its own."""
        match message[0]:
            case FrameType.SESSION_INFO:
                return self._joined(message)
            case FrameType.NOTICE if not self._speaks_offsets:
                return [frames.data(message[1:])]
            case FrameType.RESIZE if not self._speaks_offsets:
                return []
            case FrameType.PING:
                return []
        return [message]

    def _joined(self, message: bytes) -> list[bytes]:
        """Handles an owner's first frame, SessionInfo. The output after it is for an empty screen, or continues it."""
        info = json.loads(message[1:])
        former, self._epoch, self._offset = self._epoch, info["epoch"], info["offset"]
        was_waiting, self._is_waiting = self._is_waiting, False
        if former == self._epoch:
            size = self._shown(frames.resize(info["cols"], info["rows"]))
            return [*size, *(self._status_frames(False, _GOES_ON) if was_waiting else [])]
        if former is None or self._speaks_offsets:
            return [message]
        # Scrolls the old screen into the scrollback, where the viewer can still read it.
        fresh = SOFT_RESET + b"\x1b[999;1H" + b"\r\n" * info["rows"] + b"\x1b[H"
        return [message, frames.data(fresh)]

    # Messages of this instance.

    def tell_waiting(self, session_id: UUID, permission: str, viewer_id: UUID) -> None:
        """Shows, once, that the session has no owner. Raises ConnectionClosed."""
        if self._is_waiting:
            return
        self._is_waiting = True
        if not self.has_joined and not self._speaks_offsets:
            # Without SessionInfo such a client shows nothing.
            info = {"session_id": str(session_id), "permission": permission, "viewer_id": str(viewer_id)}
            self._ws.send(frames.session_info(type="shared", **info))
        self._ws.send(*self._status_frames(True, _WAITING))

    def _status_frames(self, is_unowned: bool, text: str) -> list[bytes]:
        """A line for the terminal, and for our own page the state that it shows beside the terminal."""
        line = self._line(text)
        return [frames.unowned(is_unowned), line] if self._speaks_offsets else [line]

    def _line(self, text: str) -> bytes:
        # The lost owner may have been in the middle of an escape sequence.
        line = f"\x18\r\n\x1b[33m[{text}]\x1b[0m\r\n".encode()
        return frames.notice(line) if self._speaks_offsets else frames.data(line)

    def keep_alive(self) -> None:
        """Pings the client, unless earlier frames are still in transit. Raises ConnectionClosed."""
        if self.can_take_now(_PINGS_BYTES):
            self._ws.send(frames.PING)
            self._ws.ping(_OWN_PING)

    def heard(self) -> None:
        """Records a sign of life of the client."""
        self._heard_at = time.monotonic()

    def is_dead(self, *, is_read: bool = True) -> bool:
        """Whether there was no sign of life for two keepalive intervals.

        Acknowledged bytes count as one for a slow client, and while its input is not read.
        """
        delivered = self.delivered_bytes()
        if delivered > self._delivered and (self.undelivered_bytes() or not is_read):
            self.heard()
        self._delivered = delivered
        return time.monotonic() - self._heard_at >= 2 * KEEPALIVE_SECS
