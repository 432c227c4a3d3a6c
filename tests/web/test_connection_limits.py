"""The connection that has kept the controller waiting for the longest time makes room for the next one."""

import json
from collections.abc import Callable, Iterator

import pytest
import structlog

from netstacks.web.listener.connection_limits import ConnectionLimits
from tests.web.client_sockets import Connection, limits
from tests.web.conftest import Api

Connect = Callable[..., Connection]
_ANYWHERE = "192.0.2.1"


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(limits, address)`: a connection that was admitted."""
    connections = []

    def connect(of: ConnectionLimits, address: str | None = _ANYWHERE) -> Connection:
        connection = Connection(of)
        connections.append(connection)
        assert of.admit(connection.sock, address)
        return connection

    yield connect
    for each in connections:
        each.close()


def open_ones(*connections: Connection) -> list[bool]:
    return [each.is_open for each in connections]


def test_the_oldest_stranger_makes_room_for_the_next(connect: Connect) -> None:
    of = limits(places=4)
    first, second, third = (connect(of) for _ in range(3))
    assert open_ones(first, second, third) == [False, True, True]


def test_none_is_closed_for_which_the_controller_works(connect: Connect) -> None:
    of = limits(places=4)
    served, waiting = connect(of), connect(of)
    served.sock.begin_request()
    third = connect(of)
    assert open_ones(served, waiting, third) == [True, False, True]


def test_one_that_has_been_served_waits_from_then_on(connect: Connect) -> None:
    of = limits(places=4)
    served, waiting = connect(of), connect(of)
    served.sock.begin_request()
    served.sock.end_request(0)
    connect(of)
    assert open_ones(served, waiting) == [True, False]


def test_a_byte_now_and_then_makes_no_connection_young(connect: Connect) -> None:
    of = limits(places=4)
    trickling, honest = connect(of), connect(of)
    for each in (trickling, honest):
        each.sock.begin_request()
        of.wait_began(each.sock)
    of.wait_ended(trickling.sock)
    of.wait_began(trickling.sock)
    connect(of)
    assert open_ones(trickling, honest) == [False, True]


def test_a_user_makes_no_room_for_strangers(connect: Connect) -> None:
    of = limits(places=4)
    user = connect(of)
    user.sock.begin_request()
    of.recognise(user.sock)
    user.sock.end_request(0)
    strangers = [connect(of) for _ in range(5)]
    assert open_ones(user, *strangers) == [True, False, False, False, True, True]


def test_the_oldest_of_too_many_users_makes_room(connect: Connect) -> None:
    of = limits(places=5)
    users = []
    for _ in range(3):
        users.append(connect(of))
        of.recognise(users[-1].sock)
    assert open_ones(*users) == [False, True, True]


def test_one_address_makes_room_for_itself(connect: Connect) -> None:
    of = limits(places=100, per_address=2)
    other = connect(of, "192.0.2.9")
    first, second, third = (connect(of, "192.0.2.1") for _ in range(3))
    assert open_ones(other, first, second, third) == [True, False, True, True]


def test_a_network_of_ipv6_counts_as_one_address(connect: Connect) -> None:
    of = limits(places=100, per_address=2)
    first, second, third = (connect(of, f"2001:db8::{host}") for host in (1, 2, 3))
    other = connect(of, "2001:db8:0:1::1")
    assert open_ones(first, second, third, other) == [False, True, True, True]


def test_an_address_that_is_being_served_as_often_as_it_may_is_refused(connect: Connect) -> None:
    of = limits(places=100, per_address=2)
    served = [connect(of), connect(of)]
    for each in served:
        each.sock.begin_request()
    refused = Connection(of)
    assert not of.admit(refused.sock, _ANYWHERE)
    refused.close()
    of.leave(served[0].sock)
    connect(of)
    assert open_ones(served[1]) == [True]


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", None])
def test_proxies_and_sockets_of_the_file_system_have_no_limit(connect: Connect, address: str | None) -> None:
    of = limits(places=100, per_address=1, proxies=("10.0.0.0/8",))
    assert open_ones(*[connect(of, address) for _ in range(5)]) == [True] * 5


def test_the_last_connection_of_an_address_can_make_room_for_its_next(connect: Connect) -> None:
    of = limits(places=100, per_address=1)
    first, second, third = (connect(of) for _ in range(3))
    assert open_ones(first, second, third) == [False, False, True]
    for each in (first, second, third):
        of.leave(each.sock)
    assert open_ones(connect(of)) == [True]


def test_one_that_was_closed_counts_no_more_whatever_its_greenlet_does(connect: Connect) -> None:
    of = limits(places=4)
    gone, second, _ = (connect(of) for _ in range(3))
    gone.sock.begin_request()
    of.recognise(gone.sock)
    gone.sock.end_request(0)
    of.leave(gone.sock)
    fourth = connect(of)
    assert open_ones(second, fourth) == [False, True]


def test_strangers_beyond_all_that_are_served_are_surplus(connect: Connect) -> None:
    of = limits(places=2)
    served = connect(of)
    served.sock.begin_request()
    assert not of.is_surplus(served.sock)
    surplus = connect(of)
    assert of.is_surplus(surplus.sock)
    of.leave(served.sock)
    assert not of.is_surplus(surplus.sock)


def test_closed_connections_are_logged_once_in_a_while_with_the_count(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = limits(places=2)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            connect(of)
        monkeypatch.setattr("netstacks.web.listener.connection_limits._LOG_SECS", 0.0)
        connect(of)
    told = [{name: entry[name] for name in ("event", "closed", "refused", "network")} for entry in logs]
    line = {"event": "connections.limited", "refused": 0, "network": _ANYWHERE}
    assert told == [line | {"closed": 1}, line | {"closed": 4}]


def test_strangers_are_refused_and_users_served_when_there_is_no_room(
    connect: Connect, anonymous: Api, admin: Api
) -> None:
    of = limits(places=2)
    connect(of).sock.begin_request()
    surplus = connect(of)
    environ = {"gunicorn.socket": surplus.sock}
    refused = anonymous.get("/api/auth/me", environ_overrides=environ)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert not surplus.sock.is_known
    assert admin.get("/api/auth/me", environ_overrides=environ).status_code == 200
    assert surplus.sock.is_known
    assert not of.is_surplus(surplus.sock)


def test_a_body_that_is_waited_for_is_a_users_once_the_user_is_known(connect: Connect, admin: Api) -> None:
    of = limits(places=10)
    connection = connect(of)

    class _Waited:
        def read(self, size: int = -1) -> bytes:
            of.wait_began(connection.sock)
            assert connection.sock.is_known
            return b""

    environ = {"gunicorn.socket": connection.sock, "wsgi.input": _Waited(), "CONTENT_LENGTH": "2"}
    answer = admin.post("/api/devices", environ_overrides=environ)
    assert (answer.status_code, connection.sock.is_known) == (408, True)


def test_a_strangers_body_is_small(anonymous: Api, admin: Api) -> None:
    large = json.dumps({"username": "x", "password": "y", "more": "z" * 64 * 1024})
    assert anonymous.post("/api/auth/login", data=large).status_code == 413
    body = json.dumps({"name": "core", "host": "192.0.2.1", "port": 22, "device_type": "linux", "more": "z" * 2**20})
    assert admin.post("/api/devices", data=body).status_code == 201


def test_a_proxys_connection_is_a_users_for_as_long_as_the_request_is(connect: Connect) -> None:
    of = limits(places=10, proxies=(_ANYWHERE,))
    proxied = [connect(of) for _ in range(4)]
    for each in proxied:
        each.sock.begin_request()
        of.recognise(each.sock)
        each.sock.end_request(0)
    assert not any(of.is_surplus(each.sock) for each in proxied)
    for each in proxied:
        each.sock.begin_request()
    for _ in range(2):
        connect(of).sock.begin_request()
    assert of.is_surplus(proxied[0].sock)
