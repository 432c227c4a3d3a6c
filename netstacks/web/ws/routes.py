"""WebSocket routes: declared as with flask-sock, served by a connection class of our own.

simple-websocket, which flask-sock uses, loses output under gevent and buffers input without a limit
(docs/design-notes.md, 7).
"""

import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn

import flask_sock
import structlog
from flask import Blueprint, Flask, Response, current_app, g, has_request_context, jsonify, request
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidHeader, InvalidMessage, InvalidProtocol, InvalidUpgrade
from websockets.frames import CloseCode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from werkzeug.datastructures import EnvironHeaders

from netstacks import greenlets, tracing
from netstacks.errors import ConnectionClosed
from netstacks.peer import metrics, relays
from netstacks.peer.client import INSTANCE_HEADER, Upstream
from netstacks.web.http import once
from netstacks.web.ws.message_assembly import MAX_MESSAGE_BYTES
from netstacks.web.ws.websocket import WebSocket

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["ConnectionClosed", "Sock", "WebSocket"]

log = structlog.get_logger()

# The key of `Accepted` in the environment of a request.
ACCEPTED = "netstacks.accepted"
# The key of the seconds of errors.OwnerOverdue, set when the owner of the request's session is overdue.
OWNER_OVERDUE = "netstacks.owner_overdue"
# The key of the application's extension that holds the greenlets of its open connections.
_SERVING = "netstacks.websockets"

Handler = Callable[..., None]


@dataclass(frozen=True)
class Accepted:
    """The upgrade of this request was answered before the application was called; `unread` has arrived since."""

    unread: bytes


class Sock(flask_sock.Sock):  # type: ignore[misc]
    """Registers WebSocket routes. The connection closes with 1000 when its handler returns, with 1011 when it fails.

    Inherits from flask-sock its registration on an application or blueprint (`init_app`), and replaces `route`, whose
    original creates a connection of simple-websocket.
    """

    app: Flask | None
    bp: Blueprint | None

    def route(
        self, path: str, bp: Blueprint | None = None, *, authorise: Callable[..., Any] | None = None
    ) -> Callable[[Handler], Handler]:
        """Routes `path` to `handler(ws, **arguments)`, or with `authorise` to `handler(ws, context, **arguments)`.

        `authorise(**arguments)` runs before the connection is accepted. Its return value is the context; an exception
        is answered as in any other view. When it returns an `Upstream`, another instance has accepted the connection
        and serves it, and this one only relays bytes. The handler runs after the request has ended: a connection that
        lasts hours keeps no request in memory and takes none of gunicorn's connection slots.
        """

        def decorator(handler: Handler) -> Handler:
            @wraps(handler)
            def view(**arguments: Any) -> Response:
                # Limits frames only: the limit of a message depends on its type (message_assembly).
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
                return _AlreadyAnswered(status=101)

            scaffold = self._scaffold(bp)
            scaffold.add_url_rule(path, view_func=view, websocket=True)
            scaffold.add_url_rule(path, endpoint=f"{handler.__name__}_without_upgrade", view_func=_ask_for_upgrade)
            return handler

        return decorator

    def _scaffold(self, bp: Blueprint | None) -> Flask | Blueprint:
        scaffold = bp or self.app
        if scaffold is None:
            scaffold = self.bp = self.bp or Blueprint("sockets", __name__)  # Registered by `init_app`.
        return scaffold


class _AlreadyAnswered(Response):
    """Writes no HTTP into an open WebSocket: gunicorn closes its descriptor on StopIteration without an answer."""

    def __call__(self, *_: object) -> NoReturn:
        raise StopIteration


def shake_hands(environ: "WSGIEnvironment") -> bytes:
    """The 101 response to an upgrade request (RFC 6455, 4.2.2). Raises InvalidHandshake."""
    headers = EnvironHeaders(environ)
    if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
        raise InvalidMessage("the request must not have a body")
    upgrade = Request(
        environ["PATH_INFO"], Headers(headers.items()), environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"]
    )
    accept_key, _, _ = ServerProtocol().process_request(upgrade)
    # No extension and no subprotocol is negotiated: compression costs memory per socket (docs/design-notes.md, 7).
    signature = f"{INSTANCE_HEADER}: {g.answered_by}\r\n" if has_request_context() and "answered_by" in g else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{signature}Sec-WebSocket-Accept: {accept_key}\r\n\r\n"
    ).encode()


def _ask_for_upgrade(**_: object) -> Response:
    name = "Connection" if request.headers.get("Upgrade") == "websocket" else "Upgrade"
    return _refuse(InvalidUpgrade(name, request.headers.get(name)))


def _refuse(error: InvalidHandshake) -> Response:
    if isinstance(error, InvalidUpgrade | InvalidProtocol) and _is_stripped():
        how = f"without the header {error.name}" if isinstance(error, InvalidUpgrade) else "with HTTP/1.0"
        problem = (
            f"requests for WebSockets arrive {how}: the load balancer must pass the headers Upgrade and Connection on,"
            " with HTTP/1.1"
        )
        # Not at the first: one request proves nothing, and pages repeat theirs.
        once.warn("websocket.upgrade_removed", how, problem=problem, at=3)
    response = jsonify(error=f"{request.path} accepts WebSocket connections only (version 13): {error}.")
    response.status_code = 400
    if isinstance(error, InvalidUpgrade) or (
        isinstance(error, InvalidHeader) and error.name == "Sec-WebSocket-Version"
    ):
        response.status_code = 426
        response.headers.update({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"})
    return response


def _is_stripped() -> bool:
    """Whether a proxy has removed headers: Upgrade and Connection are for one hop, the key beside them is not."""
    return "Sec-WebSocket-Key" in request.headers and request.headers.get("Upgrade", "websocket") == "websocket"


def join(app: Flask, timeout_secs: float) -> None:
    """Waits until the WebSockets of `app` are closed, for `timeout_secs` at most."""
    greenlets.joinall(list(_serving(app)), timeout_secs)


def _serving(app: Flask) -> set[greenlets.Greenlet]:
    serving: set[greenlets.Greenlet] = app.extensions.setdefault(_SERVING, set())
    return serving


def _open(log_context: dict[str, Any], sock: socket.socket, ws: WebSocket, handle: Callable[[], None]) -> None:
    greenlet = greenlets.spawn("websocket", tracing.carried(_serve), log_context, sock, ws, handle)
    serving = _serving(current_app)
    serving.add(greenlet)
    greenlet.link(serving.discard)


def _serve(log_context: dict[str, Any], sock: socket.socket, ws: WebSocket, handle: Callable[[], None]) -> None:
    structlog.contextvars.bind_contextvars(**log_context)
    code, reason = CloseCode.NORMAL_CLOSURE, ""
    is_forwarded = log_context["path"].startswith("/peer/")
    with sock, metrics.hop("in") if is_forwarded else nullcontext():
        try:
            handle()
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("websocket.failed")
            code, reason = CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server"
        ws.close(code, reason)


def read_ahead(environ: "WSGIEnvironment") -> bytes:
    """The bytes after the request's head that gunicorn's parser has read already."""
    unread: bytes = environ["wsgi.input"].reader.unreader.take_buffered()
    return unread


def without_head(upstream: Upstream) -> Upstream:
    """`upstream` without its 101, for a client that has been sent one already."""
    return replace(upstream, answer=upstream.answer.partition(b"\r\n\r\n")[2])
