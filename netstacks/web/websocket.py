"""One accepted WebSocket: `websockets` knows the protocol, this knows the TCP socket and the greenlets on it."""

import contextlib
import fcntl
import math
import socket
import termios
import time
from collections import deque
from collections.abc import Callable

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from netstacks import greenlets

READ_BYTES = 64 * 1024
# The kernel would let the bytes on their way to a slow reader grow to megabytes: this much keeps a fast network busy,
# and what a reader sees is never older than it.
SEND_BUFFER_BYTES = 256 * 1024
CLOSE_TIMEOUT_SECS = 2.0
# A pong that the kernel had no room for is tried again this often, by whoever receives.
_PONG_RETRY_SECS = 0.2
# An idle receiver wakes up for nothing this often.
_IDLE_SECS = 3600.0
# The payload of a control frame, without the close code (RFC 6455, 5.5).
_REASON_BYTES = 123


class ConnectionClosed(Exception):
    """The WebSocket is no more; `code` is what the peer closed it with, or None when it just went away."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"the peer closed with {code} {reason}".rstrip() if code else "the connection was lost")
        self.code = code
        self.reason = reason


class _TimeIsUp(Exception):
    """A deadline of this module has passed."""


class WebSocket:
    """Messages in both directions over a socket of gunicorn's gevent worker; any greenlet may call any method.

    Nothing is read but in `receive`, so that TCP holds back a peer whose messages nobody takes; and `receive` never
    waits for a peer that does not read.
    """

    def __init__(self, sock: socket.socket, protocol: ServerProtocol) -> None:
        self.on_pong: Callable[[bytes], None] | None = None
        """Called from the receiving greenlet with the payload of each pong, in its place between the messages."""
        self._socket = sock
        self._protocol = protocol
        self._frames: deque[Frame] = deque()
        self._partial = bytearray()
        self._partial_is_text = False
        self._pongs: list[bytes] = []
        self._taken_bytes = 0
        # Whole frames only: a ping inside a large message corrupts it (pitfalls 11).
        self._writing = greenlets.BoundedSemaphore(1)
        # Reentrant, since `on_pong` may close.
        self._reading = greenlets.RLock()

    def start(self, answer: bytes, unread: bytes) -> None:
        """Sends the handshake's answer, and takes in what the client sent without waiting for it."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        with self._writing:
            self._write(answer)
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

        What the peer sent before it closed is returned first.
        """
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        with self._reading:
            while (message := self._next_message()) is None:
                if self._protocol.state is not State.OPEN:
                    self.close()
                    raise self._closed()
                longest_secs = _PONG_RETRY_SECS if self._pongs else _IDLE_SECS
                wait_secs = min(max(0.0, ends_at - time.monotonic()), longest_secs)
                if not self._read(wait_secs) and time.monotonic() >= ends_at:
                    return None
            return message

    def send(self, data: bytes | str) -> None:
        """Sends a whole message, waiting for a slow reader as long as it takes. Raises ConnectionClosed."""
        if isinstance(data, str):
            self._send(self._protocol.send_text, data.encode())
        else:
            self._send(self._protocol.send_binary, data)

    def ping(self, payload: bytes) -> None:
        """Sends a ping with at most 125 bytes; its pong comes back to `on_pong`. Raises ConnectionClosed."""
        self._send(self._protocol.send_ping, payload)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Ends the connection within CLOSE_TIMEOUT_SECS: with a close frame, the first time, if the peer still reads.

        Messages not received by then are dropped.
        """
        text = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        with contextlib.suppress(_TimeIsUp), greenlets.deadline(CLOSE_TIMEOUT_SECS, _TimeIsUp()):
            with contextlib.suppress(ConnectionClosed):  # It is closing already.
                self._send(self._protocol.send_close, code, text)
            with self._reading:
                self._drain()
        self.abort()

    def abort(self) -> None:
        """Closes the TCP connection now; whoever waits in `receive` or `send` gets ConnectionClosed."""
        self._protocol.receive_eof()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def unsent_bytes(self) -> int:
        """What the kernel holds because the peer has not acknowledged it."""
        try:
            held = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return 0
        return int.from_bytes(held, "little")

    def delivered_bytes(self) -> int:
        """What the peer's host has acknowledged since the start; a slow client's grows, a dead one's does not."""
        return self._taken_bytes - self.unsent_bytes()

    def _closed(self) -> ConnectionClosed:
        return ConnectionClosed(self.close_code, self.close_reason)

    def _next_message(self) -> bytes | str | None:
        while self._frames:
            frame = self._frames.popleft()
            match frame.opcode:
                case Opcode.PONG:
                    if self.on_pong is not None:
                        self.on_pong(bytes(frame.data))
                case Opcode.TEXT | Opcode.BINARY if frame.fin:
                    return self._message(frame.data, frame.opcode is Opcode.TEXT)
                case Opcode.TEXT | Opcode.BINARY:
                    self._partial += frame.data
                    self._partial_is_text = frame.opcode is Opcode.TEXT
                case Opcode.CONT:
                    self._partial += frame.data
                    if frame.fin:
                        data, self._partial = bytes(self._partial), bytearray()
                        return self._message(data, self._partial_is_text)
        return None

    def _message(self, data: bytes, is_text: bool) -> bytes | str | None:
        if not is_text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError:
            self._frames.clear()
            self._protocol.fail(CloseCode.INVALID_DATA, "a text message must be UTF-8")
            self._answer(self._protocol.data_to_send())
            return None

    def _read(self, wait_secs: float) -> bool:
        """Takes in what has come, and answers it where the protocol wants that; False when nothing came in time."""
        self._send_pongs()
        try:
            with greenlets.deadline(wait_secs, _TimeIsUp()):
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
        self._protocol.receive_data(data)
        self._frames.extend(self._protocol.events_received())
        self._answer(self._protocol.data_to_send())

    def _answer(self, replies: list[bytes]) -> None:
        if replies and replies[-1] == SEND_EOF:
            self._hang_up(replies[:-1])
        elif replies:
            # While a pong is stuck, maybe half sent, only the latest ping gets another (RFC 6455, 5.5.3).
            self._pongs[1:] = replies[-1:] if self._pongs else [b"".join(replies)]
            self._send_pongs()

    def _send_pongs(self) -> None:
        """Sends as much as the kernel takes now; a writer at work, or the next one, takes the rest with it."""
        if not self._pongs or not self._writing.acquire(blocking=False):
            return
        try:
            while self._pongs:
                # gevent's own argument: no waiting.
                sent = self._socket.send(self._pongs[0], 0, 0.0)  # type: ignore[call-arg]
                self._taken_bytes += sent
                self._pongs[0] = self._pongs[0][sent:]
                if not self._pongs[0]:
                    del self._pongs[0]
        except BlockingIOError:
            pass
        except OSError:
            self.abort()
        finally:
            self._writing.release()

    def _hang_up(self, last_frames: list[bytes]) -> None:
        """Sends the last frames and half-closes, so that closing with unread bytes does not take them back."""
        try:
            with greenlets.deadline(CLOSE_TIMEOUT_SECS, _TimeIsUp()), self._writing:
                self._write_pongs()
                for frame in last_frames:
                    self._write(frame)
                self._socket.shutdown(socket.SHUT_WR)
        except (_TimeIsUp, ConnectionClosed, OSError):
            self.abort()

    def _drain(self) -> None:
        """Drops what still comes until the peer has hung up too."""
        while self._protocol.state is not State.CLOSED:
            self._read(CLOSE_TIMEOUT_SECS)
            self._frames.clear()

    def _send(self, serialize: Callable[..., None], *arguments: object) -> None:
        with self._writing:
            self._write_pongs()
            try:
                serialize(*arguments)
            except InvalidState as error:
                raise self._closed() from error
            for frame in self._protocol.data_to_send():
                self._write(frame)

    def _write_pongs(self) -> None:
        while self._pongs:
            self._write(self._pongs.pop(0))

    def _write(self, frame: bytes) -> None:
        view = memoryview(frame)
        try:
            while view:
                sent = self._socket.send(view)
                self._taken_bytes += sent
                view = view[sent:]
        except OSError as error:
            self.abort()
            raise self._closed() from error
        except BaseException:
            # Killed or out of time: after half a frame nothing sensible can follow.
            self.abort()
            raise
