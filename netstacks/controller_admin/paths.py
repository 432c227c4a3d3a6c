"""Which requests a controller-admin passes on to the API: fixed paths, written plainly. Pure."""

import re
from dataclasses import dataclass

SECOND_FACTOR = "/account/second-factor"

_READ = frozenset({"GET", "HEAD"})
_ALL = _READ | {"POST", "PUT", "PATCH", "DELETE"}
# A prefix that ends with a slash stands for what is below it, any other for itself alone.
_PATHS = {
    "/api/": _ALL,
    "/csrf-token": _READ,
    # The only page for a user who must set up a second factor first.
    SECOND_FACTOR: _READ,
    # The page to which a link "watch this session" leads, where the controllers serve the Terminal's web client.
    "/terminal/": _READ,
    "/ws/shared": frozenset({"GET"}),
}
_SOCKETS = frozenset({"/ws/shared"})
# RFC 3986: no other character stands in a path or a query.
_PLAIN = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*(\?[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*)?")
# An encoded slash, backslash, dot, percent sign or control character means a different path to the next server. So do
# dots with parameters: some servers remove a segment's parameters before they resolve `..`.
_AMBIGUOUS = re.compile(
    r"%(2f|5c|2e|25|[01][0-9a-f]|7f)|%(?![0-9a-f]{2})|//|/\.{1,2}(/|;|%3b|$)|(;|%3b)[^/]*\.", re.IGNORECASE
)


@dataclass(frozen=True)
class Refused:
    """The request is not passed on."""

    status: int
    reason: str


def target(raw: str, method: str, *, is_upgrade: bool = False) -> str | Refused | None:
    """Path and query to request from the API, exactly as given; None for a path that is not the API's.

    `raw` is what stands in the request line.
    """
    path = raw.partition("?")[0]
    methods = next((methods for prefix, methods in _PATHS.items() if _is_at(path, prefix)), None)
    if methods is None:
        return None
    if not _PLAIN.fullmatch(raw) or _AMBIGUOUS.search(path):
        return Refused(400, "The address is not written plainly.")
    if method not in methods:
        return Refused(405, f"{method} is not allowed here.")
    if is_upgrade != (path in _SOCKETS):
        return Refused(426 if path in _SOCKETS else 400, "A WebSocket is opened under /ws/ only, and nothing else is.")
    return raw


def _is_at(path: str, prefix: str) -> bool:
    return path.startswith(prefix) if prefix.endswith("/") else path == prefix
