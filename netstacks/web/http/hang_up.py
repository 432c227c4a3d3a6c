"""Whether the client of a request that takes long is still there, and the end of one that takes nothing."""

import socket
from typing import Any

from netstacks import greenlets


def has_hung_up(environ: dict[str, Any]) -> bool:
    """Whether the client, or the load balancer before it, has closed the connection. Does not wait.

    A client that closes only its sending side counts as gone; no browser and no load balancer does that.
    """
    sock: socket.socket | None = environ.get("gunicorn.socket")
    if sock is None:
        return False
    try:
        with sock.dup() as copy:
            copy.setblocking(False)
            return copy.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def hang_up(environ: dict[str, Any]) -> None:
    """Ends the client's connection, so that what waits to write to it goes on and fails. gunicorn then closes it."""
    sock: socket.socket | None = environ.get("gunicorn.socket")
    if sock is not None:
        greenlets.shut_down(sock.fileno())
