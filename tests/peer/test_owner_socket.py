"""The hop of a viewer passes on whole messages, leaves pings to the viewer, and can be hung up on at any time."""

import socket
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.errors import ConnectionClosed, RetryLater
from netstacks.peer.client import Upstream
from netstacks.peer.owner_socket import Handshake, OwnerSocket, Ping
from tests.patched import patched

OWNER = Peer("ctrl-owner", "127.0.0.1:1")


class Owner:
    """The other end, which sends what the test scripts."""

    def __init__(self, *, accepts: str | None = None) -> None:
        self.handshake = Handshake("viewer=1")
        # TCP, as the hop is: its options are set.
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            self.socket, _ = server.accept()
        self._protocol = ServerProtocol(state=State.OPEN, max_size=None)
        accepted = accept_key(accepts or self.handshake.upgrade.key)
        self._answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accepted}\r\n\r\n"
        ).encode()
        self._near = near
        self._heard: list[Frame] = []

    def accept(self, glued: bytes = b"") -> OwnerSocket:
        return OwnerSocket(Upstream(OWNER, self._near, self._answer + glued), self.handshake)  # type: ignore[arg-type]

    def bytes_of(self, what: str, *arguments: Any) -> bytes:
        getattr(self._protocol, what)(*arguments)
        return b"".join(self._protocol.data_to_send())

    def says(self, what: str, *arguments: Any) -> None:
        self.socket.sendall(self.bytes_of(what, *arguments))

    def hears(self) -> Frame:
        while not self._heard:
            data = self.socket.recv(65536)
            assert data, "the hop has hung up"
            self._protocol.receive_data(data)
            self._heard += [each for each in self._protocol.events_received() if isinstance(each, Frame)]
        return self._heard.pop(0)


@patched
def test_messages_arrive_whole_and_in_order_and_the_first_may_come_with_the_answer() -> None:
    owner = Owner()
    hop = owner.accept(owner.bytes_of("send_binary", b"first"))
    large = bytes(range(256)) * 4096
    greenlets.spawn("owner", lambda: [owner.says("send_binary", each) for each in (b"second", large, b"", b"last")])
    assert [hop.receive() for _ in range(4)] == [b"first", b"second", large, b"last"]
    hop.send(b"\x01key")
    assert owner.hears().data == b"\x01key"


@patched
def test_a_message_in_fragments_is_put_together() -> None:
    owner = Owner()
    hop = owner.accept()
    owner.says("send_binary", b"one ", False)
    owner.says("send_ping", b"between")
    owner.says("send_continuation", b"message", True)
    assert [hop.receive(), hop.receive()] == [Ping(b"between"), b"one message"]


@patched
def test_a_ping_is_answered_when_the_viewer_has_answered_it() -> None:
    owner = Owner()
    hop = owner.accept()
    owner.says("send_ping", b"\0" * 7 + b"\x05")
    ping = hop.receive()
    assert ping == Ping(b"\0" * 7 + b"\x05")
    hop.send(b"before")
    hop.pong(ping.payload)
    assert owner.hears().data == b"before"
    pong = owner.hears()
    assert (pong.opcode, pong.data) == (Opcode.PONG, ping.payload)


@patched
def test_a_close_is_told_from_a_loss() -> None:
    owner, lost = Owner(), Owner()
    hop = owner.accept()
    owner.says("send_binary", b"last")
    owner.says("send_close", 4410, "moved to another instance")
    assert [hop.receive(), hop.receive()] == [b"last", None]
    assert hop.close_frame is not None
    assert (hop.close_frame.code, hop.close_frame.reason) == (4410, "moved to another instance")
    hop.close()
    hop = lost.accept()
    lost.socket.close()
    assert hop.receive() is None
    assert hop.close_frame is None
    hop.close()


@patched
def test_another_handshakes_answer_is_none() -> None:
    with pytest.raises(RetryLater):
        Owner(accepts="dGhlIHNhbXBsZSBub25jZQ==").accept()


@patched
def test_hanging_up_wakes_the_receiver_and_the_sender() -> None:
    owner = Owner()
    hop = owner.accept()

    def send_for_ever() -> str:
        try:
            while True:
                hop.send(b"x" * 65536)
        except ConnectionClosed:
            return "woke up"

    sender = greenlets.spawn("sender", send_for_ever)
    receiver = greenlets.spawn("receiver", hop.receive)
    # Long enough to fill the kernel's buffers, so that the sender waits.
    greenlets.sleep(0.2)
    assert not sender.ready()
    hop.hang_up()
    greenlets.joinall([sender, receiver], timeout=30)
    assert (sender.value, receiver.value) == ("woke up", None)
    hop.close()
    with pytest.raises(ConnectionClosed):
        hop.pong(b"")
    hop.hang_up()
