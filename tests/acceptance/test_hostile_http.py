"""Odd headers and upgrade requests on a real server: no answer is a server error, and no failure is logged."""

import http.client
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.hostile import HEADERS, NASTY_HEADERS, NASTY_QUERIES
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import Viewer, share
from tests.controller import Api, Controller

_UPGRADE = {
    **{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Sender:
    """Sends requests that no library would, over one connection for as long as it is kept."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._connection = http.client.HTTPConnection("127.0.0.1", controller.port, timeout=30)
        self._seen = len(controller.log())

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, Any] | None = None) -> int | None:
        """The status, or None for gunicorn's end of a connection that is not HTTP. Asserts that it is not a failure."""
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
            assert answer.status < 500 or answer.status == 503, f"{method} {path} {headers}: {answer.status}"
        except (ConnectionError, http.client.RemoteDisconnected):
            self._connection.close()
            return None
        return answer.status

    def failures(self) -> list[str]:
        log = self._controller.log()[self._seen :]
        return [line for line in log.splitlines() if "failed" in line or "Error" in line]


@pytest.fixture
def sender(controller: Controller) -> Iterator[Sender]:
    sender = Sender(controller)
    yield sender
    assert sender.failures() == []


def test_no_question_makes_a_socket_fail(sender: Sender, lab: Lab) -> None:
    terminal = lab.open()
    fine = {
        **{"token": lab.api.token, "cols": 80, "rows": 24, "term": "xterm", "host": "192.0.2.1", "port": 22},
        **{"credential_id": uuid4(), "session_id": "x", "reconnect_token": uuid4(), "epoch": 1, "offset": 0},
        **{"share": share(terminal, max_viewers=50), "viewer": uuid4(), "returns": "yes"},
    }
    # /ws/shared accepts the upgrade for an invalid link too: only SessionInfo proves that the unchanged query joins.
    rest = {name: str(given) for name, given in fine.items() if name not in ("token", "share")}
    Viewer(lab.api.controller, str(fine["share"]), api=lab.api, **rest).joined().leave()
    for path in ("/ws/ssh", "/ws/shared"):
        statuses = set()
        for name in fine:
            for value in NASTY_QUERIES:
                query = "&".join(f"{each}={value if each == name else given}" for each, given in fine.items())
                statuses.add(sender.send("GET", f"{path}?{query}", headers=_UPGRADE))
        # Some are served: no one question is what all are refused for.
        assert 101 in statuses, path
    terminal.leave()


def test_no_header_makes_a_route_fail(sender: Sender, admin: Api) -> None:
    bearer = {"Authorization": f"Bearer {admin.token}"}
    for path in ("/", "/login", "/api/auth/me", "/static/app.css", "/ws/ssh", "/ws/shared", "/nowhere", "/api/nowhere"):
        for name in HEADERS:
            for value in NASTY_HEADERS:
                sender.send("GET", path, headers={name: value})
                sender.send("GET", path, headers=bearer | {name: value})
            sender.send("POST", "/api/auth/login", b"{}", {name: value})
