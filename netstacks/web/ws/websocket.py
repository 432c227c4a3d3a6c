"""One accepted WebSocket: `websockets` implements the protocol, FrameWriter writes, the caller of `receive` reads."""

import contextlib
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
# The interval of retries for a pong that did not fit into the kernel's buffer.
_PONG_RETRY_SECS = 0.2
# A TCP connection that neither side has closed (the kernel's TCP_ESTABLISHED).
_ESTABLISHED = 1
# The payload of a control frame without the close code (RFC 6455, 5.5).
_REASON_BYTES = 123


class _TimeIsUp(Exception):
    """A deadline of this module has passed."""


class WebSocket:
    """Messages in both directions; any greenlet may call any method.

    Only `receive` reads, so TCP flow control stops a peer whose messages are not received. `receive` does not wait for
    a peer that does not read, except CLOSE_TIMEOUT_SECS at most to answer its close.
    """

    on_pong: Callable[[bytes], None] | None = None
    """Called by the receiving greenlet with the payload of each pong, in order with the messages."""

    def __init__(self, sock: socket.socket, protocol: ServerProtocol) -> None:
        self._socket = sock
        self._protocol = protocol
        self._frame_writer = FrameWriter(sock)
        self._reading = greenlets.BoundedSemaphore(1)
        self._fragmenter = Fragmenter()
        self._assembler = Assembler()
        self._frames: list[Frame] = []

    def start(self, answer: bytes, unread: bytes) -> None:
        """Sends the handshake's answer, and processes `unread`, the bytes that the client has sent ahead of it.

        If the client has gone meanwhile, `receive` raises.
        """
        with contextlib.suppress(ConnectionClosed):
            self._send(lambda: [answer])
        if unread:
            self._take_in(unread)

    @property
    def close_code(self) -> int | None:
        """The peer's close code; 1005 when its close frame had none, None when it has not closed (RFC 6455, 7.1.5)."""
        close = self._protocol.close_rcvd
        return int(close.code) if close else None

    @property
    def close_reason(self) -> str:
        """The reason of the peer's close frame."""
        close = self._protocol.close_rcvd
        return close.reason if close else ""

    def receive(self, timeout: float | None = None) -> bytes | str | None:
        """The next message; None when there is none within `timeout` seconds. Raises ConnectionClosed.

        A long or fragmented Data message is returned in pieces, each a Data message: it is never in memory as a whole.
        Messages that the peer sent before its close are returned first.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        while (message := self._next_message()) is None:
            if self._protocol.state is not State.OPEN:
                raise self._closed()
            if not self._read(self._wait_secs(ends_at)) and ends_at is not None and time.monotonic() >= ends_at:
                return None
        return message

    def _wait_secs(self, ends_at: float | None) -> float | None:
        """How long the next read may wait; None for as long as it takes, which saves every key a timer."""
        left_secs = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        if self._frame_writer.is_behind:
            return _PONG_RETRY_SECS if left_secs is None else min(left_secs, _PONG_RETRY_SECS)
        return left_secs

    def send(self, *messages: bytes | str) -> None:
        """Sends whole messages, waiting for a slow reader as long as it takes. Raises ConnectionClosed."""

        def frames() -> list[bytes]:
            for message in messages:
                if isinstance(message, str):
                    self._protocol.send_text(message.encode())
                else:
                    self._protocol.send_binary(message)
            # Joined: a system call per frame costs more than the copy.
            return [b"".join(self._protocol.data_to_send())]

        self._send(frames)

    def can_take_now(self, size: int) -> bool:
        """Whether `send` of a message of `size` bytes would not wait."""
        return self._frame_writer.can_take_now(size)

    def ping(self, payload: bytes) -> None:
        """Sends a ping with a payload of at most 125 bytes; its pong calls `on_pong`. Raises ConnectionClosed."""
        self._send_frame(self._protocol.send_ping, payload)

    def beat(self) -> None:
        """Sends a pong that no ping asked for: a sign of life that needs no answer (RFC 6455, 5.5.3). Never waits."""
        with contextlib.suppress(InvalidState):
            self._protocol.send_pong(b"")
            self._frame_writer.pong(self._protocol.data_to_send())

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Closes the connection; the first call sends a close frame, after all earlier messages. Never raises.

        Waits for a slow reader, but aborts when the peer acknowledges nothing for CLOSE_TIMEOUT_SECS. Messages that are
        not received yet are dropped.
        """
        text = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        closed = greenlets.Event()
        greenlets.spawn("websocket-close", self._abort_when_stuck, closed)
        try:
            with contextlib.suppress(ConnectionClosed):  # It is closing already.
                self._send_frame(self._protocol.send_close, code, text)
            while self._protocol.state is not State.CLOSED:
                self._read(None)
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
        """Closes the TCP connection at once; pending calls of `receive` and `send` raise ConnectionClosed."""
        self._protocol.receive_eof()
        # Breaks reference cycles, which stay in memory until the garbage collector runs: the callback refers to this
        # object, and the traceback of the protocol's error to the protocol.
        self.on_pong = None
        if self._protocol.parser_exc is not None:
            self._protocol.parser_exc.__traceback__ = None
        self._frame_writer.abort()

    def delivered_bytes(self) -> int:
        """The bytes that the peer's host has acknowledged since the start: they grow while it lives, however slowly."""
        return self._frame_writer.delivered_bytes()

    def undelivered_bytes(self) -> int:
        """The bytes that were sent and that the peer's host has not acknowledged."""
        return self._frame_writer.undelivered_bytes()

    def has_hung_up(self) -> bool:
        """Whether the peer has closed its side, even if unread messages remain. Does not wait."""
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED
        except OSError:
            # No TCP socket, or closed on this side: `receive` raises.
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

    def _read(self, wait_secs: float | None) -> bool:
        """Reads and processes input, and sends the answers that the protocol requires; False when none came in time."""
        self._frame_writer.retry_pongs()
        limit = contextlib.nullcontext() if wait_secs is None else greenlets.deadline(wait_secs, _TimeIsUp())
        try:
            with self._reading, limit:
                data = self._socket.recv(READ_BYTES)
        except _TimeIsUp:
            return False
        except OSError:
            data = b""
        self._take_in(data)
        if len(data) == READ_BYTES:
            greenlets.sleep(0)  # A flood of input never blocks in `recv`: let other greenlets run.
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
