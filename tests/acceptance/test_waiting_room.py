"""Clients that wait for their turn: at a real instance whose only turn is taken."""

import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import psycopg
import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.controller import Api, Controller, Terminal, terminal_query, until
from tests.fast_websocket import FastWebSocket
from tests.postgres import Postgres
from tests.sshd import Sshd

# The number of clients that an instance admits at once before it has measured its rate.
BURST = 10
WAITING = 0x0B


class Caller:
    """A client at the handshake, which reads the answers frame by frame."""

    def __init__(self, api: Api, query: dict[str, Any]) -> None:
        self.socket = FastWebSocket(api.controller.port, f"/ws/ssh?{urlencode({**query, 'token': api.token})}")
        self._messages: list[bytes] = []

    def message(self) -> bytes:
        """The next message; raises EOFError at the end."""
        while not self._messages:
            self._messages += self.socket.receive()
        return self._messages.pop(0)

    def next(self, kind: int) -> bytes:
        """The payload of the next frame of this type."""
        while (message := self.message())[0] != kind:
            pass
        return message[1:]

    def close_code(self) -> int | None:
        """Waits for the end of the connection."""
        with contextlib.suppress(EOFError):
            while True:
                self.message()
        return self.socket.close_code

    def waits(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.next(WAITING))
        return told


@pytest.fixture
def crowd(lab: Lab, controller: Controller) -> Iterator[list[socket.socket]]:
    """Connections that have used up what is let in at once: each asks for a session that there never was."""
    connections = [ask(controller, lab.api.token, uuid4()) for _ in range(12 * BURST)]
    yield connections
    for each in connections:
        each.close()


