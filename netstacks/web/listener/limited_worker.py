"""Installs the limits of connections in a gunicorn worker: that of a controller, or of a controller-admin."""

import resource
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from werkzeug.exceptions import ServiceUnavailable

from netstacks.web.listener import handshake_pace
from netstacks.web.listener.client_socket import BODY_BYTES, ClientSocket
from netstacks.web.listener.connection_limits import ConnectionLimits
from netstacks.web.listener.handshake_pace import HandshakePace

# The rest of the process's file descriptors is for terminals and their devices, or for connections to the API.
_DESCRIPTORS_SHARE = 0.5


def install(worker: Any, per_address: int, proxies: Sequence[str] = ()) -> None:
    """Limits the connections of a gunicorn worker's public listener. Those of the private listener are not limited."""
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
        # A Unix socket has no address.
        if not limits.admit(sock, address[0] if isinstance(address, tuple) else None):
            sock.close()
            return
        try:
            if is_for_terminal:
                # Already counted: the connection may be closed while it waits, to make room for others.
                pace.wait(lambda: bool(sock.groups))
            handle(listener, sock, address)
        finally:
            limits.leave(sock)

    worker.handle = handle_within_limits
    worker.cfg.set("pre_request", _begin)
    worker.cfg.set("post_request", _end)


def refuse_surplus(environ: Mapping[str, Any], is_of_user: Callable[[], bool] = lambda: False) -> None:
    """Raises ServiceUnavailable for a request of an unknown client beyond the limit of those."""
    sock = environ.get("gunicorn.socket")
    if isinstance(sock, ClientSocket) and sock.limits.is_surplus(sock) and not is_of_user():
        # An HTTPException, because it is not logged: under attack each NetstacksError would write a log line.
        raise ServiceUnavailable("Too many requests are in progress. Try again in a moment.", retry_after=2)


def recognise(environ: Mapping[str, Any]) -> None:
    """Counts the connection of a request as one of a logged-in user."""
    sock = environ.get("gunicorn.socket")
    if isinstance(sock, ClientSocket):
        sock.limits.recognise(sock)


def leave(environ: Mapping[str, Any]) -> None:
    """Stops counting the connection of a request that has become a WebSocket."""
    sock = environ.get("gunicorn.socket")
    if isinstance(sock, ClientSocket):
        sock.limits.leave(sock)


def _begin(worker: Any, req: Any) -> None:
    if isinstance(req.unreader.sock, ClientSocket):
        req.unreader.sock.begin_request()


def _end(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    sock = req.unreader.sock
    if isinstance(sock, ClientSocket) and resp.status is None:
        # The WebSocket continues on a duplicate descriptor. Still counted, it could be closed to make room for others.
        sock.limits.leave(sock)
    elif isinstance(sock, ClientSocket):
        # gunicorn reads the rest of a body after the answer: closing earlier would reset the connection and could lose
        # the answer.
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        sock.end_request(BODY_BYTES if is_chunked else min(BODY_BYTES, int(environ.get("CONTENT_LENGTH") or 0)))
