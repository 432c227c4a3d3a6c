"""WebSocket routes: flask-sock's front, with a connection of our own behind it.

simple-websocket, which flask-sock would hand out, loses output under gevent and keeps unbounded input (pitfalls 7).
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn

import flask_sock
import structlog
from flask import Blueprint, Flask, Response, g, has_request_context, jsonify, request
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidHeader, InvalidMessage, InvalidUpgrade
from websockets.frames import CloseCode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from werkzeug.datastructures import EnvironHeaders

from netstacks import greenlets
from netstacks.errors import ConnectionClosed
from netstacks.peer import relays
from netstacks.peer.client import INSTANCE_HEADER, Upstream
from netstacks.web.ws.message_assembly import MAX_MESSAGE_BYTES
from netstacks.web.ws.websocket import WebSocket

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["ConnectionClosed", "Sock", "WebSocket"]

log = structlog.get_logger()

ACCEPTED = "netstacks.accepted"

Handler = Callable[..., None]


@dataclass(frozen=True)
class Accepted:
    """In a request's environment, as ACCEPTED: the upgrade was answered before, and the client sent this since."""

    unread: bytes


class Sock(flask_sock.Sock):  # type: ignore[misc]
    """Registers WebSocket routes. A handler that returns closes with 1000, one that fails with 1011."""

    app: Flask | None
    bp: Blueprint | None

    def route(
        self, path: str, bp: Blueprint | None = None, *, authorise: Callable[..., Any] | None = None
    ) -> Callable[[Handler], Handler]:
        """Routes `path` to `handler(ws, **arguments)`, or with `authorise` to `handler(ws, context, **arguments)`.

        `authorise(**arguments)` runs before the connection is accepted. What it returns is the context; what it
        raises is answered as in any other view; when it returns an `Upstream`, another instance has accepted the
        connection and serves it, and this one only relays bytes. The handler runs outside of the request, which has
        ended by then: a connection of hours keeps nothing of it in memory, and no place among gunicorn's connections.
        """

        def decorator(handler: Handler) -> Handler:
            @wraps(handler)
            def view(**arguments: Any) -> Response:
                # Of frames alone: how long a message may be depends on its type.
                protocol = ServerProtocol(state=State.OPEN, max_size=(None, MAX_MESSAGE_BYTES))
                accepted: Accepted | None = request.environ.get(ACCEPTED)
                try:
                    answer = b"" if accepted else shake_hands(request.environ)
                except InvalidHandshake as error:
                    return _refuse(error)
                context = [authorise(**arguments)] if authorise else []
                # gunicorn closes its own descriptor of the connection when the request ends.
                sock = request.environ["gunicorn.socket"].dup()
                unread = accepted.unread if accepted else read_ahead(request.environ)
                match context:
                    case [Upstream() as upstream]:
                        relays.begin(sock, without_head(upstream) if accepted else upstream, unread)
                    case _:
                        ws = WebSocket(sock, protocol)
                        ws.start(answer, unread)
                        log_context = {"path": request.path, **structlog.contextvars.get_contextvars()}
                        _open(log_context, sock, ws, partial(handler, ws, *context, **arguments))
                return _AlreadyAnswered()

            front = self._front(bp)
            front.add_url_rule(path, view_func=view, websocket=True)
            front.add_url_rule(path, endpoint=f"{handler.__name__}_without_upgrade", view_func=_ask_for_upgrade)
            return handler

        return decorator

    def _front(self, bp: Blueprint | None) -> Flask | Blueprint:
        front = bp or self.app
        if front is None:
            front = self.bp = self.bp or Blueprint("sockets", __name__)  # Registered by `init_app`.
        return front


class _AlreadyAnswered(Response):
    """Writes no HTTP into what is a WebSocket by now: gunicorn takes StopIteration for "close this connection"."""

    def __call__(self, *_: object) -> NoReturn:
        raise StopIteration


def shake_hands(environ: "WSGIEnvironment") -> bytes:
    """The 101 that answers a request; raises InvalidHandshake."""
    headers = EnvironHeaders(environ)
    if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
        raise InvalidMessage("the request must not have a body")
    asked = Request(
        environ["PATH_INFO"], Headers(headers.items()), environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"]
    )
    accept_key, _, _ = ServerProtocol().process_request(asked)
    # Neither an extension nor a subprotocol is agreed upon: compression costs memory per socket (pitfalls 7).
    signature = f"{INSTANCE_HEADER}: {g.answered_by}\r\n" if has_request_context() and "answered_by" in g else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{signature}Sec-WebSocket-Accept: {accept_key}\r\n\r\n"
    ).encode()


def _ask_for_upgrade(**_: object) -> Response:
    return _refuse(InvalidUpgrade("Upgrade", request.headers.get("Upgrade")))


def _refuse(error: InvalidHandshake) -> Response:
    response = jsonify(error=f"{request.path} speaks WebSocket, version 13, only: {error}")
    response.status_code = 400
    if isinstance(error, InvalidUpgrade) or (
        isinstance(error, InvalidHeader) and error.name == "Sec-WebSocket-Version"
    ):
        response.status_code = 426
        response.headers.update({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"})
    return response


_serving: set[greenlets.Greenlet] = set()


def join(timeout_secs: float) -> None:
    """Waits for the connections that are being closed."""
    greenlets.joinall(list(_serving), timeout_secs)


def _open(log_context: dict[str, Any], sock: socket.socket, ws: WebSocket, handle: Callable[[], None]) -> None:
    greenlet = greenlets.spawn("websocket", _serve, log_context, sock, ws, handle)
    _serving.add(greenlet)
    greenlet.link(_serving.discard)


def _serve(log_context: dict[str, Any], sock: socket.socket, ws: WebSocket, handle: Callable[[], None]) -> None:
    structlog.contextvars.bind_contextvars(**log_context)
    code, reason = CloseCode.NORMAL_CLOSURE, ""
    with sock:
        try:
            handle()
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("websocket.failed")
            code, reason = CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server"
        ws.close(code, reason)


def read_ahead(environ: "WSGIEnvironment") -> bytes:
    """What came right behind the request's head and sits in gunicorn's parser by now."""
    unread: bytes = environ["wsgi.input"].reader.unreader.take_buffered()
    return unread


def without_head(upstream: Upstream) -> Upstream:
    """The client has its 101 already."""
    return replace(upstream, answer=upstream.answer.partition(b"\r\n\r\n")[2])
