"""Each stage of a client's connection has a time limit, whatever the client sends or reads."""

import socket
from collections.abc import Callable, Iterator

import pytest

from netstacks import greenlets
from netstacks.web.listener import client_socket
from netstacks.web.listener.client_socket import HEAD_BYTES, ClientSocket
from tests.web.client_sockets import STREAMED_BYTES, Connection, limits, reading, sending, streaming
from tests.web.conftest import Api

# More than the kernel takes for a client that does not read.
_LARGE = bytes(64 * 1024 * 1024)


@pytest.fixture
def limit_secs() -> float:
    """The time limit of each stage."""
    return 1.0


patient = pytest.mark.parametrize("limit_secs", [30.0], ids=["patient"])
"""For a test in which no limit of time is reached, even if the machine pauses."""


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch, limit_secs: float) -> Iterator[Connection]:
    monkeypatch.setattr(client_socket, "HEAD_SECS", limit_secs)
    monkeypatch.setattr(client_socket, "BODY_SECS", limit_secs)
    monkeypatch.setattr(client_socket, "STALL_SECS", limit_secs)
    connection = Connection(limits())
    yield connection
    connection.close()


class Clock:
    """In the place of `time`; `moves_secs` is what each look at it takes."""

    def __init__(self, moves_secs: float = 0.0) -> None:
        self.now = 0.0
        self._moves_secs = moves_secs

    def monotonic(self) -> float:
        self.now += self._moves_secs
        return self.now


def test_a_head_that_comes_byte_by_byte_has_one_deadline(connection: Connection) -> None:
    # There before the deadline, however slowly the thread of the client starts.
    connection.client.sendall(b"G")
    with streaming(connection):
        received = list(iter(lambda: connection.sock.recv(1), b""))
    assert 0 < len(received) < STREAMED_BYTES


def test_a_connection_that_sends_nothing_has_the_same_deadline(connection: Connection) -> None:
    assert connection.sock.recv(1) == b""


