"""A client's connection to a listener of ours, and the controller's side of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from netstacks.web.listener.client_socket import ClientSocket
from netstacks.web.listener.connection_limits import ConnectionLimits

# Small, so that an answer that is not read soon waits.
_BUFFER_BYTES = 64 * 1024
STREAMED_BYTES = 300


def limits(places: int = 10, per_address: int = 10, proxies: tuple[str, ...] = ()) -> ConnectionLimits:
    return ConnectionLimits(places, per_address, proxies)


class Connection:
    """Both sides of a connection; `sock` is the controller's."""

    def __init__(self, of: ConnectionLimits) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            self.client = socket.socket()
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self.client.connect(listener.getsockname())
            accepted, _ = listener.accept()
        self.sock = ClientSocket(accepted, of)
        self.client.settimeout(30)

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as its client sees it. On loopback a close arrives at once."""
        self.client.setblocking(False)
        try:
            return self.client.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.client.settimeout(30)

    def close(self) -> None:
        self.client.close()
        self.sock.close()


def streaming(connection: Connection) -> AbstractContextManager[None]:
    """The client sends STREAMED_BYTES bytes one by one, meanwhile."""
    return sending(connection, bytes(STREAMED_BYTES), piece=1, pause_secs=0.01)


@contextmanager
def sending(connection: Connection, data: bytes, *, piece: int = 1000, pause_secs: float = 0.0) -> Iterator[None]:
    """The client sends pieces, meanwhile."""
    stop = threading.Event()

    def send() -> None:
        for at in range(0, len(data), piece):
            try:
                connection.client.sendall(data[at : at + piece])
            except OSError:
                return
            if stop.wait(pause_secs):
                return

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def reading(connection: Connection, size: int, pause_secs: float = 0.01) -> Iterator[bytearray]:
    """The client reads pieces of `size`, meanwhile, until the end: what it has read."""
    read = bytearray()

    def receive() -> None:
        while True:
            try:
                data = connection.client.recv(size)
            except OSError:
                return
            if not data:
                return
            read.extend(data)
            stop.wait(pause_secs)

    stop = threading.Event()
    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    try:
        yield read
    finally:
        stop.set()
        connection.sock.close()
        thread.join()
