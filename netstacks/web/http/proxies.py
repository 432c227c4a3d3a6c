"""Who the client is behind load balancers: `X-Forwarded-*` counts when a trusted proxy sent it, and not otherwise."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Address = IPv4Address | IPv6Address

# Some proxies name the scheme of the WebSocket.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
# A host without a port has one of these, by its scheme.
_DEFAULT_PORTS = ("80", "443")
_NAMES_PORT = re.compile(r":\d*$")
# The member of the environment that holds the forwarded port. No header of a client has such a name.
_PORT = "netstacks.forwarded_port"


class TrustedProxies:
    """WSGI middleware: puts the client's address, scheme and host into the environment of the request.

    The client is the last address in `X-Forwarded-For` that is not a trusted proxy itself; what stands before it
    anybody may have written. SERVER_PORT stays what it is: it tells which of our listeners took the connection.
    """

    def __init__(self, app: "WSGIApplication", trusted: Sequence[str]) -> None:
        self._app = app
        self._networks = [ip_network(each) for each in trusted]

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        client = _address(environ.get("REMOTE_ADDR", ""))
        hops = 0
        forwarded = _values(environ, "FOR")
        while client is not None and self._trusts(client):
            hops += 1
            before = _address(forwarded[-hops]) if hops <= len(forwarded) else None
            if before is None:
                break
            client = before
        if hops:
            environ["REMOTE_ADDR"] = str(client)
            _take(environ, hops)
        return self._app(environ, start_response)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _take(environ: "WSGIEnvironment", hops: int) -> None:
    """Scheme, host and port as the outermost trusted proxy saw them; a proxy adds to these headers or replaces them."""
    scheme = _SCHEMES.get(_outermost(environ, "PROTO", hops).lower())
    if scheme:
        environ["wsgi.url_scheme"] = scheme
    host = _outermost(environ, "HOST", hops)
    if host:
        environ["HTTP_HOST"] = host
    port = _outermost(environ, "PORT", hops)
    if port.isascii() and port.isdigit() and port not in _DEFAULT_PORTS:
        environ[_PORT] = port


def hosts(environ: "WSGIEnvironment") -> list[str]:
    """What the client may have asked for: the host, and where that names no port, also the host with the forwarded one.

    The forwarded port may be the client's, or that of a proxy behind the one that the client talks to.
    """
    host, port = environ.get("HTTP_HOST", ""), environ.get(_PORT)
    return [host, f"{host}:{port}"] if host and port and not _NAMES_PORT.search(host) else [host]


def _outermost(environ: "WSGIEnvironment", name: str, hops: int) -> str:
    values = _values(environ, name)
    return values[-min(hops, len(values))] if values else ""


def _values(environ: "WSGIEnvironment", name: str) -> list[str]:
    given = environ.get(f"HTTP_X_FORWARDED_{name}", "")
    return [value.strip() for value in given.split(",") if value.strip()]


def _address(text: str) -> Address | None:
    """An address, with or without the port that some proxies add; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
