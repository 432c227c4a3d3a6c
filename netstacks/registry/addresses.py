"""Parses the addresses in VALKEY_URL and VALKEY_SENTINEL_URL; commas separate several Sentinels."""

from dataclasses import dataclass, field, replace

from netstacks import urls
from netstacks.errors import InvalidInput

VALKEY_PORT = 6379
SENTINEL_PORT = 26379
_VALKEY_EXAMPLE = "redis://host:6379"
_SENTINEL_EXAMPLE = "redis://sentinel1:26379,sentinel2:26379"
_SCHEMES = ("redis", "rediss", "valkey", "valkeys")
_TLS_SCHEMES = ("rediss", "valkeys")
# The options of redis-py's TLS connections that a deployment may set.
_TLS_PARAMETERS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_CERTIFICATE_CHECKS = ("none", "optional", "required")
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Endpoint:
    """The address of a Sentinel or of a Valkey node, with credentials and TLS."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint({self})"


@dataclass(frozen=True)
class Node:
    """A Valkey node, its database number, and the TLS options for redis-py."""

    endpoint: Endpoint
    database: int = 0
    tls_options: dict[str, str | bool] = field(default_factory=dict)


def parse_valkey(url: str) -> Node:
    """The node that `scheme://[[user]:password@]host[:port][/database]` names. Raises InvalidInput without secrets."""
    parts = urls.parse(url, _SCHEMES, _VALKEY_EXAMPLE, ("db", *_TLS_PARAMETERS))
    endpoint = _endpoint(parts, VALKEY_PORT, _VALKEY_EXAMPLE)
    tls_options = dict(parts.parameters)
    numbers = [each for each in (parts.path, tls_options.pop("db", "")) if each]
    if len(numbers) > 1 or not all(each.isascii() and each.isdigit() and len(each) < 6 for each in numbers):
        raise InvalidInput(f"must end with one number of a database, or none, such as {_VALKEY_EXAMPLE}/0")
    return Node(endpoint, int(numbers[0]) if numbers else 0, _tls_options(tls_options, tls=endpoint.tls))


def parse(url: str) -> tuple[Endpoint, ...]:
    """The Sentinels in `url`: `[scheme://][[user]:password@]host[:port]`, separated by commas.

    An address without scheme, or without user and password, has those of the address before it. Raises InvalidInput,
    whose text contains no password.
    """
    endpoints: list[Endpoint] = []
    scheme = ""
    for address in filter(None, (part.strip() for part in url.split(","))):
        whole = address if "://" in address or not scheme else f"{scheme}://{address}"
        parts = urls.parse(whole, _SCHEMES, _SENTINEL_EXAMPLE, ())
        scheme = parts.scheme
        if parts.path:
            raise InvalidInput(
                f"must end each address with its port, such as {_SENTINEL_EXAMPLE}: no path is allowed, and a '/' in a"
                " password is written %2F"
            )
        endpoint = _endpoint(parts, SENTINEL_PORT, _SENTINEL_EXAMPLE)
        if endpoint.password is None and endpoints:
            endpoint = replace(endpoint, username=endpoints[-1].username, password=endpoints[-1].password)
        endpoints.append(endpoint)
    if not endpoints:
        raise InvalidInput(f"must name at least one Sentinel, such as {_SENTINEL_EXAMPLE}")
    return tuple(endpoints)


def _endpoint(parts: urls.Url, default_port: int, example: str) -> Endpoint:
    if len(parts.hosts) > 1:
        raise InvalidInput(
            f"must name one host, such as {example}: set several Sentinels in VALKEY_SENTINEL_URL; a ',' in a"
            " password is written %2C"
        )
    [(host, port)] = parts.hosts
    if not host or "/" in host:
        raise InvalidInput(f"must name a host, such as {example}")
    if parts.username is not None and not parts.password:
        raise InvalidInput(
            "has a user and no password: a password alone stands behind a colon, as in redis://:password@host"
        )
    return Endpoint(host, port or default_port, parts.username or None, parts.password, parts.scheme in _TLS_SCHEMES)


def _tls_options(given: dict[str, str], *, tls: bool) -> dict[str, str | bool]:
    if given and not tls:
        raise InvalidInput(f"has parameters for TLS ({', '.join(given)}): with TLS its scheme is rediss or valkeys")
    if given.get("ssl_cert_reqs", "none") not in _CERTIFICATE_CHECKS:
        raise InvalidInput(f"ssl_cert_reqs must be one of {', '.join(_CERTIFICATE_CHECKS)}")
    options: dict[str, str | bool] = dict(given)
    if "ssl_check_hostname" in given:
        truth = _TRUTHS.get(given["ssl_check_hostname"].lower())
        if truth is None:
            raise InvalidInput("ssl_check_hostname must be true or false")
        options["ssl_check_hostname"] = truth
    return options
