"""The client address behind load balancers: `X-Forwarded-*` counts only when a trusted proxy has sent it."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Address = IPv4Address | IPv6Address

# Some proxies send the schemes of WebSockets.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
# The default ports of http and https: a Host header omits them.
_DEFAULT_PORTS = ("80", "443")
_NAMES_PORT = re.compile(r":\d*$")
# The key of the forwarded port in the environment. Clients cannot set it: headers begin with HTTP_.
_PORT = "netstacks.forwarded_port"


class TrustedProxies:
    """WSGI middleware: sets the client's address, scheme and host in the environment of the request.

    The client is the last address in `X-Forwarded-For` that is not a trusted proxy; a client can forge those before it.
    SERVER_PORT stays unchanged: it tells which listener has accepted the connection.
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
    """Takes scheme, host and port from the outermost trusted proxy. Proxies append to these headers or replace them."""
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
    """The hosts that the client may have requested: Host, and if it has no port, also Host with the forwarded port.

    The forwarded port may be that of the client's request, or that of an inner proxy.
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
