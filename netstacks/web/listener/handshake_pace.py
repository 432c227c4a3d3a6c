"""The rate at which WebSocket handshakes begin: one at a time, so that other requests run in between.

When an instance is lost, thousands of clients reconnect at once. Without this limit a health probe, a page or a key
that arrives after them waits until all of their requests are read.
"""

import socket
from collections.abc import Callable

from netstacks import greenlets

_BEGINNING = b"GET /ws/ssh"
_BETWEEN_SECS = 0.001


def is_for_terminal(accepted: socket.socket) -> bool:
    """Whether a new connection requests a terminal. Never waits: the requests of a crowd arrive before accept."""
    accepted.settimeout(0.0)
    try:
        return accepted.recv(len(_BEGINNING), socket.MSG_PEEK) == _BEGINNING
    except OSError:
        return False
    finally:
        accepted.settimeout(None)


class HandshakePace:
    """Serialises the beginnings of handshakes."""

    def __init__(self) -> None:
        self._turn = greenlets.BoundedSemaphore(1)

    def wait(self, is_wanted: Callable[[], bool]) -> None:
        """Returns when the handshake may begin; at once for one that is not `is_wanted` any more."""
        with self._turn:
            if is_wanted():
                greenlets.sleep(_BETWEEN_SECS)
