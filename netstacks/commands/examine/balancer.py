"""Checks of the load balancer, from its public address."""

import json
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from netstacks import urls
from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import InvalidInput

_HTTP_SECS = 5.0
_MAX_BYTES = 64 * 1024
# Enough for a load balancer that takes turns to reach each instance of a usual cluster.
_HEALTH_REQUESTS = 8
# The route answers 401 to a request with the Upgrade header, and 426 when a proxy has removed it. It checks the header
# Origin first: 403 when that is not the host for which the request arrived.
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
_TOPIC = "Load balancer"
_NO_TERMINALS = "users cannot open terminals"


@dataclass(frozen=True)
class _Answer:
    status: int
    body: dict[str, Any]
    """The JSON object of the answer, empty without one."""
    location: str = ""
    """The target of a redirect."""

    @property
    def error(self) -> str:
        return f" ({self.body['error']})" if isinstance(self.body.get("error"), str) else ""


def examine_balancer(url: str) -> Findings:
    """Requests the health and WebSocket upgrades at `url`, the origin that users open."""
    try:
        origin = urls.Origin.parse(url)
    except InvalidInput as error:
        shown = urls.masked(url) if "@" in url else url
        yield Finding(_TOPIC, "error", f"{shown}: {error}", "it cannot be checked", "correct the address")
        return
    try:
        yield from _examine(str(origin))
    except (OSError, HTTPException) as error:
        do = "start the load balancer, and check the address and its certificate"
        yield Finding(_TOPIC, "error", f"{url} does not answer: {error}", "no user can connect", do)


def _examine(url: str) -> Findings:
    """Raises OSError or HTTPException without a valid HTTP response."""
    answers = [_ask(f"{url}/api/v1/health") for _ in range(_HEALTH_REQUESTS)]
    if location := answers[0].location:
        why, do = "nothing behind it is checked", "run the doctor with the address at which users arrive"
        yield Finding(_TOPIC, "error", f"{url} redirects to {location}", why, do)
        return
    yield from _judge_health(f"{url}/api/v1/health", answers)
    yield from _examine_upgrade(url)


def _judge_health(url: str, answers: list[_Answer]) -> Findings:
    refusals = {each.status: each for each in answers if each.status != 200}
    if len(refusals) == 0:
        yield Finding(_TOPIC, "ok", f"an instance answers {url}")
        return
    status, refusal = next(iter(refusals.items()))
    reason = refusal.body.get("reason") or "no reason given"
    if not any(each.status == 200 for each in answers):
        do = "run the doctor in the environment of an instance, and check the servers in the load balancer's settings"
        what = f"{url} answers {status}: {reason}"
        yield Finding(_TOPIC, "error", what, "no instance behind it accepts work", do)
        return
    what = f"it still sends requests to an instance that answers {url} with {status}: {reason}"
    why = "users get errors from an instance that takes no work"
    do = "use /api/v1/health as its health check, and take an instance out unless the answer is 200"
    yield Finding(_TOPIC, "warning", what, why, do)


def _examine_upgrade(url: str) -> Findings:
    """Raises OSError or HTTPException without a valid HTTP response."""
    answer = _ask(f"{url}/ws/ssh", _UPGRADE)
    if answer.status == 401:
        yield Finding(_TOPIC, "ok", "WebSocket upgrades reach the instances")
        yield from _examine_host(url)
    else:
        what = f"{_cause(answer)}a WebSocket upgrade is answered with {answer.status} instead of 401{answer.error}"
        do = "forward the headers Upgrade and Connection, with HTTP/1.1"
        yield Finding(_TOPIC, "error", what, _NO_TERMINALS, do)
    what = (
        "its idle timeout for WebSockets cannot be measured from here: it must be at least 300 s, otherwise it cuts"
        " terminals that are silent"
    )
    yield Finding(_TOPIC, "ok", what)


def _cause(answer: _Answer) -> str:
    """What the load balancer does to an upgrade, by the words of the instance that refused it."""
    if "HTTP version" in answer.error:
        return "it sends HTTP/1.0 to the instances: "
    if "Connection header" in answer.error:
        return "it does not pass the header Connection on: "
    return "it removes the header Upgrade: " if answer.status == 426 else ""


def _examine_host(url: str) -> Findings:
    answer = _ask(f"{url}/ws/ssh", {**_UPGRADE, "Origin": url})
    if answer.status != 403:
        yield Finding(_TOPIC, "ok", "the instances know the address that users open")
        return
    what = f"it does not pass the header Host on: pages of {url} count as pages of another site{answer.error}"
    do = (
        "pass Host on unchanged (nginx: proxy_set_header Host $http_host), or send X-Forwarded-Host and"
        " X-Forwarded-Proto and list the load balancer in TRUSTED_PROXIES"
    )
    yield Finding(_TOPIC, "error", what, f"{_NO_TERMINALS}, nor change anything on a page", do)


def _ask(url: str, headers: dict[str, str] | None = None) -> _Answer:
    # Not through urllib, which replaces the header Connection.
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(kind(parts.netloc, timeout=_HTTP_SECS)) as connection:
        connection.request("GET", parts.path, headers=headers or {"Connection": "close"})
        answer = connection.getresponse()
        location = answer.headers.get("Location", "")
        return _Answer(answer.status, _object(answer.read(_MAX_BYTES)), location)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
