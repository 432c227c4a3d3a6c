"""What a dial finds is told apart: only the owner's own word counts, and nothing is waited for without end."""

import ast
import contextlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from netstacks.peer.token import PeerTokens
from tests.ports import free_port

OWNER, PATH, SECRET = "ctrl-owner", "/peer/sessions/1/terminal", "a secret of the tests that is long enough"


# Longer than this machine pauses.
PATIENCE_SECS = 60.0


def dialled(address: str, patience_secs: float = PATIENCE_SECS) -> str:
    return _run("dial", address, patience_secs)


def called(address: str) -> str:
    """The outcome of a request."""
    return _run("call", address)


def _run(what: str, address: str, patience_secs: float = PATIENCE_SECS) -> str:
    command = [sys.executable, "-m", "tests.peer.dialling", what, address, OWNER, PATH, SECRET, str(patience_secs)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout.splitlines()[-1]


class Listener:
    """Answers the one connection that it takes with the given bytes, then closes it; or says nothing at all."""

    def __init__(self, answer: bytes | None) -> None:
        self.request = b""
        self._answer = answer
        self._over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)
        self._server.close()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, contextlib.suppress(OSError):
            while b"\r\n\r\n" not in self.request:
                data = connection.recv(4096)
                if not data:
                    return
                self.request += data
            if self._answer is None:
                self._over.wait(60)
            else:
                connection.sendall(self._answer)


def stamped(status: str, told_at: float) -> bytes:
    """An answer with the time of the peer."""
    return answer(status).replace(b"\r\n\r\n", f"\r\nX-Netstacks-Clock: {told_at:.3f}\r\n\r\n".encode())


def answer(status: str, instance: str = OWNER) -> bytes:
    return f"HTTP/1.1 {status}\r\nX-Netstacks-Instance: {instance}\r\n\r\n".encode()


@pytest.mark.parametrize(("said", "outcome"), [
    (answer("409 CONFLICT"), "denied"),
    (answer("503 SERVICE UNAVAILABLE"), "declined"),
    (answer("403 FORBIDDEN"), "declined"),
    (answer("101 Switching Protocols", "ctrl-other"), "other_id"),
    (answer("409 CONFLICT", "ctrl-other"), "other_id"),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "other_id"),
    (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "timed_out"),
    (b"", "timed_out"),
    (b"x" * 100_000, "timed_out"),
    (b"HTTP/1.1\r\n\r\n", "timed_out"),
    (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "timed_out"),
    (None, "timed_out"),
])  # fmt: skip
def test_answers_other_than_the_owners_acceptance_are_told_apart(said: bytes | None, outcome: str) -> None:
    with Listener(said) as listener:
        assert dialled(listener.address, PATIENCE_SECS if said is not None else 1.0) == outcome


@pytest.mark.parametrize("status", ["403 FORBIDDEN", "404 NOT FOUND", "500 ERROR", "502 BAD", "503 UNAVAILABLE"])
def test_an_error_of_a_peer_is_never_taken_for_an_answer(status: str) -> None:
    body = b'{"error": "no room here"}'
    said = answer(status).replace(b"\r\n\r\n", f"\r\nContent-Length: {len(body)}\r\n\r\n".encode()) + body
    with Listener(said) as listener:
        assert called(listener.address) == f"PeerFailed instance {OWNER} answered {status[:3]}: no room here"


@pytest.mark.parametrize(("status", "result"), [("204 NO CONTENT", "Reply None"), ("409 CONFLICT", "NoAnswer denied")])
def test_a_calls_success_and_an_absent_session_are_told_apart(status: str, result: str) -> None:
    with Listener(answer(status)) as listener:
        assert called(listener.address) == result


@pytest.mark.parametrize("body", [b"\xff", b"[" * 5000])
def test_an_answer_that_is_no_json_is_none(body: bytes) -> None:
    with Listener(answer("200 OK") + body) as listener:
        assert called(listener.address) == "NoAnswer timed_out"


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:port"])
def test_a_malformed_address_counts_as_timed_out(address: str) -> None:
    assert dialled(address) == "timed_out"


def test_a_port_without_a_listener_refuses() -> None:
    assert dialled(f"127.0.0.1:{free_port()}") == "refused"


def test_an_accepted_upgrade_is_handed_over_with_the_frames_that_came_with_it() -> None:
    with Listener(answer("101 Switching Protocols") + b"the first frame") as listener:
        assert dialled(listener.address) == "the first frame"
    head, *fields = listener.request.decode().split("\r\n")
    assert head == f"GET {PATH}?cols=80 HTTP/1.1"
    assert "Sec-WebSocket-Key: a key" in fields
    token = next(field for field in fields if field.startswith("Authorization: Bearer ")).split()[-1]
    assert PeerTokens(SECRET).read(OWNER, PATH, token) == {"epoch": 3}


@pytest.mark.parametrize("status", ["204 NO CONTENT", "403 FORBIDDEN", "409 CONFLICT"])
@pytest.mark.parametrize("skew_secs", [-1000.0, 1000.0])
def test_every_answer_tells_how_far_the_clock_of_the_peer_is_off(status: str, skew_secs: float) -> None:
    with Listener(stamped(status, time.time() + skew_secs)) as listener:
        found = ast.literal_eval(_run("clock", listener.address))
    # What passed until the answer was read is within the tolerance.
    assert found == {OWNER: pytest.approx(skew_secs, abs=30)}


@pytest.mark.parametrize("said", [
    answer("204 NO CONTENT"),
    answer("204 NO CONTENT").replace(b"\r\n\r\n", b"\r\nX-Netstacks-Clock: noon\r\n\r\n"),
    stamped("204 NO CONTENT", float("nan")),
    stamped("204 NO CONTENT", 0.0).replace(OWNER.encode(), b"ctrl-other"),
    None,
])  # fmt: skip
def test_without_the_time_of_the_peer_itself_nothing_is_measured(said: bytes | None) -> None:
    with Listener(said) as listener:
        found = _run("clock", listener.address, PATIENCE_SECS if said is not None else 1.0)
    assert ast.literal_eval(found) == {}
