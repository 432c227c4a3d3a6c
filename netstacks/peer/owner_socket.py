"""The connection of a viewer to the owner of its session: a WebSocket whose client is this instance."""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from netstacks import greenlets
from netstacks.errors import ConnectionClosed, RetryLater
from netstacks.peer.client import Upgrade, Upstream
from netstacks.peer.splice import hang_up, prepare

_READ_BYTES = 64 * 1024
# Larger than the redraw of the largest screen.
_MESSAGE_BYTES = 8 * 1024 * 1024
# A placeholder that the protocol object requires; the dial uses its own host and path.
_ANY_URI = parse_uri("ws://owner/")


@dataclass(frozen=True)
class Ping:
    """A ping of the owner; the caller answers it with `pong`."""

    payload: bytes


class Handshake:
    """The client side of an upgrade: pass `upgrade` to the dial, and the dial's answer to `OwnerSocket`."""

    def __init__(self, query: str) -> None:
        self.protocol = ClientProtocol(_ANY_URI, max_size=_MESSAGE_BYTES)
        self.upgrade = Upgrade(self.protocol.key, query)


class OwnerSocket:
    """Messages from and to an owner. One greenlet receives; any greenlet may call the other methods.

    Only `receive` reads from the socket, so TCP flow control slows an owner down whose messages are not consumed. Pings
    are not answered here: a pong acknowledges what the viewer has received, so the viewer's client must send it.
    """

    def __init__(self, upstream: Upstream, handshake: Handshake) -> None:
        """Raises RetryLater when the owner's response does not match the handshake."""
        self._socket = upstream.socket
        self._protocol = handshake.protocol
        self._turn = greenlets.BoundedSemaphore(1)
        self._frames: deque[Frame] = deque()
        self._partial = bytearray()
        prepare(self._socket)
        self._take_in(upstream.answer)
        if self._protocol.handshake_exc is not None:
            self.close()
            raise RetryLater(f"instance {upstream.owner.id} did not accept a viewer: {self._protocol.handshake_exc}")

    @property
    def close_frame(self) -> Close | None:
        """The close frame of the owner; None before it, and when the connection was lost without one."""
        return self._protocol.close_rcvd

    def receive(self) -> bytes | Ping | None:
        """The next message or ping; None when the connection has ended."""
        while True:
            while self._frames:
                event = self._event(self._frames.popleft())
                if event is not None:
                    return event
            if self._protocol.state is not State.OPEN:
                return None
            data = b""
            # ValueError: `hang_up` was called on a TLS connection.
            with contextlib.suppress(OSError, ValueError):
                data = self._socket.recv(_READ_BYTES)
            if not data:
                return None
            self._take_in(data)

    def send(self, message: bytes) -> None:
        """Sends a message; waits while the owner does not read. Raises ConnectionClosed."""
        with self._sending():
            self._protocol.send_binary(message)

    def pong(self, payload: bytes) -> None:
        """Answers a ping. Raises ConnectionClosed."""
        with self._sending():
            self._protocol.send_pong(payload)

    def hang_up(self) -> None:
        """Shuts the connection down now: `receive` and waiting senders return or raise."""
        hang_up(self._socket)

    def close(self) -> None:
        """Hangs up and closes the socket; call it in the receiving greenlet."""
        self.hang_up()
        # A waiting sender must have left the descriptor first: the number can be reused for another connection.
        with self._turn:
            self._socket.close()

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        with self._turn:
            try:
                yield
                # No yield between `yield` and `data_to_send`: it would return another greenlet's frame as well.
                frames = b"".join(self._protocol.data_to_send())
                self._socket.sendall(frames)
            except (InvalidState, OSError, ValueError) as error:
                raise ConnectionClosed(None, "") from error

    def _take_in(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        # Drop the automatic pongs, which the viewer's client sends, and the close frame, which the end of TCP replaces.
        self._protocol.data_to_send()
        self._frames.extend(each for each in self._protocol.events_received() if isinstance(each, Frame))

    def _event(self, frame: Frame) -> bytes | Ping | None:
        match frame.opcode:
            case Opcode.PING:
                return Ping(bytes(frame.data))
            case Opcode.BINARY | Opcode.CONT:
                self._partial += frame.data
                if frame.fin:
                    message, self._partial = bytes(self._partial), bytearray()
                    return message or None  # An empty message has no meaning.
        return None
