"""A crowd that comes for terminals: its handshakes begin one after another, and others have their turn in between.

Thousands of clients connect at once when an instance was lost. A health check, a page or a key that comes behind them
would wait until all of their requests are read.
"""

import socket
from collections.abc import Callable

from netstacks import greenlets

_BEGINNING = b"GET /ws/ssh"
_BETWEEN_SECS = 0.001


def is_for_terminal(accepted: socket.socket) -> bool:
    """Whether a new connection asks for a terminal. Of a crowd, the requests have come before they are accepted."""
    accepted.settimeout(0.0)
    try:
        return accepted.recv(len(_BEGINNING), socket.MSG_PEEK) == _BEGINNING
    except OSError:
        return False
    finally:
        accepted.settimeout(None)


class HandshakePace:
    """Lets one handshake begin at a time."""

    def __init__(self) -> None:
        self._turn = greenlets.BoundedSemaphore(1)

    def wait(self, is_wanted: Callable[[], bool]) -> None:
        """Returns when the handshake may begin. One that `is_wanted` no more takes no time of the others."""
        with self._turn:
            if is_wanted():
                greenlets.sleep(_BETWEEN_SECS)
