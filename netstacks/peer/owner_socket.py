"""The hop of a viewer: a WebSocket of which this instance is the client, and the session's owner the server."""

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
from netstacks.errors import ComeAgain, ConnectionClosed
from netstacks.peer.client import Upgrade, Upstream
from netstacks.peer.splice import hang_up, prepare

_READ_BYTES = 64 * 1024
# More than the largest screen takes that an owner redraws.
_MESSAGE_BYTES = 8 * 1024 * 1024
# The dial has a path and a host of its own: the protocol object only wants to have one.
_ANY_URI = parse_uri("ws://owner/")


@dataclass(frozen=True)
class Ping:
    """A ping of the owner, which waits for `pong`."""

    payload: bytes


class Handshake:
    """This instance's half of an upgrade: `upgrade` is for the dial, and its answer for an `OwnerSocket`."""

    def __init__(self, query: str) -> None:
        self.protocol = ClientProtocol(_ANY_URI, max_size=_MESSAGE_BYTES)
        self.upgrade = Upgrade(self.protocol.key, query)


class OwnerSocket:
    """Messages from and to an owner. One greenlet receives; any greenlet may call the other methods.

    Nothing is read except in `receive`, so TCP holds back an owner whose messages are not taken. A ping is not
    answered here: its pong proves what the viewer has got, so it is the viewer's.
    """

    def __init__(self, upstream: Upstream, handshake: Handshake) -> None:
        """Raises ComeAgain when the owner's answer does not belong to the handshake."""
        self._socket = upstream.socket
        self._protocol = handshake.protocol
        self._turn = greenlets.BoundedSemaphore(1)
        self._frames: deque[Frame] = deque()
        self._partial = bytearray()
        prepare(self._socket)
        self._take_in(upstream.answer)
        if self._protocol.handshake_exc is not None:
            self.close()
            raise ComeAgain(f"instance {upstream.owner.id} did not accept a viewer: {self._protocol.handshake_exc}")

    @property
    def close_frame(self) -> Close | None:
        """What the owner has closed with; None while it has not, and when its connection was lost."""
        return self._protocol.close_rcvd

    def receive(self) -> bytes | Ping | None:
        """The next message or ping; None when there is no more."""
        while True:
            while self._frames:
                event = self._event(self._frames.popleft())
                if event is not None:
                    return event
            if self._protocol.state is not State.OPEN:
                return None
            data = b""
            # ValueError: a TLS connection that was hung up on.
            with contextlib.suppress(OSError, ValueError):
                data = self._socket.recv(_READ_BYTES)
            if not data:
                return None
            self._take_in(data)

    def send(self, message: bytes) -> None:
        """Sends a message, waiting for an owner that does not read. Raises ConnectionClosed."""
        with self._sending():
            self._protocol.send_binary(message)

    def pong(self, payload: bytes) -> None:
        """Answers a ping. Raises ConnectionClosed."""
        with self._sending():
            self._protocol.send_pong(payload)

    def hang_up(self) -> None:
        """Ends the connection now: `receive` and senders that wait find out."""
        hang_up(self._socket)

    def close(self) -> None:
        """Hangs up and frees the socket; to be called by the greenlet that receives."""
        self.hang_up()
        # A sender that waits for the descriptor must have left it before it can become another connection's.
        with self._turn:
            self._socket.close()

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        with self._turn:
            try:
                yield
                # No yield between these two: another greenlet's frame would be sent in this one's turn.
                frames = b"".join(self._protocol.data_to_send())
                self._socket.sendall(frames)
            except (InvalidState, OSError, ValueError) as error:
                raise ConnectionClosed(None, "") from error

    def _take_in(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        # Its pongs to the owner's pings, which are left to the viewer, and its answer to a close: the end of TCP does.
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
                    return message or None  # An empty one says nothing.
        return None
