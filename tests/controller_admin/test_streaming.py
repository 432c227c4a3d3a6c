"""A running controller-admin passes on what arrives: at once, no faster than it is read, and with its refusals."""

import socket
import threading
from contextlib import suppress

import requests

from tests.controller import until
from tests.controller_admin.front import in_front_of

_CHUNK = b"x" * 65536
_UPGRADE = (
    "GET /ws/shared?share=x HTTP/1.1\r\nHost: admin.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Origin: http://admin.example\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_events_are_not_kept_back() -> None:
    was_read = threading.Event()

    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert was_read.wait(30)
        connection.sendall(b"data: 2\n\n")

    with in_front_of(serve) as site, requests.get(f"{site.url}/api/v1/ha/stream", stream=True, timeout=30) as answer:
        lines = answer.iter_lines(chunk_size=1)
        assert next(lines) == b"data: 1"
        was_read.set()
        assert [each for each in lines if each] == [b"data: 2"]


def test_a_slow_reader_fills_no_memory() -> None:
    sent = [0]

    def serve(connection: socket.socket, _: bytes) -> None:
        connection.settimeout(2)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(_CHUNK)
            sent[0] += len(_CHUNK)

    with in_front_of(serve) as site, requests.get(f"{site.url}/api/x", stream=True, timeout=30) as answer:
        assert len(next(answer.iter_content(1000))) == 1000
        before = [-1]

        def stands() -> bool:
            """Whether nothing was sent since the last look."""
            is_standing, before[0] = before[0] == sent[0], sent[0]
            return is_standing and not threading.Event().wait(0.2)

        until(lambda: stands() and stands() and stands(), "the API to be held back")
        assert sent[0] < 50_000_000


def test_an_answer_that_breaks_off_is_seen_as_broken() -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")

    with in_front_of(serve) as site, requests.get(f"{site.url}/api/x", stream=True, timeout=30) as answer:
        with suppress(requests.exceptions.ChunkedEncodingError):
            answer.content  # noqa: B018
            raise AssertionError("the answer seems to be whole")
        assert "Traceback" not in site.log()


def test_a_refused_socket_is_answered_with_the_refusal() -> None:
    body = b'{"error": "This link is not valid."}'

    def serve(connection: socket.socket, _: bytes) -> None:
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    with in_front_of(serve) as site, socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(_UPGRADE.encode())
        received = b""
        while not received.endswith(body):
            received += client.recv(65536)
    assert received.startswith(b"HTTP/1.1 403 ")


def test_a_socket_is_passed_on_with_what_came_early() -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly"
        )
        while data := connection.recv(65536):
            connection.sendall(data.upper())

    with in_front_of(serve) as site, socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(_UPGRADE.encode() + b"glued")
        received = b""
        while not received.endswith(b"GLUED"):
            received += client.recv(65536)
        client.sendall(b"later")
        while not received.endswith(b"LATER"):
            received += client.recv(65536)
        assert received.partition(b"\r\n\r\n")[2] == b"earlyGLUEDLATER"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65536) == b""
