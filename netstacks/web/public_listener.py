"""The listener for clients: its connections have limits, and those of users are told from those of strangers."""

import resource
from collections.abc import Sequence
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import ServiceUnavailable

from netstacks.web.auth import guard
from netstacks.web.listener import handshake_pace
from netstacks.web.listener.client_socket import BODY_BYTES, ClientSocket
from netstacks.web.listener.connection_limits import ConnectionLimits
from netstacks.web.listener.handshake_pace import HandshakePace

# The other half of the process's file descriptors is for terminals and their devices.
_DESCRIPTORS_SHARE = 0.5


def init_app(app: Flask) -> None:
    """Tells users from strangers, and refuses strangers when there is no room for them."""
    app.before_request(_refuse_surplus)
    app.after_request(_recognise)


def _refuse_surplus() -> None:
    sock = request.environ.get("gunicorn.socket")
    if isinstance(sock, ClientSocket) and sock.limits.is_surplus(sock) and guard.identify() is None:
        # Not as an error of ours: each of those would be a line in the log.
        raise ServiceUnavailable("very many requests are under way: try again in a moment", retry_after=2)


def _recognise(response: Response) -> Response:
    sock = request.environ.get("gunicorn.socket")
    if isinstance(sock, ClientSocket) and g.get("identity") is not None:
        sock.limits.recognise(sock)
    return response


def set_limits(worker: Any, per_address: int, proxies: Sequence[str]) -> None:
    """Puts the connections of a gunicorn worker's public listener under limits. The private one has its own places."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    places = min(worker.worker_connections, int(descriptors * _DESCRIPTORS_SHARE))
    limits = ConnectionLimits(places, per_address, proxies)
    pace = HandshakePace()
    handle, peer_port = worker.handle, getattr(worker, "peer_port", None)

    def handle_within_limits(listener: Any, accepted: Any, address: Any) -> None:
        if listener.getsockname()[1] == peer_port:
            handle(listener, accepted, address)
            return
        is_for_terminal = handshake_pace.is_for_terminal(accepted)
        sock = ClientSocket(accepted, limits)
        # A socket of the file system has no address.
        if not limits.admit(sock, address[0] if isinstance(address, tuple) else None):
            sock.close()
            return
        try:
            if is_for_terminal:
                # What waits here is counted, and may be closed to make room.
                pace.wait(lambda: bool(sock.crowds))
            handle(listener, sock, address)
        finally:
            limits.leave(sock)

    worker.handle = handle_within_limits
    worker.cfg.set("pre_request", _begin)
    worker.cfg.set("post_request", _end)


def _begin(worker: Any, req: Any) -> None:
    if isinstance(req.unreader.sock, ClientSocket):
        req.unreader.sock.begin_request()


def _end(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    sock = req.unreader.sock
    if isinstance(sock, ClientSocket) and resp.status is None:
        # A WebSocket has a copy of the connection, and would be closed with this one to make room.
        sock.limits.leave(sock)
    elif isinstance(sock, ClientSocket):
        # A body that was not asked for is read after the answer, so that this reaches a client that is still sending.
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        sock.end_request(BODY_BYTES if is_chunked else min(BODY_BYTES, int(environ.get("CONTENT_LENGTH") or 0)))