@patient
def test_the_deadline_of_a_later_head_begins_with_its_first_byte(
    connection: Connection, limit_secs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(client_socket, "time", clock)
    connection.sock.begin_request()
    connection.sock.end_request(0)
    clock.now += 2 * limit_secs
    with sending(connection, b"GET", piece=1, pause_secs=0.1):
        assert [connection.sock.recv(1) for _ in range(3)] == [b"G", b"E", b"T"]
    clock.now += 2 * limit_secs
    assert connection.sock.recv(1) == b""


@patient
def test_a_head_that_does_not_end_is_given_up(connection: Connection) -> None:
    with sending(connection, bytes(2 * HEAD_BYTES)):
        received = list(iter(lambda: connection.sock.recv(1000), b""))
    assert HEAD_BYTES - 1000 <= len(b"".join(received)) <= HEAD_BYTES


@patient
def test_the_rest_of_a_body_is_read_before_the_next_head(connection: Connection) -> None:
    with sending(connection, bytes(10 * HEAD_BYTES)):
        connection.sock.begin_request()
        read = len(connection.sock.recv(1000))
        connection.sock.end_request(2 * HEAD_BYTES)
        received = list(iter(lambda: connection.sock.recv(1000), b""))
    most = 3 * HEAD_BYTES - read
    assert most - 1000 <= len(b"".join(received)) <= most


def test_a_body_that_comes_byte_by_byte_has_one_deadline(connection: Connection) -> None:
    connection.client.sendall(b"{")
    connection.sock.begin_request()
    received: list[bytes] = []
    with streaming(connection), pytest.raises(ConnectionResetError, match="not complete"):
        received.extend(iter(lambda: connection.sock.recv(1), None))
    assert 0 < len(received) < STREAMED_BYTES


def test_a_body_that_is_there_is_read_however_late(connection: Connection) -> None:
    connection.client.sendall(b"body")
    connection.sock.begin_request()
    # Longer than a body may take.
    greenlets.sleep(1.2)
    assert connection.sock.recv(10) == b"body"


def test_a_body_that_is_cut_short_is_none(connection: Connection) -> None:
    connection.sock.begin_request()
    connection.client.close()
    with pytest.raises(ConnectionResetError, match="not complete"):
        connection.sock.recv(10)


def test_an_answer_that_the_client_does_not_read_ends(connection: Connection) -> None:
    connection.sock.begin_request()
    with pytest.raises(ConnectionResetError, match="does not read"):
        connection.sock.sendall(_LARGE)


def test_a_client_that_reads_a_byte_now_and_then_reads_nothing(connection: Connection) -> None:
    connection.sock.begin_request()
    with reading(connection, 1), pytest.raises(ConnectionResetError, match="does not read"):
        connection.sock.sendall(_LARGE)


@patient
def test_a_download_goes_on_for_as_long_as_it_makes_progress(
    connection: Connection, limit_secs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two looks for each wait: they take far longer together than a client may read nothing.
    clock = Clock(moves_secs=2.0)
    monkeypatch.setattr(client_socket, "time", clock)
    connection.sock.begin_request()
    sent = bytes(range(256)) * 16 * 1024
    with reading(connection, 20 * 1024) as read:
        connection.sock.sendall(sent)
        connection.sock.shutdown(socket.SHUT_WR)
        while len(read) < len(sent):
            greenlets.sleep(0.01)
    assert read == sent
    assert clock.now > 3 * limit_secs


def test_each_answer_has_the_whole_time(connection: Connection) -> None:
    for _ in range(2):
        connection.sock.begin_request()
        with pytest.raises(ConnectionResetError, match="does not read"):
            connection.sock.sendall(_LARGE)
        assert connection.sock._stall_secs <= 0
        connection.sock.end_request(0)
    connection.sock.begin_request()
    assert connection.sock._stall_secs == client_socket.STALL_SECS


def turns_of_others(step: Callable[[], object], most: int) -> int:
    """How many turns another greenlet has had, once it has had some, or after `most` steps without a pause."""
    turns = 0
    is_over = False

    def other() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            greenlets.sleep(0)

    greenlet = greenlets.spawn("other", other)
    greenlets.sleep(0)
    turns = 0
    for _ in range(most):
        step()
        if turns > 2:
            break
    is_over = True
    greenlets.joinall([greenlet])
    return turns


def test_others_have_their_turn_while_a_client_sends_without_a_pause(connection: Connection) -> None:
    connection.client.sendall(bytes(50_000))
    assert turns_of_others(lambda: connection.sock.recv(1), 50_000) > 2


def test_others_have_their_turn_while_a_client_reads_without_a_pause(connection: Connection) -> None:
    connection.sock.begin_request()
    with reading(connection, 64 * 1024, pause_secs=0):
        assert turns_of_others(lambda: connection.sock.sendall(b"x"), 50_000) > 2


def test_others_have_their_turn_between_requests_that_came_in_one_piece(connection: Connection) -> None:
    def serve() -> None:
        connection.sock.begin_request()
        connection.sock.end_request(0)

    assert turns_of_others(serve, 50_000) > 2


def test_a_client_that_waits_for_its_answers_is_not_made_to_give_way(connection: Connection) -> None:
    def serve() -> None:
        connection.sock._begin_wait()
        connection.client.sendall(b"head")
        connection.sock.recv(10)
        connection.sock.begin_request()
        connection.sock.sendall(b"answer")
        connection.sock.end_request(0)

    assert turns_of_others(serve, 1000) == 0


@patient
def test_a_body_of_many_more_bytes_than_it_may_have_is_cut_off(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_socket, "_MAX_RAW_BYTES", 5000)
    connection.sock.begin_request()
    received: list[bytes] = []
    with sending(connection, bytes(20_000)), pytest.raises(ConnectionResetError, match="too many bytes"):
        received.extend(iter(lambda: connection.sock.recv(1000), b""))
    assert 4000 < len(b"".join(received)) <= 5000


def test_the_rest_of_a_refused_body_has_the_time_of_a_body(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_socket, "HEAD_SECS", 0.0)
    monkeypatch.setattr(client_socket, "BODY_SECS", 30.0)
    connection.sock.begin_request()
    connection.sock.end_request(10_000)
    with sending(connection, bytes(10_000), pause_secs=0.02):
        received = 0
        while received < 10_000:
            received += len(connection.sock.recv(1000)) or 10_000
    assert received == 10_000


def test_a_copy_has_no_limits(connection: Connection) -> None:
    with connection.sock.dup() as copy:
        assert not isinstance(copy, ClientSocket)
        assert copy.gettimeout() is None
        connection.sock.close()
        connection.client.sendall(b"frame")
        assert copy.recv(10) == b"frame"


class _Late:
    """A body of which gunicorn raises that it is late."""

    def read(self, size: int = -1) -> bytes:
        raise ConnectionResetError("the body of the request is not complete")


def test_the_client_is_told_that_its_body_is_late(anonymous: Api) -> None:
    answer = anonymous.post("/api/auth/login", environ_overrides={"wsgi.input": _Late(), "CONTENT_LENGTH": "100"})
    assert (answer.status_code, answer.json) == (
        408,
        {"error": "The request's body is incomplete. It must arrive within 60 seconds."},
    )
