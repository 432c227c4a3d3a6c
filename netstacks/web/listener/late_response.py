"""An HTTP response on a connection that was kept open after gunicorn has ended its request."""

import contextlib
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from netstacks.web.listener.client_socket import STALL_SECS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


class LateResponse:
    """Collects a WSGI application's response, and sends it as the last one on a connection."""

    def __init__(self, status: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        self._status = status
        self._headers = list(headers)

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """The `start_response` of WSGI (PEP 3333)."""
        self._status, self._headers = status, headers
        return None

    @property
    def code(self) -> int:
        return int(self._status.split()[0])

    def pass_on(self, start_response: "StartResponse", body: bytes) -> list[bytes]:
        """Answers the request with it after all."""
        start_response(self._status, self._headers)
        return [body]

    def send(self, sock: socket.socket, body: bytes) -> None:
        headers = [each for each in self._headers if each[0].lower() not in ("content-length", "connection")]
        headers += [("Content-Length", str(len(body))), ("Connection", "close")]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        with contextlib.suppress(OSError):  # The client has gone, or does not read.
            sock.settimeout(STALL_SECS)
            sock.sendall(f"HTTP/1.1 {self._status}\r\n{head}\r\n".encode("latin-1") + body)
