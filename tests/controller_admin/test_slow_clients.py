"""Slow clients take no connection of others at a controller-admin, however many they hold open."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.acceptance import slow_clients
from tests.acceptance.controller_admin import ControllerAdmin
from tests.acceptance.slow_clients import SlowClients
from tests.controller import until
from tests.controller_admin.front import in_front_of
from tests.controller_admin.upstream import OK

# Those without a log-in share 20 of them; a controller-admin knows of no other.
PLACES = 40
PER_ADDRESS = 8
ATTACKS = {
    "nothing": b"",
    "half a head": slow_clients.HALF_A_HEAD,
    "a body announced": slow_clients.NO_BODY,
    "half a chunk": slow_clients.HALF_A_CHUNK,
}
SMALL = {"GUNICORN_CMD_ARGS": f"--worker-connections={PLACES}", "ADDRESS_CONNECTIONS_MAX": str(PER_ADDRESS)}
_HEAD = b"POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_WATCH = b"GET /ws/shared HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_SLOW = b"GET /api/slow HTTP/1.1\r\nHost: x\r\n\r\n"


class Api:
    """Answers at once, except for `/api/slow`: that is answered when the test allows it."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.waiting: set[socket.socket] = set()

    def serve(self, connection: socket.socket, head: bytes) -> None:
        if b"/api/slow" in head:
            self.waiting.add(connection)
            assert self.may_answer.wait(60)
            self.waiting.remove(connection)
        if head.startswith(b"GET /ws/"):
            connection.sendall(_SWITCHED)
            while connection.recv(1024):
                pass
        connection.sendall(OK)


@pytest.fixture(scope="module")
def api() -> Api:
    return Api()


@pytest.fixture(scope="module")
def site(api: Api) -> Iterator[ControllerAdmin]:
    with in_front_of(api.serve, **SMALL) as site:
        yield site


def status(site: ControllerAdmin, path: str) -> int:
    return requests.get(site.url + path, timeout=20).status_code


@pytest.mark.parametrize("attack", ATTACKS)
def test_clients_that_let_it_wait_take_no_place_of_others(site: ControllerAdmin, attack: str) -> None:
    """From ten addresses, twice as often as there are places."""
    with ExitStack() as stack:
        attackers = [stack.enter_context(SlowClients(site, f"127.0.0.{10 + n}")) for n in range(10)]
        for each in attackers:
            each.hold(PER_ADDRESS, ATTACKS[attack])
            assert status(site, "/health") == 200
        until(lambda: sum(each.held() for each in attackers) <= PLACES // 2, "room for others")
        assert status(site, "/api/x") == 200
    assert "Traceback" not in site.log()


def test_one_address_has_so_many_connections_and_its_newest_is_served(site: ControllerAdmin) -> None:
    with SlowClients(site, "127.0.0.2") as others, SlowClients(site) as attackers:
        others.hold(2)
        attackers.hold(4 * PER_ADDRESS, slow_clients.HALF_A_HEAD)
        until(lambda: attackers.held() <= PER_ADDRESS, "the oldest ones closed")
        assert others.held() == 2
        assert status(site, "/api/x") == 200
        assert status(site, "/health") == 200


def test_health_is_served_while_all_places_are_busy(site: ControllerAdmin, api: Api) -> None:
    with ExitStack() as stack:
        for n in range(PLACES // 2):
            stack.enter_context(SlowClients(site, f"127.0.0.{30 + n}")).hold(1, _SLOW)
        until(lambda: len(api.waiting) == PLACES // 2, "all of them are being served")
        refused = requests.get(f"{site.url}/api/x", timeout=20)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert "Too many requests" in refused.json()["error"]
        assert status(site, "/health") == 200
        api.may_answer.set()
        until(lambda: status(site, "/api/x") == 200, "room again")


def test_sockets_do_not_count(site: ControllerAdmin) -> None:
    with ExitStack() as stack:
        for _ in range(PER_ADDRESS + 2):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=20))
            client.sendall(_WATCH)
            assert client.recv(1024).startswith(b"HTTP/1.1 101 ")
        assert status(site, "/api/x") == 200


def test_a_head_that_does_not_end_is_given_up(site: ControllerAdmin) -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(5))
    with SlowClients(site) as clients:
        clients.hold(1, b"GET / HTTP/1.1\r\nHost: x\r\n" + fields)
        until(lambda: not clients.held(), "its end")


@pytest.mark.parametrize(
    "sent", [_HEAD + b"Content-Length: 100\r\n\r\nhalf", _HEAD + b"Transfer-Encoding: chunked\r\n\r\n20\r\nhalf"]
)
def test_half_a_body_is_answered_and_is_no_error_of_ours(site: ControllerAdmin, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1024).startswith(b"HTTP/1.1 408 ")
    assert "request.failed" not in site.log()
