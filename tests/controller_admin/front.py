"""A running controller-admin in front of an API that a test writes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

from tests.acceptance.controller_admin import ControllerAdmin


@contextmanager
def in_front_of(serve: Callable[[socket.socket, bytes], None], **settings: str) -> Iterator[ControllerAdmin]:
    """A controller-admin whose API is `serve`, called with each connection and the head of its request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=[connection], daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                received += chunk
            serve(connection, received)

    threading.Thread(target=accept, daemon=True).start()
    api = cast(Any, SimpleNamespace(url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
    try:
        site = ControllerAdmin(api)
        site.environ |= settings
        with site:
            yield site
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
