"""A WebSocket client that costs next to nothing, so that a load measures the server and not itself."""

import contextlib
import os
import socket
from base64 import b64encode

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_READ_BYTES = 256 * 1024


class FastWebSocket:
    """Whole messages over a plain socket. It masks with zeros, which leaves every payload as it is.

    Pings are answered when `receive` meets them, as a browser does; `close_code` is known after the end.
    """

    def __init__(self, port: int, path: str, *, receive_buffer_bytes: int = 0) -> None:
        self.close_code: int | None = None
        self._unparsed = b""
        self._socket = socket.socket()
        if receive_buffer_bytes:
            self.limit_receive_buffer(receive_buffer_bytes)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shake_hands(path)

    def _shake_hands(self, path: str) -> None:
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self._socket.recv(4096)
            if not data:
                raise ConnectionError(f"closed instead of an upgrade: {answer!r}")
            answer += data
        head, _, self._unparsed = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"no upgrade: {answer.decode(errors='replace')}")

    def limit_receive_buffer(self, size_bytes: int) -> None:
        """What the kernel takes in before it is read."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        size = len(payload)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        elif size < 65536:
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
        self._socket.sendall(head + bytes(4) + payload)

    def receive(self, max_bytes: int = _READ_BYTES) -> list[bytes]:
        """Reads from the socket once; returns the messages that are whole now. Raises EOFError at the end."""
        if self.close_code is not None:
            raise EOFError
        messages = self._parse()  # What came with the handshake needs no reading.
        if messages:
            return messages
        try:
            data = self._socket.recv(max_bytes)
        except ConnectionResetError:
            data = b""
        if not data:
            self.close_code = 1006
            raise EOFError
        self._unparsed += data
        return self._parse()

    def _parse(self) -> list[bytes]:
        data, size = self._unparsed, len(self._unparsed)
        messages = []
        position = 0
        while size - position >= 2:
            begin, length = position + 2, data[position + 1]
            if length > 125:
                begin += 2 if length == 126 else 8
                if size < begin:
                    break
                length = int.from_bytes(data[position + 2 : begin], "big")
            end = begin + length
            if size < end:
                break
            match data[position] & 0x0F:
                case 1 | 2:
                    messages.append(data[begin:end])
                case 9:
                    # A server that has gone has perhaps left bytes to read.
                    with contextlib.suppress(OSError):
                        self.send(data[begin:end], PONG)
                case 8:
                    self.close_code = int.from_bytes(data[begin : begin + 2], "big") or 1005
            position = end
        self._unparsed = data[position:] if position else data
        return messages

    def close(self) -> None:
        """Cuts the connection without a word."""
        self._socket.close()
