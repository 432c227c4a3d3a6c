"""Mutual TLS between instances, with the operator's certificates."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from netstacks import greenlets

log = structlog.get_logger()

HANDSHAKE_SECS = 5.0


@dataclass(frozen=True)
class PeerTls:
    """Certificate and key of this instance; `ca` has signed all of them. Without it, the system's roots are used.

    Host names are verified: a certificate must name the address that its instance advertises.
    """

    cert: Path
    key: Path
    ca: Path | None

    @classmethod
    def of(cls, cert: Path | None, key: Path | None, ca: Path | None) -> "PeerTls | None":
        """None when TLS between instances is not configured."""
        return cls(cert, key, ca) if cert and key else None

    def for_dialling(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
        context.load_cert_chain(self.cert, self.key)
        return context

    def for_listening(self) -> ssl.SSLContext:
        """With a CA, peers need a certificate signed by it."""
        context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if self.ca is not None:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class _PeerSocket(ssl.SSLSocket):
    """A connection that outlives gunicorn's request: TLS state cannot be duplicated, so `dup` returns the same object.

    The `close` after a `dup`, which is gunicorn's, does nothing.
    """

    _is_kept = False

    def dup(self) -> "_PeerSocket":
        self._is_kept = True
        return self

    def close(self) -> None:
        if self._is_kept:
            self._is_kept = False
        else:
            super().close()


class _ServerContext(ssl.SSLContext):
    sslsocket_class = _PeerSocket


Handle = Callable[[Any, socket.socket, Any], None]


def wrapping(handle: Handle, private_port: int, context: ssl.SSLContext) -> Handle:
    """gunicorn's connection handler, preceded by a TLS handshake on the private listener."""

    def handle_either(listener: Any, client: socket.socket, address: Any) -> None:
        if listener.getsockname()[1] == private_port:
            try:
                with greenlets.deadline(HANDSHAKE_SECS, TimeoutError()):
                    client = context.wrap_socket(client, server_side=True)
            except OSError as error:
                log.warning("peer.handshake_failed", address=address[0], error=str(error))
                client.close()
                return
        handle(listener, client, address)

    return handle_either
