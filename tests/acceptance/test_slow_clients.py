"""Slow clients take no connection of others, however many they hold open."""

import http.client
import json
from collections.abc import Iterator

import pytest
import requests

from tests.acceptance import slow_clients
from tests.acceptance.fronts import bearer
from tests.acceptance.lab import Lab, make_lab
from tests.acceptance.shells import quiet, types_on
from tests.acceptance.slow_clients import Pipeline, SlowClients
from tests.controller import ADMIN, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd

# Clients without a log-in share 20 of them.
PLACES = 40
PER_ADDRESS = 15
ATTACKS = {
    "nothing": b"",
    "half a head": slow_clients.HALF_A_HEAD,
    "a body announced": slow_clients.NO_BODY,
    "half a chunk": slow_clients.HALF_A_CHUNK,
    "answers unread": slow_clients.UNREAD_ANSWERS,
}
ATTACKER, PROXY = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def small(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(
        postgres.create_database(),
        GUNICORN_CMD_ARGS=f"--worker-connections={PLACES}",
        ADDRESS_CONNECTIONS_MAX=str(PER_ADDRESS),
        TRUSTED_PROXIES=PROXY,
    ).start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def lab(small: Controller, sshd: Sshd) -> Lab:
    return make_lab(small.login(), sshd)


def log_in(controller: Controller) -> int:
    body = {"username": ADMIN[0], "password": ADMIN[1]}
    return requests.post(f"{controller.url}/api/auth/login", json=body, timeout=30).status_code


@pytest.mark.parametrize("attack", ATTACKS)
def test_clients_that_let_the_controller_wait_take_no_place_of_others(small: Controller, lab: Lab, attack: str) -> None:
    """From an address without a limit of its own, three times as often as there are places for strangers."""
    terminal = quiet(lab.open(epoch=0, offset=0))
    with SlowClients(small, PROXY) as attackers:
        for _ in range(6):
            attackers.hold(10, ATTACKS[attack])
            assert small.health()["status"] == "healthy"
            types_on(terminal)
        until(lambda: attackers.held() <= PLACES // 2, "room for strangers alone")
        # A user without a log-in can log in, and open a terminal. Clients that do not read are served until the
        # kernel has taken all it can.
        until(lambda: log_in(small) == 200, "a log-in")
        another = quiet(Lab(small.login(), lab.device, lab.credential).open(epoch=0, offset=0))
        types_on(terminal, another)
    for each in (terminal, another):
        each.leave()


def test_a_users_connection_outlives_those_of_strangers(small: Controller, lab: Lab) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=30)

    def ask() -> int:
        connection.request("GET", "/api/auth/me", headers=bearer(lab.api.token))
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert ask() == 200
    kept = connection.sock
    with SlowClients(small, PROXY) as attackers:
        attackers.hold(3 * PLACES, slow_clients.NO_BODY)
        until(lambda: attackers.held() <= PLACES // 2, "room for strangers alone")
        assert ask() == 200
    assert connection.sock is kept
    connection.close()


def test_one_address_has_so_many_connections_and_its_newest_is_served(small: Controller) -> None:
    with SlowClients(small, ATTACKER) as attackers, SlowClients(small) as others:
        others.hold(2)
        attackers.hold(3 * PER_ADDRESS, slow_clients.HALF_A_HEAD)
        until(lambda: attackers.held() <= PER_ADDRESS, "the oldest ones closed")
        assert others.held() == 2
        body = json.dumps({"username": ADMIN[0], "password": ADMIN[1]})
        newest = http.client.HTTPConnection("127.0.0.1", small.port, timeout=30, source_address=(ATTACKER, 0))
        newest.request("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
        assert newest.getresponse().status == 200
        newest.close()


def test_a_flood_is_one_line_of_the_log(small: Controller) -> None:
    before = small.log().count("connections.limited")
    with SlowClients(small, ATTACKER) as attackers:
        attackers.hold(4 * PER_ADDRESS)
        until(lambda: attackers.held() <= PER_ADDRESS, "the oldest ones closed")
    until(lambda: "connections.limited" in small.log(), "the line")
    logged = small.log()
    assert logged.count("connections.limited") <= before + 2
    assert "Traceback" not in logged


def test_a_head_that_does_not_end_is_given_up(small: Controller) -> None:
    with SlowClients(small) as clients:
        clients.hold(
            1, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(5))
        )
        until(lambda: not clients.held(), "its end")


def test_an_answer_without_a_look_at_a_long_body_is_followed_by_the_next_one(small: Controller) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=30)
    for _ in range(2):
        connection.request("POST", "/api/devices", b"x" * 3 * 1024 * 1024)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 401
    kept = connection.sock
    connection.request("GET", "/api/v1/health")
    assert connection.getresponse().status == 200
    assert connection.sock is kept
    connection.close()


def test_a_client_that_asks_without_a_pause_holds_up_no_other(small: Controller, lab: Lab) -> None:
    terminal = quiet(lab.open(epoch=0, offset=0))
    cheap = b"GET /api/v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    pipelines = [Pipeline(small, cheap, 200_000) for _ in range(2)]
    with pipelines[0].running(), pipelines[1].running():
        until(lambda: all(each.answers for each in pipelines), "the first answers")
        for _ in range(5):
            types_on(terminal)
            assert requests.get(f"{small.url}/api/v1/health", timeout=30).ok
        assert all(each.answers < 200_000 for each in pipelines)
    terminal.leave()
