"""The client of a long request: whether it is still connected, and the end of its connection."""

import socket
from typing import Any

from netstacks import greenlets


def has_hung_up(environ: dict[str, Any]) -> bool:
    """Whether the client, or a load balancer in between, has closed the connection. Does not wait.

    A client that closes only its sending side counts as gone; browsers and load balancers do not do that.
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
    """Shuts the client's connection down, so that a greenlet that waits to write to it fails. gunicorn closes it."""
    sock: socket.socket | None = environ.get("gunicorn.socket")
    if sock is not None:
        greenlets.shut_down(sock.fileno())
