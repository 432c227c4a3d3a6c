"""A WebSocket client on bare bytes, for what a well-behaved client does not do."""

import socket
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@dataclass(frozen=True)
class Received:
    """One frame from the server."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big")


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # To that key, as in RFC 6455, 1.3.


def handshake(path: str, http_version: str = "1.1") -> bytes:
    """An upgrade request."""
    headers = [f"{name}: {value}" for name, value in UPGRADE.items()]
    return "\r\n".join([f"GET {path} HTTP/{http_version}", "Host: localhost", *headers, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame, masked with zeros, or wrong in the way that the arguments say."""
    size = len(payload)
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


class Peer:
    """A TCP connection that has sent its handshake, and whatever is glued to it."""

    def __init__(self, port: int, path: str, *, glued: bytes = b"", receive_buffer_bytes: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(30)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(handshake(path) + glued)
        self.answer = ""
        while not self.answer.endswith("\r\n\r\n"):
            self.answer += self.exactly(1).decode()

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def receive(self) -> Received:
        """The server's next frame, which must be whole, not fragmented and not masked."""
        first, size = self.exactly(2)
        assert first & 0xF0 == 0x80, f"not a whole frame: {first:#x}"
        if size == 126:
            size = int.from_bytes(self.exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(self.exactly(8), "big")
        return Received(first & 0x0F, self.exactly(size))

    def at_end(self) -> bool:
        """Waits for the server to close TCP, orderly and without sending anything more."""
        return self.socket.recv(1) == b""

    def close(self) -> None:
        self.socket.close()

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes, whatever they are."""
        chunks = []
        while size:
            chunk = self.socket.recv(min(size, 8192))
            assert chunk, "the server closed TCP in the middle of a frame"
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)
