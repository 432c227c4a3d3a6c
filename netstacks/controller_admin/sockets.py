"""WebSockets: the upgrade is passed on to the API, and then bytes in both directions."""

import contextlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Response

from netstacks.controller_admin import headers
from netstacks.controller_admin.upstream import ApiUnreachable
from netstacks.peer.splice import splice
from netstacks.urls import Origin
from netstacks.web.listener import limited_worker

_CONNECT_SECS, _ANSWER_SECS = 5.0, 20.0
_HEAD_BYTES = 16 * 1024
_BODY_BYTES = 64 * 1024
_END = b"\r\n\r\n"


class Sockets:
    """Upgrades of requests to the API at `origin`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._tls = ssl.create_default_context() if origin.scheme == "https" else None

    def open(self, target: str, environ: Mapping[str, Any]) -> Response:
        """Serves the WebSocket until it ends, or returns the API's refusal. Raises ApiUnreachable."""
        try:
            upstream = self._dial()
        except OSError as error:
            raise ApiUnreachable from error
        with upstream:
            try:
                upstream.sendall(_head_of_request(target, environ))
                head, rest = _read_head(upstream)
            except OSError as error:
                raise ApiUnreachable from error
            status, fields = _parse(head)
            if status != 101:
                return _refusal(upstream, status, fields, rest)
            upstream.settimeout(None)
            limited_worker.leave(environ)
            # gunicorn closes its own descriptor of the connection when the request ends.
            client = environ["gunicorn.socket"].dup()
            unread = environ["wsgi.input"].reader.unreader.take_buffered()
            splice(client, upstream, to_client=head + _END + rest, to_upstream=unread)
        return _AlreadyAnswered(status=101)

    def _dial(self) -> socket.socket:
        address = (self._origin.host, self._origin.port)
        sock = socket.create_connection(address, timeout=_CONNECT_SECS)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._origin.host)
            sock.settimeout(_ANSWER_SECS)
        except OSError:
            sock.close()
            raise
        return sock


class _AlreadyAnswered(Response):
    """Writes no HTTP into an open WebSocket: gunicorn closes its descriptor on StopIteration without an answer."""

    def __call__(self, *_: object) -> NoReturn:
        raise StopIteration


def _head_of_request(target: str, environ: Mapping[str, Any]) -> bytes:
    # No value contains a line break: the HTTP server has refused such a request.
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.of_upgrade(environ))]
    return "\r\n".join(lines).encode("latin-1") + _END


def _read_head(upstream: socket.socket) -> tuple[bytes, bytes]:
    """The head of the answer, and what has arrived after it. Raises OSError when it is incomplete or too long."""
    received = b""
    while _END not in received:
        chunk = upstream.recv(4096)
        if not chunk or len(received) > _HEAD_BYTES:
            raise OSError("the answer has no complete head")
        received += chunk
    head, _, rest = received.partition(_END)
    return head, rest


def _parse(head: bytes) -> tuple[int, list[headers.Pair]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    if not words[0].startswith("HTTP/1.") or not 101 <= status <= 599:
        raise ApiUnreachable
    return status, fields


def _refusal(upstream: socket.socket, status: int, fields: list[headers.Pair], body: bytes) -> Response:
    """The answer that opens no WebSocket, with as much of its body as it announces."""
    given = {name.lower(): value for name, value in fields}
    length = int(given["content-length"]) if given.get("content-length", "").isdigit() else 0
    with contextlib.suppress(OSError):
        while len(body) < min(length, _BODY_BYTES) and (chunk := upstream.recv(4096)):
            body += chunk
    response = Response(body[:length], status=status)
    for name, value in headers.of_response(fields):
        if name.lower() != "content-length":
            response.headers[name] = value
    return response
