"""Clients that hold connections and let the controller wait, from any address of loopback."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controller import Controller, until

HALF_A_HEAD = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n"
NO_BODY = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
HALF_A_CHUNK = (
    b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"username"'
)
# So many that the kernel cannot take the answers, and gunicorn has not read all of them.
UNREAD_ANSWERS = b"GET /static/vendor/xterm/xterm.mjs HTTP/1.1\r\nHost: x\r\n\r\n" * 400


# States of a connection that the controller has not closed (proc(5), /proc/net/tcp): ESTABLISHED and CLOSE_WAIT.
_OPEN = ("01", "08")


class SlowClients:
    """Connections of one address, held within the `with` block.

    At its end the controller has closed its side, too: else they could take places of the next test's clients.
    """

    def __init__(self, controller: Controller, address: str = "127.0.0.1") -> None:
        self._controller = controller
        self._address = address
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        ports = {each.getsockname()[1] for each in self._sockets}
        for each in self._sockets:
            each.close()
        until(lambda: not ports & _remote_ports(self._controller.port), "the controller's end of these connections")

    def hold(self, count: int, sent: bytes = b"") -> Self:
        """More connections, each of which sends `sent` and nothing more, and reads nothing."""
        for _ in range(count):
            sock = socket.create_connection(
                ("127.0.0.1", self._controller.port), timeout=10, source_address=(self._address, 0)
            )
            self._sockets.append(sock)
            # It may be closed at once.
            with contextlib.suppress(ConnectionError):
                sock.sendall(sent)
        return self

    def held(self) -> int:
        """The number of connections that the controller has not closed."""
        return sum(map(_is_open, self._sockets))


def _is_open(sock: socket.socket) -> bool:
    # Nothing is read: what is to be read stands before the end.
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return not poll.poll(0)


def _remote_ports(local_port: int) -> set[int]:
    """The ports of clients whose connections to a port of this machine are open at that end."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {_port(remote) for _, local, remote, state, *_ in rows if _port(local) == local_port and state in _OPEN}


def _port(address: str) -> int:
    return int(address.split(":")[1], 16)


class Pipeline:
    """A client that asks without a pause, on one connection, and reads all answers."""

    def __init__(self, controller: Controller, request: bytes, count: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", controller.port), timeout=30)
        self._request, self._count = request, count
        self.answers = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._receive)]
        for each in threads:
            each.start()
        try:
            yield self
        finally:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            for each in threads:
                each.join()
            self._socket.close()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(self._request * self._count)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            rest = b""
            while data := self._socket.recv(256 * 1024):
                rest += data
                self.answers += rest.count(b"HTTP/1.1 ")
                # What may be the beginning of one more.
                rest = rest[-8:]
