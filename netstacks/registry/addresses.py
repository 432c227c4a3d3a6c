"""The addresses in VALKEY_SENTINEL_URL: the specification separates them by commas, which no URL parser reads."""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from netstacks.errors import InvalidInput

SENTINEL_PORT = 26379
_EXAMPLE = "redis://sentinel1:26379,sentinel2:26379"
_SCHEME = re.compile(r"(?P<name>redis|valkey)(?P<tls>s?)://")


@dataclass(frozen=True)
class Endpoint:
    """Where a Sentinel listens, and how to talk to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint({self})"


def parse(url: str) -> tuple[Endpoint, ...]:
    """The Sentinels that `url` names: `[scheme://][user:password@]host[:port]`, by commas.

    Scheme, user and password are those of the address before, where an address names none. Raises InvalidInput, whose
    text contains no password.
    """
    endpoints: list[Endpoint] = []
    tls: bool | None = None
    for address in filter(None, (part.strip() for part in url.split(","))):
        if scheme := _SCHEME.match(address):
            tls, address = bool(scheme["tls"]), address[scheme.end() :]
        if tls is None or "://" in address:
            raise InvalidInput(f"must be a URL such as {_EXAMPLE}")
        endpoints.append(_endpoint(address, tls, endpoints[-1] if endpoints else None))
    if not endpoints:
        raise InvalidInput(f"must name at least one Sentinel, such as {_EXAMPLE}")
    return tuple(endpoints)


def _endpoint(address: str, tls: bool, before: Endpoint | None) -> Endpoint:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port or SENTINEL_PORT
    except ValueError:
        host, port = None, 0
    if not host:
        raise InvalidInput(
            f"must be addresses such as {_EXAMPLE}; an IPv6 address stands in brackets, and a comma, @, / or : in a"
            " password is percent-encoded"
        )
    if parts.path.strip("/") or parts.query:
        raise InvalidInput(f"must end each address with its port, such as {_EXAMPLE}: what follows belongs elsewhere")
    if parts.password is None:
        return replace(before, host=host, port=port, tls=tls) if before else Endpoint(host, port, tls=tls)
    return Endpoint(host, port, unquote(parts.username or "") or None, unquote(parts.password), tls)
