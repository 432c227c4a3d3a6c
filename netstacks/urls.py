"""Strict parsing of URLs and origins from settings and headers. Error messages name the problem, and never a secret.

`urllib` parses any text as some URL: `redis://:57#secret@host`, with a `#` in its password, becomes port 57 of this
host.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import unquote

from netstacks.errors import InvalidInput

DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}

_SCHEME = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_REST = re.compile(r"(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.DOTALL)
# A percent-encoded host is a directory of Unix sockets; the caller decides whether to allow that.
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?|%2[Ff][\w.%-]*")
_ZONE = re.compile(r"(%25[\w.-]+)?")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r"[A-Za-z]\w*")
# Greedy up to the last `@`: an unquoted `@` in a password must not reveal the rest of it.
_PASSWORD = re.compile(
    r"(?P<user>://[^:@]*:).*(?=@)|(?P<query>[?&]\w*(?:password|secret|scram_\w+)=)[^&]*", re.IGNORECASE | re.DOTALL
)
# Without an `@` the host may be missing, and the apparent port may be a password.
_NO_PORT = re.compile(r"(://[^/?#]*?:)(?!\d{1,5}(?:[,/?#]|$)|\d*:)[^@]*$", re.DOTALL)
_ENCODED = {"#": "%23", "?": "%3F", "/": "%2F", "@": "%40"}


@dataclass(frozen=True)
class Url:
    """The decoded parts of a URL; a missing port is None. `path` is without its leading slash."""

    scheme: str
    username: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    parameters: dict[str, str] = field(repr=False)


def parse(text: str, schemes: Collection[str], example: str, parameters: Collection[str]) -> Url:
    """Parses a URL; several hosts are separated by commas, and an empty host is kept.

    Raises InvalidInput, whose text contains no part of the URL that may be a secret.
    """
    check_text(text)
    name, rest = _scheme(text, schemes, example)
    parts = _REST.fullmatch(rest)
    assert parts is not None
    authority, path, query = parts["authority"], parts["path"] or "", parts["query"] or ""
    if "@" in rest[len(authority) :] and "@" not in authority:
        _refuse_unless_value(rest[len(authority) :])
    if parts["fragment"]:
        raise InvalidInput("has a '#', which ends a URL: in a password or a name it is written %23")
    userinfo, has_user, hosts = authority.rpartition("@")
    return split(name, userinfo if has_user else None, hosts, path, query, parameters)


def split(scheme: str, userinfo: str | None, hosts: str, path: str, query: str, parameters: Collection[str]) -> Url:
    """Validates and decodes the parts of a URL. Raises InvalidInput as `parse` does."""
    if "@" in (userinfo or ""):
        raise InvalidInput("has two '@' before its host: in a user name or a password it is written %40")
    if "@" in path:
        raise InvalidInput("has an '@' after a '/': a '/' in a password is written %2F, and an '@' in a name %40")
    username, has_password, password = (userinfo or "").partition(":")
    return Url(
        scheme,
        decode(username) if userinfo is not None else None,
        decode(password) if has_password else None,
        tuple(_host(each) for each in hosts.split(",")),
        decode(path.removeprefix("/")),
        _parameters(query, parameters),
    )


def check_text(text: str) -> None:
    """Raises InvalidInput for quotes around a URL, and for spaces or invisible characters in it."""
    if text[:1] in ("'", '"') or text[-1:] in ("'", '"'):
        raise InvalidInput("has quotes around it: remove them, only a shell needs them")
    if " " in text or not text.isprintable():
        raise InvalidInput("has a space, a line break or an invisible character: a space in a password is written %20")


def _scheme(text: str, schemes: Collection[str], example: str) -> tuple[str, str]:
    found = _SCHEME.fullmatch(text)
    if found is None or found["name"] not in schemes:
        is_upper = found is not None and found["name"].lower() in schemes
        raise InvalidInput(f"must be a URL such as {example}{', its scheme in lower case' if is_upper else ''}")
    return found["name"], found["rest"]


def _refuse_unless_value(tail: str) -> None:
    """Raises unless the `@` after the authority is in a parameter's value: an unquoted character ended it too early."""
    before = tail[: tail.index("@")]
    if tail[0] != "?" or "=" not in before or "#" in before:
        raise InvalidInput(
            f"has a {tail[0]!r} before its '@', and so no password: in a password it is written {_ENCODED[tail[0]]}"
        )


