"""A client in the waiting room: its socket, its unread input, and the progress that it is sent."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from websockets.frames import Close, Frame, Opcode
from websockets.frames import CloseCode as WsCloseCode

from netstacks.cluster.admission import Place
from netstacks.instance.admission import Grant
from netstacks.instance.applicants import about
from netstacks.terminal import frames
from netstacks.terminal.frames import CloseCode
from netstacks.web.auth.tokens import Subject

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The limit of buffered input: what a client sends while it waits is delivered to its session.
_UNREAD_BYTES = 64 * 1024
_READ_BYTES = 4096
# The Terminal client closes a connection whose pings were not answered for 65 s, and load balancers one on which the
# controller is silent for 15 s.
_PONG_SECS = 5.0
_REASON_BYTES = 120
# Statuses that a retry would get again. After a 401 the client reconnects with a new access token, or is refused at the
# handshake.
_FINAL = (400, 403, 404, 422)


@dataclass(frozen=True)
class WaitingRequest:
    """A request that waits, since `since` (seconds since 1970). `token` is None for a new terminal."""

    subject: Subject
    token: UUID | None
    query: Mapping[str, str]
    since: float


class WaitingClient:
    """One waiting client, as an entry of the admission queue.

    Its input is buffered without being parsed: the session's owner, which may be another instance, receives it.
    """

    def __init__(
        self,
        environ: "WSGIEnvironment",
        sock: socket.socket,
        request: WaitingRequest,
        *,
        ticket: str,
        on_turn: Callable[["WaitingClient", Grant], None],
        on_gone: Callable[["WaitingClient"], None],
        on_room: Callable[["WaitingClient"], bool],
    ) -> None:
        sock.settimeout(0)
        self.environ = environ
        self.socket = sock
        self.request = request
        self.ticket = ticket
        self.unread = bytearray()
        self.place: Place | None = None
        self.tries_until = 0.0
        """The time after which a failed attempt is final (monotonic clock); 0 before the first attempt."""
        self.owner_until = 0.0
        """The time until which an overdue owner of the session may return (monotonic clock); 0 without one."""
        self.stays = False
        """Whether another instance has refused the client for a reason other than capacity."""
        self._speaks_offsets = "offset" in request.query
        self._on_turn, self._on_gone, self._on_room = on_turn, on_gone, on_room
        self._scanned = 0
        """The offset in `unread` of the next frame."""
        self._is_lost = False
        self._has_progress_line = False
        self._ponged_at = time.monotonic()

    def drop_if_gone(self) -> bool:
        if not self._is_lost and self._is_there():
            return False
        self._on_gone(self)
        self.socket.close()
        return True

    def _is_there(self) -> bool:
        try:
            while len(self.unread) < _UNREAD_BYTES:
                data = self.socket.recv(_READ_BYTES)
                if not data:
                    return False
                self.unread += data
                if self._has_closed():
                    return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _has_closed(self) -> bool:
        """Whether one of the complete frames in `unread` is a close frame (RFC 6455, 5.2)."""
        data = self.unread
        while len(data) - self._scanned >= 2:
            at = self._scanned
            if data[at] & 0x0F == Opcode.CLOSE:
                return True
            size, head = data[at + 1] & 0x7F, 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, head = int.from_bytes(data[at + 2 : at + 2 + width], "big"), 2 + width
            end = at + head + (4 if data[at + 1] & 0x80 else 0) + size
            if end > len(data):
                break
            self._scanned = end
        return False

    def show_place(self, place: int, wait_secs: float) -> None:
        if self._speaks_offsets:
            owner_secs = self.owner_until - time.monotonic()
            self._send_frame(
                frames.waiting(
                    place=place,
                    wait_secs=round(max(wait_secs, owner_secs)),
                    ticket=self.ticket,
                    why="owner" if self.owner_until else "queue",
                )
            )
            return
        if time.monotonic() - self._ponged_at >= _PONG_SECS:
            self._ponged_at = time.monotonic()
            self._send_frame(frames.PONG)
        # A client that resumes still shows its screen under a cover: no text may be written into it.
        if self.request.token is None:
            self._has_progress_line = True
            words = f"many terminals are being opened: place {place}, {about(wait_secs)}"
            self._send_frame(frames.data(f"\r\x1b[K[{words}]".encode()))

    def awaits_owner(self, secs: float | None) -> None:
        """Notes the seconds within which the overdue owner of the session returns or loses it; None without one."""
        self.owner_until = time.monotonic() + secs if secs is not None else 0.0

    def admit(self, grant: Grant) -> None:
        self._on_turn(self, grant)

    def hand_on(self) -> bool:
        return not self.stays and self._on_room(self)

    def begin(self) -> None:
        """Erases the progress line before the client is served."""
        if self._has_progress_line:
            self._has_progress_line = False
            self._send_frame(frames.data(b"\r\x1b[K"))

    def refuse(self, status: int, body: bytes) -> None:
        """Sends an HTTP error as an Error frame and a close, because the upgrade was accepted before."""
        try:
            message = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            message = f"an unexpected error ({status})"
        if status in _FINAL:
            self._send_frame(frames.error(message))
            self.close(CloseCode.REFUSED, message)
        else:
            self.close(CloseCode.RESTARTING if status in (401, 503) else WsCloseCode.INTERNAL_ERROR, message)

    def close(self, code: int, reason: str) -> None:
        payload = Close(code, reason.encode()[:_REASON_BYTES].decode(errors="ignore")).serialize()
        self.send(Frame(Opcode.CLOSE, payload).serialize(mask=False))
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            # Unread input would turn the close into a TCP reset, and the client would lose the close frame.
            self.socket.settimeout(0)
            for _ in range(_UNREAD_BYTES // _READ_BYTES):
                if not self.socket.recv(_READ_BYTES):
                    break
        self.socket.close()

    def _send_frame(self, message: bytes) -> None:
        self.send(Frame(Opcode.BINARY, message).serialize(mask=False))

    def send(self, data: bytes) -> None:
        """Sends a small message without waiting. A client whose buffer is full counts as gone."""
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            # A partial frame cannot be completed later.
            self._is_lost = True
