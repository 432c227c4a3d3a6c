"""Checks of the load balancer, from its public address."""

import urllib.error
import urllib.request
from http.client import HTTPException

from netstacks import urls
from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import InvalidInput

_HTTP_SECS = 5.0
# The route answers 401 to a request with the Upgrade header, and 426 when a proxy has removed it.
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def examine_balancer(url: str) -> Findings:
    """Requests the health and a WebSocket upgrade at `url`, the origin that users open."""
    try:
        origin = urls.Origin.parse(url)
    except InvalidInput as error:
        shown = urls.masked(url) if "@" in url else url
        yield Finding("Load balancer", "error", f"{shown}: {error}", "it cannot be checked", "correct the address")
        return
    try:
        yield from _examine(str(origin))
    except (OSError, HTTPException) as error:
        yield Finding(
            "Load balancer",
            "error",
            f"{url} does not answer: {error}",
            "no user can connect",
            "start the load balancer",
        )


def _examine(url: str) -> Findings:
    """Raises OSError or HTTPException without a valid HTTP response."""
    status = _status(f"{url}/api/v1/health")
    if status == 200:
        yield Finding("Load balancer", "ok", f"an instance answers {url}/api/v1/health")
    else:
        yield Finding(
            "Load balancer", "error", f"{url}/api/v1/health answers {status}", "no instance behind it accepts work"
        )
    status = _status(f"{url}/ws/ssh", _UPGRADE)
    if status == 401:
        yield Finding("Load balancer", "ok", "WebSocket upgrades reach the instances")
    else:
        what, why = f"a WebSocket upgrade is answered with {status} instead of 401", "users cannot open terminals"
        yield Finding("Load balancer", "error", what, why, "forward the headers Upgrade and Connection, with HTTP/1.1")
    what = "its idle timeout for WebSockets cannot be measured from here: it must be at least 300 s"
    yield Finding("Load balancer", "ok", what)


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - the origin's scheme is http or https
    try:
        with urllib.request.urlopen(request, timeout=_HTTP_SECS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
