"""The order in which a crowd's connections are handled."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from netstacks import greenlets
from netstacks.web.listener import handshake_pace
from netstacks.web.listener.handshake_pace import HandshakePace, is_for_terminal

TERMINAL, HEALTH = b"GET /ws/ssh?cols=80 HTTP/1.1\r\n", b"GET /api/v1/health HTTP/1.1\r\n"


class Crowd:
    """Clients that have connected at the same moment."""

    def __init__(self, resources: ExitStack) -> None:
        self._resources = resources
        self.handled: list[str] = []
        self.requests: dict[str, bytes] = {}
        self.closed: set[str] = set()
        self._pace = HandshakePace()
        self._clients: list[tuple[str, socket.socket]] = []

    def add(self, name: str, request: bytes) -> None:
        client, accepted = socket.socketpair()
        self._resources.enter_context(client)
        self._resources.enter_context(accepted)
        client.sendall(request)
        self._clients.append((name, accepted))

    def handle_all(self) -> list[str]:
        greenlets.joinall([greenlets.spawn(name, self._handle, sock, name) for name, sock in self._clients])
        return self.handled

    def _handle(self, client: socket.socket, name: str) -> None:
        if is_for_terminal(client):
            self._pace.wait(lambda: name not in self.closed)
        self.handled.append(name)
        client.settimeout(0.0)
        try:
            self.requests[name] = client.recv(100)
        except BlockingIOError:
            self.requests[name] = b""


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with ExitStack() as resources:
        yield Crowd(resources)


def test_a_request_without_a_terminal_passes_a_crowd_that_was_first(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the loop needs to start all greenlets of the crowd.
    monkeypatch.setattr(handshake_pace, "_BETWEEN_SECS", 0.2)
    terminals = [f"terminal {number}" for number in range(5)]
    for name in terminals:
        crowd.add(name, TERMINAL)
    crowd.add("health", HEALTH)
    assert crowd.handle_all() == ["health", *terminals]
    assert crowd.requests == {**dict.fromkeys(terminals, TERMINAL), "health": HEALTH}


def test_a_client_that_has_sent_nothing_yet_holds_up_no_other(crowd: Crowd) -> None:
    crowd.add("silent", b"")
    crowd.add("half a request", TERMINAL[:7])
    crowd.add("terminal", TERMINAL)
    assert crowd.handle_all() == ["silent", "half a request", "terminal"]