def ask(controller: Controller, token: str, session: object, **query: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", controller.port))
    path = f"/ws/ssh?{urlencode({'reconnect_token': session, 'offset': 0, 'epoch': 1, 'token': token, **query})}"
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return connection


def query(lab: Lab, **more: Any) -> dict[str, Any]:
    return terminal_query(lab.device, lab.credential, **more)


def test_a_page_that_waits_is_told_its_place_and_gets_its_terminal(lab: Lab, crowd: list[socket.socket]) -> None:
    page = Caller(lab.api, query(lab, epoch=0, offset=0))
    told = page.waits()
    assert told["place"] >= 1
    assert told["wait_secs"] >= 0
    assert told["ticket"]
    assert json.loads(page.next(0x08))["session_id"]


def test_keys_typed_while_it_waits_reach_the_device(lab: Lab, crowd: list[socket.socket]) -> None:
    page = Caller(lab.api, query(lab, epoch=0, offset=0))
    page.waits()
    page.next(0x08)
    page.socket.send(b"\x01echo over$((40+2))\r")
    output = b""
    while b"over42" not in output:
        output += page.next(0x01)


def test_the_terminal_client_is_told_in_words_and_its_screen_is_left_clean(lab: Lab, controller: Controller) -> None:
    # The instance has measured its rate by now: only a large crowd makes it wait.
    for size in (6, 12, 24, 48):
        connections = [ask(controller, lab.api.token, uuid4()) for _ in range(size * BURST)]
        terminal = Terminal(lab.api, query(lab))
        terminal.connected()
        for each in connections:
            each.close()
        if b"many terminals are being opened: place" in terminal.output:
            break
        terminal.leave()
    assert b"many terminals are being opened: place" in terminal.output
    assert terminal.output.rpartition(b"[many terminals")[2].partition(b"]")[2].startswith(b"\r\x1b[K")


def test_a_session_that_is_here_is_resumed_though_many_wait(lab: Lab, controller: Controller) -> None:
    terminal = lab.open(epoch=0, offset=0)
    terminal.vanish()
    connections = [ask(controller, lab.api.token, uuid4()) for _ in range(6 * BURST)]
    again = Caller(lab.api, query(lab, epoch=1, offset=0, reconnect_token=terminal.token))
    assert again.message()[0] == 0x08, "it is served at once, and not told to wait"
    for each in connections:
        each.close()


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_a_client_that_is_not_logged_in_is_refused_and_does_not_wait(
    lab: Lab, controller: Controller, crowd: list[socket.socket], token: str
) -> None:
    stranger = ask(controller, token, uuid4())
    stranger.settimeout(30)
    answer = stranger.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert b'"error"' in answer
    assert stranger.recv(65536) == b""


def test_a_foreign_page_is_refused_and_not_let_wait(
    lab: Lab, controller: Controller, crowd: list[socket.socket]
) -> None:
    connection = socket.create_connection(("127.0.0.1", controller.port))
    connection.settimeout(30)
    connection.sendall(
        f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")


def test_a_wrong_handshake_is_refused_and_not_let_wait(
    lab: Lab, controller: Controller, crowd: list[socket.socket]
) -> None:
    connection = socket.create_connection(("127.0.0.1", controller.port))
    connection.settimeout(30)
    connection.sendall(
        f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 7\r\n\r\n".encode()
    )
    assert connection.recv(65536).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 426 "))


def test_a_log_in_that_has_ended_is_found_out_when_its_turn_comes(
    lab: Lab, controller: Controller, crowd: list[socket.socket]
) -> None:
    other = controller.login()
    other.post("/api/auth/logout", expect=None)
    page = Caller(other, query(lab, epoch=0, offset=0))
    assert page.close_code() == 1012

    def is_refused() -> bool:
        with ask(controller, other.token, uuid4()) as connection:
            connection.settimeout(30)
            return connection.recv(65536).startswith(b"HTTP/1.1 401 ")

    until(is_refused, "a refusal without a wait, when the crowd is gone")


def test_a_client_that_leaves_while_it_waits_opens_nothing(
    lab: Lab, controller: Controller, postgres: Postgres, crowd: list[socket.socket]
) -> None:
    def opened() -> int:
        with psycopg.connect(controller.environ["DATABASE_URL"]) as db:
            row = db.execute("SELECT count(*) FROM sessions").fetchone()
        assert row is not None
        return int(row[0])

    before = opened()
    leaving = [Caller(lab.api, query(lab, epoch=0, offset=0)) for _ in range(3)]
    for each in leaving:
        each.waits()
    # A close, a cut, and a close behind a key.
    leaving[0].socket.send(b"\x03\xe8", 8)
    leaving[1].socket._socket.close()
    leaving[2].socket.send(b"\x01x")
    leaving[2].socket.send(b"\x03\xe8", 8)
    staying = Caller(lab.api, query(lab, epoch=0, offset=0))
    staying.next(0x08)
    assert opened() == before + 1


def test_a_drain_sends_waiting_clients_to_other_instances(lab: Lab, postgres: Postgres, sshd: Sshd) -> None:
    controller = Controller(postgres.create_database(), DRAIN_TIMEOUT_SECS="4").start()
    api = controller.login()
    crowd = [ask(controller, api.token, uuid4()) for _ in range(40 * BURST)]
    page = Caller(api, {"offset": 0, "epoch": 1, "reconnect_token": uuid4()})
    page.waits()
    controller.terminate()
    assert page.close_code() == 1012
    for each in crowd:
        each.close()
    controller.stop()


def test_clients_that_would_wait_long_are_served_by_an_instance_with_room(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2) as cluster:
        lab = cluster.lab(sshd)
        busy, idle = cluster.controllers
        body = {"username": "ben", "password": "a password of ben's", "role": "operator"}
        lab.api.post("/api/users", body)
        ben = busy.login("ben", body["password"])
        # All of one user, so another user's terminals come first, and these are handed on.
        crowd = [ask(busy, ben.token, uuid4()) for _ in range(40 * BURST)]
        # At once: those that come one by one find the one place that is free by then.
        with ThreadPoolExecutor(30) as pool:
            pages = list(pool.map(lambda _: Caller(lab.api.at(busy), query(lab, epoch=0, offset=0)), range(30)))
        for page in pages:
            page.next(0x08)
            page.socket.send(b"\x01echo over$((40+2))\r")
        for page in pages:
            output = b""
            while b"over42" not in output:
                output += page.next(0x01)
        with psycopg.connect(cluster.database_url) as db:
            owners = {row[0] for row in db.execute("SELECT owner FROM sessions WHERE state <> 'ended'")}
        assert idle.health()["instance_id"] in owners
        for each in crowd:
            each.close()


def test_a_page_whose_owner_is_frozen_is_told_how_long_it_waits(postgres: Postgres, sshd: Sshd) -> None:
    """Once the heartbeat is overdue; the TTL leaves enough time to be told."""
    times = {"HA_HEARTBEAT_INTERVAL_SECS": "5", "HA_STALE_INSTANCE_TTL_SECS": "30"}
    with Cluster(postgres, 2, **times) as cluster:
        owner, other = cluster.controllers
        first = cluster.lab(sshd).at(owner).open(epoch=0, offset=0)
        first.vanish()
        resume = {**first.query, "reconnect_token": first.token, "epoch": 1, "offset": len(first.output)}
        api = first.api.at(other)
        owner.freeze()
        page = until(lambda: accepted(api, resume), "an accepted upgrade", 60)
        while (told := page.waits())["why"] != "owner":
            pass
        assert 0 < told["wait_secs"] <= 30
        owner.thaw()
        assert json.loads(page.next(0x08))["session_id"] == first.info["session_id"]


def accepted(api: Api, query: dict[str, Any]) -> Caller | None:
    """None while the upgrade is refused, because the heartbeat is not overdue yet."""
    try:
        return Caller(api, query)
    except ConnectionError:
        return None
