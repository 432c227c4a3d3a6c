"""Which headers a controller-admin passes on. Pure."""

from collections.abc import Iterable, Mapping, Sequence

Pair = tuple[str, str]

# The log-in of a page and what belongs to it, with and without the prefix that https adds.
_COOKIES = ("netstacks_", "__Host-netstacks_")
# What the scripts of the pages send, and what a browser adds that the API needs.
_REQUEST = (
    "Accept",
    "Content-Type",
    "If-Modified-Since",
    "If-None-Match",
    "Last-Event-ID",
    "Origin",
    "Range",
    "User-Agent",
    "X-CSRF-Token",
    "X-NetStacks-Page",
)
_UPGRADE = (
    "Origin",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
)
# For one hop only (RFC 9110, 7.6.1), or written by this server itself.
_NOT_PASSED_ON = frozenset(
    {
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def of_call(environ: Mapping[str, str]) -> list[Pair]:
    """The headers of a call that a page makes: the user's cookies, the client's address, the site's host name."""
    return [
        ("Host", environ.get("HTTP_HOST", "")),
        ("Accept", "application/json"),
        *_cookie(environ),
        *_forwarded(environ),
    ]


def of_request(environ: Mapping[str, str]) -> list[Pair]:
    """The headers of a request that is passed on."""
    return [("Host", environ.get("HTTP_HOST", "")), *_given(environ, _REQUEST), *_cookie(environ), *_forwarded(environ)]


def of_upgrade(environ: Mapping[str, str]) -> list[Pair]:
    """The headers of a request for a WebSocket."""
    return [
        ("Host", environ.get("HTTP_HOST", "")),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        *_given(environ, _UPGRADE),
        *_cookie(environ),
        *_forwarded(environ),
    ]


def of_response(headers: Sequence[Pair]) -> list[Pair]:
    """The headers of a response for the browser: without those that are meant for this hop."""
    named = {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}
    return [(key, value) for key, value in headers if key.lower() not in _NOT_PASSED_ON | named]


def _given(environ: Mapping[str, str], names: Iterable[str]) -> list[Pair]:
    found = [(name, environ.get(_key(name), "")) for name in names]
    return [(name, value) for name, value in found if value]


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key == "CONTENT_TYPE" else f"HTTP_{key}"


def _cookie(environ: Mapping[str, str]) -> list[Pair]:
    """The controller's own cookies, without those of other programs on this host."""
    given = (part.strip() for part in environ.get("HTTP_COOKIE", "").split(";"))
    ours = [part for part in given if part.startswith(_COOKIES)]
    return [("Cookie", "; ".join(ours))] if ours else []


def _forwarded(environ: Mapping[str, str]) -> list[Pair]:
    """The client's address, scheme and host, after what proxies in front have written."""
    hop = {
        "For": environ.get("REMOTE_ADDR", ""),
        "Proto": environ.get("wsgi.url_scheme", "http"),
        "Host": environ.get("HTTP_HOST", ""),
    }
    found = []
    for name, value in hop.items():
        before = environ.get(f"HTTP_X_FORWARDED_{name.upper()}", "")
        found.append((f"X-Forwarded-{name}", f"{before}, {value}" if before else value))
    return found
