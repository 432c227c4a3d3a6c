"""The load balancers shield the controllers from slow clients, with their own configurations."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.controller import until
from tests.deploy.balancers import Balancer, is_installed

BODY = b'{"username": "admin"}'
# In place of the 2000 of the files.
PER_CLIENT = 5


class _Noting(BaseHTTPRequestHandler):
    """Notes each request as soon as its head is there."""

    protocol_version = "HTTP/1.1"
    seen: list[str]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.seen.append(self.path)
        if self.rfile.read(int(self.headers["Content-Length"])):
            self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture(params=["nginx", "haproxy"])
def balancer(request: pytest.FixtureRequest, seen: list[str]) -> Iterator[Balancer]:
    if not is_installed(request.param):
        pytest.skip(f"needs Debian's {request.param}")
    handler = type("_Handler", (_Noting,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            balancer = Balancer(request.param, [server.server_port])
            text = balancer.file.read_text()
            limited = text.replace(" 2000", f" {PER_CLIENT}")
            assert limited != text
            balancer.file.write_text(limited)
            with balancer:
                yield balancer
        finally:
            server.shutdown()


def connect(balancer: Balancer, address: str = "127.0.0.1") -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10, source_address=(address, 0))


def status(balancer: Balancer, address: str = "127.0.0.1") -> int | None:
    """None when the connection was closed without an answer."""
    connection = connect(balancer, address)
    try:
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status
    except (ConnectionError, http.client.RemoteDisconnected):
        return None
    finally:
        connection.close()


def announce(balancer: Balancer, path: str) -> http.client.HTTPConnection:
    """A request that has sent its head alone."""
    connection = connect(balancer)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(len(BODY)))
    connection.endheaders()
    return connection


def test_a_controller_sees_a_request_when_its_body_is_there(balancer: Balancer, seen: list[str]) -> None:
    slow = announce(balancer, "/api/slow")
    for number in range(3):
        quick = announce(balancer, f"/api/quick/{number}")
        quick.send(BODY)
        assert quick.getresponse().status == 200
        quick.close()
    assert seen == ["/api/quick/0", "/api/quick/1", "/api/quick/2"]
    slow.send(BODY)
    assert slow.getresponse().status == 200
    assert seen[-1] == "/api/slow"
    slow.close()


def test_one_client_has_so_many_connections_and_others_have_theirs(balancer: Balancer) -> None:
    with ExitStack() as held:
        for _ in range(2 * PER_CLIENT):
            # One of those that are too many.
            with suppress(ConnectionError):
                held.callback(announce(balancer, "/api/slow").close)
        until(lambda: status(balancer) in (503, None), "the limit")
        assert status(balancer, "127.0.0.2") == 200
    until(lambda: status(balancer) == 200, "room again")
