"""The time limit of a whole conversation: a peer may send a byte from time to time, within the limit of each step."""

import contextlib
import socket
from collections.abc import Iterator

from netstacks import greenlets


@contextlib.contextmanager
def bounded(connection: socket.socket, secs: float) -> Iterator[None]:
    """Shuts a connection down that is in use for longer than `secs`; the block then raises TimeoutError."""
    # TLS takes the descriptor over from the socket.
    descriptor = connection.fileno()
    is_over = False

    def end() -> None:
        nonlocal is_over
        is_over = True
        greenlets.shut_down(descriptor)

    with greenlets.Timer(secs, end):
        try:
            yield
        except Exception as error:
            if is_over:
                raise TimeoutError from error
            raise