def _host(text: str) -> tuple[str, int | None]:
    """Host and port of `host:port`; a missing host is empty."""
    found = _HOST.fullmatch(text)
    if found is None or (found["port"] or "").count(":"):
        raise InvalidInput("has a host with several ':': an IPv6 address must be in brackets, as in [2001:db8::1]:5432")
    return check_host(found["host"]), None if found["port"] is None else check_port(found["port"])


def check_host(host: str) -> str:
    """The host name or address of a URL, decoded and without brackets. Raises InvalidInput."""
    if host.startswith("["):
        address, percent, zone = host[1:-1].partition("%")
        try:
            IPv6Address(address)
        except ValueError:
            raise InvalidInput("has something in brackets that is not an IPv6 address") from None
        if not _ZONE.fullmatch(percent + zone):
            raise InvalidInput("has an IPv6 address whose zone must follow as %25 and its name, as in [fe80::1%25eth0]")
        return decode(host[1:-1])
    if host and not _NAME.fullmatch(host):
        raise InvalidInput(
            "has a host that is neither a name nor an address; a '/', '?', '#', '@', ',' or '%' in a password is"
            " written %2F, %3F, %23, %40, %2C or %25"
        )
    return decode(host)


def check_port(text: str) -> int:
    """The port as a number. Raises InvalidInput for anything else."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise InvalidInput(
            "has a port that is not a number from 1 to 65535; a '/', '?', '#' or '@' in a password is written %2F, %3F,"
            " %23 or %40, and an IPv6 address must be in brackets"
        )
    return int(text)


def decode(text: str) -> str:
    """Decodes percent-encoded text. Raises InvalidInput when that is invalid UTF-8 or contains a NUL."""
    try:
        if _LONE_PERCENT.search(text) or "\0" in (decoded := unquote(text, errors="strict")):
            raise ValueError
    except ValueError:
        raise InvalidInput("has a '%' that is not part of an encoded character: a '%' itself is written %25") from None
    return decoded


def _parameters(query: str, known: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if name not in known or not equals:
            named = f" {name!r}" if equals and _PARAMETER.fullmatch(name) else ""
            wanted = f"known are {', '.join(sorted(known))}" if known else "there are none"
            raise InvalidInput(f"has an unknown parameter{named} after '?': {wanted}")
        if name in found:
            raise InvalidInput(f"has the parameter {name!r} twice")
        found[name] = decode(value)
    return found


_USER_ALONE = re.compile(r"^((?:redis|valkey)\w*://)[^/@:?#]*@")


def masked(text: str) -> str:
    """A URL for display: without any part that is, or may be, a password."""
    if not _SCHEME.fullmatch(text):
        return "***"
    # A Valkey password without its leading colon looks like a user name.
    text = _USER_ALONE.sub(r"\1***@", text)
    return _NO_PORT.sub(r"\1***", _PASSWORD.sub(lambda found: f"{found['user'] or found['query']}***", text))


@dataclass(frozen=True)
class Origin:
    """The origin of a web page (RFC 6454). The default port of a scheme equals a missing one."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Raises InvalidInput unless `text` is scheme, host and optional port: for `null`, or with a path."""
        url = parse(text, ("http", "https"), "https://netstacks.example", ())
        if url.username is not None or url.path or len(url.hosts) != 1 or text[-1] == "/" or set(text) & set("%?"):
            raise InvalidInput(
                "must be an origin, which is scheme and host without user or path, such as https://netstacks.example"
            )
        [(host, port)] = url.hosts
        if not host:
            raise InvalidInput("has no host: an origin is scheme and host, such as https://netstacks.example")
        return cls(url.scheme, host.lower(), port or DEFAULT_PORTS[url.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")


def is_host(text: str) -> bool:
    """Whether `text` is a host with or without a port, as the header Host has it (RFC 9110, 7.2)."""
    try:
        Origin.parse(f"http://{text}")
    except InvalidInput:
        return False
    return text.isascii()


def is_same_origin(origin: str, scheme: str, host: str) -> bool:
    """Whether `origin` is the site of a request for `host` with `scheme`.

    A load balancer that terminates TLS may not forward the scheme, so an https page matches an http request to the same
    host. The reverse does not match. A host without a port has the default port of the page's scheme.
    """
    try:
        page = Origin.parse(origin)
        ours = Origin.parse(f"{page.scheme}://{host}")
    except InvalidInput:
        return False
    return page == ours and (page.scheme == "https" or scheme in ("http", "ws"))
