"""A viewer's client: what it has been sent, in the frames that it understands, and whether it lives."""

import json
import time
from uuid import UUID

from netstacks.terminal import frames
from netstacks.terminal.attachment import KEEPALIVE_SECS
from netstacks.terminal.frames import CloseCode, FrameType
from netstacks.terminal.resume import CALM, Resume
from netstacks.web.ws.routes import WebSocket

_WAITING = "the session's instance is gone; waiting for its user to reconnect"
_GOES_ON = "the session goes on"
# A ping of this instance: an owner's carries an offset, of eight bytes.
_OWN_PING = b""
_PINGS_BYTES = 16


class ViewerClient:
    """The sink of a view, whichever instance the session is at: it stays while the session changes its owner.

    Owners are to speak offsets to it. A client that does not understand them gets the same in Data frames alone.
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
        """Whether it has ever been shown the session."""
        return self._epoch is not None

    @property
    def resume(self) -> Resume:
        """Where the next owner is to go on."""
        if self._epoch is None:
            return Resume(None, None, tail=True)
        return Resume(self._epoch, self._offset, tail=False)

    # The sink of a view.

    def send(self, *messages: bytes) -> None:
        """Sends what an owner says. Raises ConnectionClosed."""
        shown = [frame for message in messages for frame in self._shown(message)]
        if shown:
            self._ws.send(*shown)
        self._offset += sum(len(message) - 1 for message in messages if message[:1] == frames.data(b""))

    def ping(self, payload: bytes) -> None:
        """Passes an owner's ping on, whose payload is the offset before it."""
        if len(payload) == 8:
            # Output that was left out for a slow viewer was never sent.
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
        """The frames for this client; an owner's Pings of the application are left out: this instance pings."""
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
        """The owner's SessionInfo comes first: what follows is for a screen that is empty, or goes on as it is."""
        info = json.loads(message[1:])
        former, self._epoch, self._offset = self._epoch, info["epoch"], info["offset"]
        was_waiting, self._is_waiting = self._is_waiting, False
        if former == self._epoch:
            size = self._shown(frames.resize(info["cols"], info["rows"]))
            return [*size, *(self._told(False, _GOES_ON) if was_waiting else [])]
        if former is None or self._speaks_offsets:
            return [message]
        # What was there scrolls away, so that its reader can still look at it.
        fresh = CALM + b"\x1b[999;1H" + b"\r\n" * info["rows"] + b"\x1b[H"
        return [message, frames.data(fresh)]

    # What this instance says by itself.

    def tell_waiting(self, session_id: UUID, permission: str, viewer_id: UUID) -> None:
        """Shows, once, that the session has no owner. Raises ConnectionClosed."""
        if self._is_waiting:
            return
        self._is_waiting = True
        if not self.has_joined and not self._speaks_offsets:
            # Before it such a client shows nothing.
            who = {"session_id": str(session_id), "permission": permission, "viewer_id": str(viewer_id)}
            self._ws.send(frames.session_info(type="shared", **who))
        self._ws.send(*self._told(True, _WAITING))

    def _told(self, is_unowned: bool, text: str) -> list[bytes]:
        """The line for the terminal, and for our own page the state that it shows beside the terminal."""
        line = self._line(text)
        return [frames.unowned(is_unowned), line] if self._speaks_offsets else [line]

    def _line(self, text: str) -> bytes:
        # The lost owner may have been in the middle of an escape sequence.
        line = f"\x18\r\n\x1b[33m[{text}]\x1b[0m\r\n".encode()
        return frames.notice(line) if self._speaks_offsets else frames.data(line)

    def keep_alive(self) -> None:
        """Has the client give a sign of life, if nothing is still on its way to it. Raises ConnectionClosed."""
        if self.can_take_now(_PINGS_BYTES):
            self._ws.send(frames.PING)
            self._ws.ping(_OWN_PING)

    def heard(self) -> None:
        """The client has given a sign of life."""
        self._heard_at = time.monotonic()

    def is_dead(self, *, is_read: bool = True) -> bool:
        """Whether there was no sign of life for two keepalives.

        That it takes bytes is a sign of a client that is slow, and of one that is not read now.
        """
        delivered = self.delivered_bytes()
        if delivered > self._delivered and (self.undelivered_bytes() or not is_read):
            self.heard()
        self._delivered = delivered
        return time.monotonic() - self._heard_at >= 2 * KEEPALIVE_SECS
