"""Validation of DATABASE_URL at start: libpq finds most mistakes only when it connects, and the pool keeps retrying.

Must not import the PostgreSQL driver: settings are read before gevent patches the process.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address

from netstacks import urls
from netstacks.errors import InvalidInput

_EXAMPLE = "postgres://user:password@host:5432/database"
_SCHEMES = ("postgres", "postgresql")
# As libpq parses it, and unlike other URLs: user and password end at the first `@` and may contain all but a slash.
_URL = re.compile(r"\w+://(?:(?P<userinfo>[^/@]*)@)?(?P<hosts>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL)
_PAIR = re.compile(
    r"\s*(?P<name>\w+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<plain>(?:[^\s'\\]|\\.)*))(?=\s|$)", re.S
)

# The parameters of libpq 14 to 18.
_KNOWN = """
    service user password passfile channel_binding connect_timeout dbname host hostaddr port client_encoding options
    application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
    tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert sslcrl
    sslcrldir sslsni requirepeer require_auth min_protocol_version max_protocol_version ssl_min_protocol_version
    ssl_max_protocol_version gssencmode krbsrvname gsslib gssdelegation replication target_session_attrs
    load_balance_hosts scram_client_key scram_server_key oauth_issuer oauth_client_id oauth_client_secret
    oauth_scope sslkeylogfile
"""
PARAMETERS = frozenset(_KNOWN.split())
_VALUES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
}
# The JDBC spelling of sslmode=require.
_SSL_TRUE = re.compile(r"(^|&)ssl=true(?=&|$)")


def parse(text: str) -> dict[str, str]:
    """The libpq parameters of a URL or of a `name=value` list. Raises InvalidInput, whose text holds no secret."""
    if re.match(r"['\"]?[\w+.-]+:/", text):
        found = _of_url(text)
    elif "=" in text:
        found = dict(_pairs(text))
    else:
        urls.check_text(text)
        raise InvalidInput(f"must be a URL such as {_EXAMPLE}")
    _check(found)
    return found


def _of_url(text: str) -> dict[str, str]:
    urls.check_text(text)
    if not text.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)):
        raise InvalidInput(f"must be a URL such as {_EXAMPLE}")
    parts = _URL.fullmatch(text)
    assert parts is not None
    path, query = parts["path"] or "", parts["query"] or ""
    if "#" in path:
        raise InvalidInput("has a '#' after its host: in a name or a password it is written %23")
    query = _SSL_TRUE.sub(r"\1sslmode=require", query)
    url = urls.split("postgres", parts["userinfo"], parts["hosts"], path, query, PARAMETERS)
    if "/" in url.path:
        raise InvalidInput(f"has a '/' in the name of its database: it must be a URL such as {_EXAMPLE}")
    elsewhere = url.parameters.keys() & {"host", "hostaddr", "service"}
    is_named = any(host for host, _ in url.hosts)
    if not all(host for host, _ in url.hosts) and not elsewhere and (len(url.hosts) > 1 or text.count("@") or is_named):
        raise InvalidInput(f"has no host, or an empty one: it must be a URL such as {_EXAMPLE}")
    found = {
        "user": url.username or "",
        "password": url.password or "",
        "host": ",".join(host for host, _ in url.hosts),
        "port": ",".join(str(port or "") for _, port in url.hosts) if any(port for _, port in url.hosts) else "",
        "dbname": url.path,
    }
    return {name: value for name, value in found.items() if value} | url.parameters


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.strip()
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            raise InvalidInput(
                "must be name=value pairs with spaces between them, a value with spaces in single quotes and a quote in"
                f" it as \\', such as host=db user=netstacks dbname=netstacks; or a URL such as {_EXAMPLE}"
            )
        if pair["name"] not in PARAMETERS:
            raise InvalidInput(
                f"has a name before '=' that libpq does not know; it may also be a URL such as {_EXAMPLE}"
            )
        value = pair["plain"] if pair["quoted"] is None else pair["quoted"]
        yield pair["name"], re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        at = pair.end()


def _check(parameters: dict[str, str]) -> None:
    for name, values in _VALUES.items():
        if parameters.get(name, values[0]) not in values:
            raise InvalidInput(f"{name} must be one of {', '.join(values)}")
    for host in parameters.get("host", "").split(","):
        _check_host(host)
    hosts = (parameters.get("hostaddr") or parameters.get("host", "")).split(",")
    ports = parameters.get("port", "").split(",")
    for port in filter(None, ports):
        urls.check_port(port)
    if len(ports) not in (1, len(hosts)):
        raise InvalidInput(
            f"names {len(hosts)} hosts and {len(ports)} ports: there must be one port, or one for each host"
        )


def _check_host(host: str) -> None:
    if host.startswith(("/", "@")):  # A folder of Unix sockets, or an abstract one.
        return
    try:
        if ":" in host:
            IPv6Address(host)
        else:
            urls.check_host(host)
    except ValueError:
        raise InvalidInput(
            "has a host with a ':' in it that is not an IPv6 address: a port is separate, as port=5432"
        ) from None
