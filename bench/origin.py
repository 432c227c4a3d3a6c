"""The origin behind a hop: a WebSocket server that costs next to nothing, so that the figures are the hop's.

`/?size=S&count=N` is sent N messages of S bytes; without a count, what comes is sent back.
"""

import base64
import hashlib
import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode

from bench.cores import CLIENT_CORE, pin
from netstacks.peer.client import INSTANCE_HEADER

NAME = "origin"
SECRET = "a secret of the bench that is long enough"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@contextmanager
def origin() -> Iterator[int]:
    """Its port; it runs in a process of its own, on the client's core."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,), daemon=True)
    process.start()
    try:
        yield listener.getsockname()[1]
    finally:
        process.terminate()
        process.join()
        listener.close()


def frame(size: int) -> bytes:
    """A binary message of `size` bytes as a server sends it."""
    return Frame(Opcode.BINARY, bytes(size)).serialize(mask=False)


def _serve(listener: socket.socket) -> None:
    pin(os.getpid(), CLIENT_CORE)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(65536)
        key = next(line[18:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        connection.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"{INSTANCE_HEADER}: {NAME}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        query = parse_qs(urlsplit(head.split(b" ")[1].decode()).query)
        if "count" in query:
            _send_messages(connection, frame(int(query["size"][0])), int(query["count"][0]))
        else:
            _echo(connection)


def _send_messages(connection: socket.socket, message: bytes, count: int) -> None:
    connection.recv(65536)
    for _ in range(count):
        connection.sendall(message)
    connection.recv(65536)


def _echo(connection: socket.socket) -> None:
    """One small message after the other; the client's mask is zero."""
    while data := connection.recv(65536):
        connection.sendall(bytes((data[0], data[1] & 0x7F)) + data[6:])
