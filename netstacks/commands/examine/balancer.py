"""The load balancer, as its users meet it."""

import urllib.error
import urllib.request
from http.client import HTTPException

from netstacks import urls
from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import InvalidInput

_HTTP_SECS = 5.0
# With its answer a route tells whether the Upgrade header has reached it: 401 that it has, 426 that it has not.
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def examine_balancer(url: str) -> Findings:
    """Asks for health and for an upgrade at `url`, the origin by which its users reach it."""
    try:
        origin = urls.Origin.parse(url)
    except InvalidInput as error:
        shown = urls.masked(url) if "@" in url else url
        yield Finding("Load balancer", "error", f"{shown}: it {error}", "it is not asked", "correct its address")
        return
    try:
        yield from _examine(str(origin))
    except (OSError, HTTPException) as error:
        yield Finding(
            "Load balancer", "error", f"{url} does not answer: {error}", "no user gets in", "see that it runs"
        )


def _examine(url: str) -> Findings:
    """Raises OSError or HTTPException when it does not answer as HTTP does."""
    status = _status(f"{url}/api/v1/health")
    if status == 200:
        yield Finding("Load balancer", "ok", f"{url}/api/v1/health is answered by an instance")
    else:
        yield Finding(
            "Load balancer", "error", f"{url}/api/v1/health answers {status}", "it has no instance to give work to"
        )
    status = _status(f"{url}/ws/ssh", _UPGRADE)
    if status == 401:
        yield Finding("Load balancer", "ok", "WebSocket upgrades reach the instances")
    else:
        what, why = f"a WebSocket upgrade is answered with {status} instead of 401", "no terminal can be opened"
        yield Finding("Load balancer", "error", what, why, "pass the headers Upgrade and Connection on, by HTTP/1.1")
    what = "how long it lets a WebSocket be silent cannot be seen from here: at least 300 s are needed"
    yield Finding("Load balancer", "ok", what)


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - the origin's scheme is http or https
    try:
        with urllib.request.urlopen(request, timeout=_HTTP_SECS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
