"""Audit rows as syslog messages (RFC 5424), over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425)."""

import contextlib
import json
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from netstacks.errors import NetstacksError
from netstacks.instance.bounded_connection import bounded

CONNECT_SECS = 5.0
# A batch that is not taken within this time has failed.
SEND_SECS = 15.0
# How long the receiver may take to close its side of a connection that this side has ended.
_CLOSE_SECS = 2.0

# Facility 13, 'log audit'; severity 5, 'notice', and 4, 'warning', for what was refused or has failed.
_FACILITY, _NOTICE, _WARNING = 13, 5, 4
_WARNED = re.compile(r"(failed|refused|throttled|reused|lost|denied)")
# The enterprise number that RFC 5612 reserves for examples: this program has none of its own.
_SD_ID = "netstacks@32473"
# The length that receivers should accept (RFC 5426, section 3.2); longer messages are cut.
_DATAGRAM_BYTES = 2048
_MESSAGE_BYTES = 65_536
_NOT_PRINTABLE = re.compile(r"[^\x21-\x7e]")
_ESCAPED = re.compile(r'(["\\\]])')


class DeliveryFailed(NetstacksError):
    """The receiver was not reached, or did not take what was sent; the text is for administrators."""


def message(row: dict[str, Any], most_bytes: int = _MESSAGE_BYTES) -> bytes:
    """One row as a message of at most `most_bytes`; longer details are cut."""
    severity = _WARNING if _WARNED.search(row["event"]) else _NOTICE
    at = row["at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    head = (
        f"<{8 * _FACILITY + severity}>1 {at} {_token(socket.gethostname(), 255)} netstacks - {_token(row['event'], 32)}"
    )
    details = json.dumps(row["details"], ensure_ascii=False, separators=(",", ":"))
    whole = f"{head} [{_SD_ID}{''.join(_parameters(row))}] \ufeff{details}".encode()
    return whole[:most_bytes].decode(errors="ignore").encode()


def _token(text: str, most: int) -> str:
    return _NOT_PRINTABLE.sub("_", text)[:most] or "-"


def _parameters(row: dict[str, Any]) -> Iterator[str]:
    for name in ("id", "seal", "head", "actor", "actor_id", "event", "resource", "address"):
        if row.get(name) is not None:
            value = _ESCAPED.sub(r"\\\1", " ".join(str(row[name])[:1000].splitlines()))
            yield f' {name}="{value}"'


def send_datagrams(host: str, port: int, rows: Iterable[dict[str, Any]]) -> None:
    """Sends a datagram for each row. Nothing tells whether it arrives. Raises DeliveryFailed for a local error."""
    with _failing(f"{host}:{port}"):
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as sender:
            # Connected, so that 'port unreachable' is an error of the next datagram.
            sender.connect(place)
            for row in rows:
                sender.send(message(row, _DATAGRAM_BYTES))


def send_stream(host: str, port: int, rows: Iterable[dict[str, Any]], tls: ssl.SSLContext | None) -> None:
    """Sends the rows over a connection of their own, with octet counting. Raises DeliveryFailed.

    After the last one it waits until the receiver closes: a receiver that has died meanwhile answers with a reset.
    """
    data = b"".join(b"%d %s" % (len(each), each) for each in map(message, rows))
    with (
        _failing(f"{host}:{port}"),
        socket.create_connection((host, port), CONNECT_SECS) as plain,
        bounded(plain, SEND_SECS),
        tls.wrap_socket(plain, server_hostname=host) if tls else contextlib.nullcontext(plain) as connection,
    ):
        connection.settimeout(SEND_SECS)
        connection.sendall(data)
        _finish(connection)


def _finish(connection: socket.socket) -> None:
    connection.settimeout(_CLOSE_SECS)
    try:
        if isinstance(connection, ssl.SSLSocket):
            connection.unwrap()
            return
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    except (TimeoutError, ssl.SSLError):
        # The server has received the data; it keeps the connection open, or closes it without TLS's close_notify.
        return


@contextlib.contextmanager
def _failing(receiver: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise DeliveryFailed(f"{receiver}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """An error of a connection in words."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case socket.gaierror():
            return "its name cannot be resolved"
        case TimeoutError():
            return "it does not answer in time"
        case ConnectionRefusedError():
            return "it refuses the connection"
        case OSError():
            return f"the connection failed: {error.strerror or type(error).__name__}"
    return f"the connection failed: {type(error).__name__}"


def tls_context(ca: str | None) -> ssl.SSLContext:
    """Trusts the certificates in `ca`, or those of the system. Raises DeliveryFailed when `ca` has none."""
    try:
        return ssl.create_default_context(cadata=ca)
    # TypeError: characters beyond ASCII.
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise DeliveryFailed("is not a certificate in PEM") from error
