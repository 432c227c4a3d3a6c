"""Who the client is behind load balancers: `X-Forwarded-*` counts when a trusted proxy sent it, and not otherwise."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Address = IPv4Address | IPv6Address


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
    """Scheme and host as the outermost trusted proxy saw them; a proxy may add to these headers or replace them."""
    if schemes := _values(environ, "PROTO"):
        scheme = schemes[-min(hops, len(schemes))].lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
    if hosts := _values(environ, "HOST"):
        environ["HTTP_HOST"] = hosts[-min(hops, len(hosts))]


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
