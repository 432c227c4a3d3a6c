"""Passes the requests of the pages' scripts on to the API, as they are, and streams the answers."""

import errno
from collections.abc import Iterator

import httpx2
import structlog
from flask import Request, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from netstacks.controller_admin import headers, paths
from netstacks.controller_admin.sockets import Sockets
from netstacks.controller_admin.upstream import PROXY_SECS, Upstream
from netstacks.web.listener.client_socket import BODY_BYTES

log = structlog.get_logger()

_CHUNK_BYTES = 64 * 1024


class Proxy:
    """The requests whose paths are those of the API."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._sockets = Sockets(upstream.origin)

    def answer(self) -> Response | None:
        """Before each request: the API's answer, or None for a path that is not the API's. Raises ApiUnreachable."""
        is_upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        match paths.target(raw_target(request), request.method, is_upgrade=is_upgrade):
            case None:
                return None
            case paths.Refused(status, reason):
                refusal = jsonify(error=reason)
                refusal.status_code = status
                return refusal
            case target if is_upgrade:
                return self._sockets.open(target, request.environ)
            case target:
                return self._pass_on(target)

    def _pass_on(self, target: str) -> Response:
        given = headers.of_request(request.environ)
        length = request.content_length
        body = None
        if length or request.headers.get("Transfer-Encoding"):
            if (length or 0) > BODY_BYTES:
                raise RequestEntityTooLarge("The request is larger than 4 MiB.")
            body = _body()
            if length:
                given.append(("Content-Length", str(length)))
        elif request.method not in ("GET", "HEAD"):
            given.append(("Content-Length", "0"))
        found = self._upstream.send(request.method, target, given, body, timeout_secs=PROXY_SECS)
        response = Response(_stream(found, request.path), status=found.status_code)
        response.headers.clear()
        for name, value in headers.of_response(found.headers.multi_items()):
            response.headers.add(name, value)
        # Also of a response whose body is never read.
        response.call_on_close(found.close)
        return response


def raw_target(wsgi_request: Request) -> str:
    """What stands in the request line."""
    raw: str = wsgi_request.environ.get("RAW_URI") or wsgi_request.environ.get("REQUEST_URI", "")
    return raw


def _body() -> Iterator[bytes]:
    """The body as it arrives. Raises RequestEntityTooLarge after BODY_BYTES."""
    while chunk := request.stream.read(_CHUNK_BYTES):
        yield chunk


def _stream(found: httpx2.Response, path: str) -> Iterator[bytes]:
    """The body as it arrives: nothing waits for more."""
    try:
        yield from found.iter_raw()
    except httpx2.TransportError as error:
        log.warning("api.broke_off", path=path, error=str(error))
        # gunicorn closes the connection, and the browser sees that the answer is incomplete.
        raise ConnectionResetError(errno.ECONNRESET, "the API broke off") from error
    finally:
        found.close()
