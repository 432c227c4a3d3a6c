"""Whatever a client sends to whichever route: the answer is no failure, and none is logged."""

import http.client
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from flask import Flask

from netstacks.web.app import create_app
from netstacks.web.compat import EMPTY
from tests.controller import JWT_SECRET, Api, Controller

NASTY_PATHS = (
    "x",
    "%00",
    "a%00b",
    "%ff%fe",
    "%ed%a0%80",
    "..%2f..%2fetc%2fpasswd",
    "9" * 400,
    "-1",
    "%0d%0aX:1",
    "%5c",
)
QUERIES = (
    *("before", "since", "until", "limit", "offset", "q", "search", "state", "actor", "event", "format", "next"),
    *("device", "session_id", "share", "token"),
)
NASTY_QUERIES = (
    *("%00", "%ff", "%5c", "%25", "%5b", "//%5b", "-1", "9" * 30, "1e400", "NaN", "infinity"),
    *("0001-01-01T00:00:00%2b23:59", "9999-12-31T23:59:59-23:59", "9999-12-31", "-5000-01-01"),
)
NASTY_JSON = (
    *(r'"a\u0000"', r'"\ud800"', r'{"\u0000": 1}', '""', '"' + "a" * 100_000 + '"', "null", "true", "[]"),
    *("-1", "2147483648", "9" * 40, "9" * 5000, "1e400", "[" * 300 + "]" * 300),
)
NASTY_BODIES = (
    *(b"", b"\0", b"\xff\xfe", b"[", b"null", b'"x"', b"1", b"\xef\xbb\xbf{}", b"9" * 5000, b'{"a": 1}{}'),
    *(b'{"username": ' + b"[" * deep + b"]" * deep + b"}" for deep in (300, 900, 940, 980, 100_000)),
)
NASTY_HEADERS = (
    b"",
    b"\xff\xfe",
    b"[",
    b"http://[",
    b"http://]:x",
    b"http://a:99999999",
    b"Bearer \xff",
    b"*",
    b"a:b:c",
)
HEADERS = (
    *("Origin", "Host", "Cookie", "Authorization", "Content-Type", "Accept", "Range", "If-Range", "If-Modified-Since"),
    *("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade", "Connection", "X-CSRF-Token", "X-Forwarded-For"),
)
# A body that most routes take, so that one wrong member is what they look at.
FINE = {
    **{"username": "x", "name": "x", "host": "h", "port": 22, "email": "a@b", "role": "viewer", "is_active": True},
    **{"credential_type": "ssh_password", "secret": "s", "password": "x" * 15, "current_password": "x" * 15},
    **{"new_password": "y" * 15, "public_key": "x", "reason": "r", "folder_id": None, "refresh_token": "x"},
}
MEMBERS = (
    *FINE,
    *("device_type", "site", "description", "default_credential_id", "passphrase", "parent_id", "sort_order", "tags"),
    *("credential_override_id", "display_name", "license_key", "permission", "ttl_minutes", "force", "session_id"),
)
# Ends the log-in that the tests are made with, or never ends.
LEFT_OUT = ("/api/auth/logout", "/api/v1/ha/stream")


def routes() -> Iterator[tuple[str, str]]:
    """Every path, its parameters still in angle brackets, with each of its methods."""
    app = _application()
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods or ()):
            if rule.rule not in LEFT_OUT:
                yield method, re.sub(r"<any[^>]*>", "viewers", rule.rule)


def _application() -> Flask:
    settings = SimpleNamespace(trusted_proxies=[], jwt_secret=JWT_SECRET)
    return create_app(cast(Any, SimpleNamespace(settings=settings, database=None, routing_database=None, health=None)))


