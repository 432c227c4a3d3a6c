"""One accepted WebSocket: `websockets` knows the protocol, the frame writer writes, the caller of `receive` reads."""

import contextlib
import math
import socket
import time
from collections.abc import Callable
from typing import cast

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from netstacks import greenlets
from netstacks.errors import ConnectionClosed
from netstacks.web.ws.fragmenting import Fragmenter
from netstacks.web.ws.frame_writer import FrameWriter
from netstacks.web.ws.message_assembly import MAX_MESSAGE_BYTES, Assembler, MessageTooBig

READ_BYTES = 64 * 1024
CLOSE_TIMEOUT_SECS = 2.0
# A pong that the kernel had no room for is tried again this often.
_PONG_RETRY_SECS = 0.2
# An idle receiver wakes up for nothing this often.
_IDLE_SECS = 3600.0
# A TCP connection that neither side has closed (the kernel's TCP_ESTABLISHED).
_ESTABLISHED = 1
# The payload of a control frame without the close code (RFC 6455, 5.5).
_REASON_BYTES = 123


class _TimeIsUp(Exception):
    """A deadline of this module has passed."""


class WebSocket:
    """Messages in both directions; any greenlet may call any method.

    Nothing is read except in `receive`, so TCP holds back a peer whose messages nobody takes. `receive` never waits
    for a peer that does not read, but at most CLOSE_TIMEOUT_SECS to answer its close.
    """

    on_pong: Callable[[bytes], None] | None = None
    """Called from the receiving greenlet with the payload of each pong, in its place between the messages."""

    def __init__(self, sock: socket.socket, protocol: ServerProtocol) -> None:
        self._socket = sock
        self._protocol = protocol
        self._frame_writer = FrameWriter(sock)
        self._reading = greenlets.BoundedSemaphore(1)
        self._fragmenter = Fragmenter()
        self._assembler = Assembler()
        self._frames: list[Frame] = []

    def start(self, answer: bytes, unread: bytes) -> None:
        """Sends the handshake's answer, and takes in what the client sent without waiting for it.

        A client that has gone meanwhile is noticed by `receive`.
        """
        with contextlib.suppress(ConnectionClosed):
            self._send(lambda: [answer])
        if unread:
            self._take_in(unread)

    @property
    def close_code(self) -> int | None:
        """What the peer closed with; 1005 when it named nothing, None when it has not closed."""
        close = self._protocol.close_rcvd
        return int(close.code) if close else None

    @property
    def close_reason(self) -> str:
        """The text that came with the peer's close code."""
        close = self._protocol.close_rcvd
        return close.reason if close else ""

    def receive(self, timeout: float | None = None) -> bytes | str | None:
        """The next message; None when there is none within `timeout` seconds. Raises ConnectionClosed.

        Of a Data message that is long, or comes in fragments, each piece is a Data message: it is never held whole.
        What the peer sent before it closed is returned first.
        """
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        while (message := self._next_message()) is None:
            if self._protocol.state is not State.OPEN:
                raise self._closed()
            longest_secs = _PONG_RETRY_SECS if self._frame_writer.is_behind else _IDLE_SECS
            wait_secs = min(max(0.0, ends_at - time.monotonic()), longest_secs)
            if not self._read(wait_secs) and time.monotonic() >= ends_at:
                return None
        return message

    def send(self, *messages: bytes | str) -> None:
        """Sends whole messages, waiting for a slow reader as long as it takes. Raises ConnectionClosed."""

        def frames() -> list[bytes]:
            for message in messages:
                if isinstance(message, str):
                    self._protocol.send_text(message.encode())
                else:
                    self._protocol.send_binary(message)
            # In one piece: a call of the kernel costs more than the copy.
            return [b"".join(self._protocol.data_to_send())]

        self._send(frames)

    def can_take_now(self, size: int) -> bool:
        """Whether a message of `size` bytes is sent without waiting for anybody."""
        return self._frame_writer.can_take_now(size)

    def ping(self, payload: bytes) -> None:
        """Sends a ping of at most 125 bytes, which its pong brings back to `on_pong`. Raises ConnectionClosed."""
        self._send_frame(self._protocol.send_ping, payload)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Ends the connection with a close frame the first time, behind what was sent before; never raises.

        A slow reader is waited for; a peer that takes nothing for CLOSE_TIMEOUT_SECS is cut off. Messages not received
        by now are dropped.
        """
        text = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        closed = greenlets.Event()
        greenlets.spawn("websocket-close", self._abort_when_stuck, closed)
        try:
            with contextlib.suppress(ConnectionClosed):  # It is closing already.
                self._send_frame(self._protocol.send_close, code, text)
            while self._protocol.state is not State.CLOSED:
                self._read(_IDLE_SECS)
                self._frames.clear()
        finally:
            closed.set()
            self.abort()

    def _abort_when_stuck(self, closed: greenlets.Event) -> None:
        delivered = -1
        while not closed.is_set() and delivered < (delivered := self.delivered_bytes()):
            closed.wait(CLOSE_TIMEOUT_SECS)
        if not closed.is_set():
            self.abort()

    def abort(self) -> None:
        """Closes the TCP connection now; whoever waits in `receive` or `send` gets ConnectionClosed."""
        self._protocol.receive_eof()
        # References in a circle would keep the connection's memory until the garbage collector runs: nothing calls back
        # from now on, and the traceback of the protocol's error holds the protocol.
        self.on_pong = None
        if self._protocol.parser_exc is not None:
            self._protocol.parser_exc.__traceback__ = None
        self._frame_writer.abort()

    def delivered_bytes(self) -> int:
        """What the peer has acknowledged since the start: a slow client's grows, a dead one's does not."""
        return self._frame_writer.delivered_bytes()

    def undelivered_bytes(self) -> int:
        """What was sent and the peer has not acknowledged yet."""
        return self._frame_writer.undelivered_bytes()

    def has_hung_up(self) -> bool:
        """Whether the peer has closed its side, whatever is still to be received of it. Does not wait."""
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED
        except OSError:
            # No TCP socket, or one that is closed here: `receive` finds that out.
            return False

    def _closed(self) -> ConnectionClosed:
        return ConnectionClosed(self.close_code, self.close_reason)

    def _send_frame(self, serialize: Callable[..., None], *arguments: object) -> None:
        def frames() -> list[bytes]:
            serialize(*arguments)
            return self._protocol.data_to_send()

        self._send(frames)

    def _send(self, frames: Callable[[], list[bytes]]) -> None:
        try:
            self._frame_writer.send(frames)
        except (InvalidState, OSError) as error:
            raise self._closed() from error

    def _read(self, wait_secs: float) -> bool:
        """Takes in what has come, and answers it where the protocol wants that; False when nothing came in time."""
        self._frame_writer.retry_pongs()
        try:
            with self._reading, greenlets.deadline(wait_secs, _TimeIsUp()):
                data = self._socket.recv(READ_BYTES)
        except _TimeIsUp:
            return False
        except OSError:
            data = b""
        self._take_in(data)
        if len(data) == READ_BYTES:
            greenlets.sleep(0)  # A flood of input never waits by itself, and others want the loop too.
        return True

    def _take_in(self, data: bytes) -> None:
        if not data or self._protocol.state is State.CLOSED:
            self.abort()
            return
        self._protocol.receive_data(self._fragmenter.feed(data))
        self._frames.extend(cast(list[Frame], self._protocol.events_received()))
        self._answer(self._protocol.data_to_send())

    def _answer(self, replies: list[bytes]) -> None:
        if not replies:
            return
        if replies[-1] != SEND_EOF:
            self._frame_writer.pong(replies)
            return
        try:
            with greenlets.Timer(CLOSE_TIMEOUT_SECS, self.abort):
                self._frame_writer.hang_up(replies[:-1])
        except OSError:
            self.abort()

    def _next_message(self) -> bytes | str | None:
        while self._frames:
            frame = self._frames.pop(0)
            match frame.opcode:
                case Opcode.BINARY | Opcode.TEXT | Opcode.CONT:
                    if (message := self._assembled(frame)) is not None:
                        return message
                case Opcode.PONG if self.on_pong is not None:
                    self.on_pong(bytes(frame.data))
        return None

    def _assembled(self, frame: Frame) -> bytes | str | None:
        try:
            return self._assembler.take(frame)
        except MessageTooBig:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message must not have more than {MAX_MESSAGE_BYTES} bytes")
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "a text message must be UTF-8")
        return None

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._frames.clear()
        self._protocol.fail(code, reason)
        self._answer(self._protocol.data_to_send())