class Attacker:
    """Sends requests that no library would, over one connection for as long as it is kept."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._connection = http.client.HTTPConnection("127.0.0.1", controller.port, timeout=30)
        self._seen = len(controller.log())

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, Any] | None = None) -> None:
        """Also asserts that the answer is no failure."""
        try:
            self._connection.putrequest(method, path, skip_host="Host" in (headers or {}))
            for name, value in (headers or {}).items():
                self._connection.putheader(name, value)
            if body or method in ("POST", "PUT"):
                self._connection.putheader("Content-Length", str(len(body)))
            self._connection.endheaders(body)
            answer = self._connection.getresponse()
            if answer.status == 101:
                self._connection.close()
            answer.read()
            assert answer.status < 500 or answer.status == 503, (
                f"{method} {path} {body[:80]!r} {headers}: {answer.status}"
            )
        except (ConnectionError, http.client.RemoteDisconnected):
            self._connection.close()  # An answer, too: gunicorn's to what is no HTTP.

    def failures(self) -> list[str]:
        log = self._controller.log()[self._seen :]
        return [line for line in log.splitlines() if "failed" in line or "Error" in line]


@pytest.fixture
def attacker(controller: Controller) -> Iterator[Attacker]:
    attacker = Attacker(controller)
    yield attacker
    assert attacker.failures() == []


@pytest.fixture
def bearer(admin: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {admin.token}"}


def test_no_path_makes_a_route_fail(attacker: Attacker, bearer: dict[str, str]) -> None:
    for method, path in routes():
        for value in NASTY_PATHS if "<" in path else NASTY_PATHS[:1]:
            attacker.send(method, re.sub("<[^>]+>", value, path), headers=bearer)


def test_nothing_makes_a_route_fail_for_nobody(attacker: Attacker) -> None:
    for method, path in routes():
        target = re.sub("<[^>]+>", str(uuid4()), path)
        for value in NASTY_QUERIES:
            attacker.send(method, f"{target}?{'&'.join(f'{name}={value}' for name in QUERIES)}")
        for body in NASTY_BODIES:
            attacker.send(method, target, body)


def test_no_query_makes_a_route_fail(attacker: Attacker, bearer: dict[str, str]) -> None:
    for method, path in routes():
        if method == "GET" and path not in EMPTY:
            target = re.sub("<[^>]+>", str(uuid4()), path)
            for name in QUERIES:
                for value in NASTY_QUERIES:
                    attacker.send(method, f"{target}?{name}={value}", headers=bearer)


def test_no_body_makes_a_route_fail(attacker: Attacker, bearer: dict[str, str]) -> None:
    for method, path in routes():
        if method in ("POST", "PUT") and not path.startswith("/peer/"):
            target = re.sub("<[^>]+>", str(uuid4()), path)
            for body in NASTY_BODIES:
                attacker.send(method, target, body, bearer)
            for member in MEMBERS:
                rest = json.dumps({name: given for name, given in FINE.items() if name != member})
                for value in NASTY_JSON:
                    attacker.send(method, target, f'{rest[:-1]}, "{member}": {value}}}'.encode(), bearer)


def test_no_question_makes_a_socket_fail(attacker: Attacker, admin: Api) -> None:
    upgrade = {
        **{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    fine = {
        **{"token": admin.token, "cols": 80, "rows": 24, "term": "xterm", "host": "192.0.2.1", "port": 22},
        **{"credential_id": uuid4(), "session_id": "x", "reconnect_token": uuid4(), "epoch": 1, "offset": 0},
    }
    for path in ("/ws/ssh", "/ws/shared"):
        for name in fine:
            for value in NASTY_QUERIES:
                query = "&".join(f"{each}={value if each == name else given}" for each, given in fine.items())
                attacker.send("GET", f"{path}?{query}", headers=upgrade)


def test_no_header_makes_a_route_fail(attacker: Attacker, bearer: dict[str, str]) -> None:
    for path in ("/", "/login", "/api/auth/me", "/static/app.css", "/ws/ssh", "/ws/shared", "/nowhere", "/api/nowhere"):
        for name in HEADERS:
            for value in NASTY_HEADERS:
                attacker.send("GET", path, headers={name: value})
                attacker.send("GET", path, headers=bearer | {name: value})
            attacker.send("POST", "/api/auth/login", b"{}", {name: value})
