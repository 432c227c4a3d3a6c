"""The splice: every byte, both ways, in order; no side waits for what cannot come; nothing is left behind."""

import gc
import hashlib
import os
import socket
import threading
from collections.abc import Callable

import pytest

from netstacks import greenlets
from netstacks.peer import splice as module
from netstacks.peer.splice import splice
from tests.processes import sockets_and_pipes

LARGE = os.urandom(1024 * 1024) * 24


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of this machine cuts no side off."""
    monkeypatch.setattr(module, "LINGER_SECS", 60.0)


def connection() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection; the second one as gevent would have it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    near.setblocking(False)
    far.settimeout(60)
    return far, near


class Hop:
    """A spliced connection; `client` and `owner` are its far ends, to be used from threads."""

    def __init__(self, to_client: bytes = b"", to_upstream: bytes = b"") -> None:
        self.client, client = connection()
        self.owner, upstream = connection()
        self.greenlet = greenlets.spawn("hop", splice, client, upstream, to_client=to_client, to_upstream=to_upstream)

    def while_spliced(self, *tasks: Callable[[], None]) -> None:
        """Runs the tasks in threads of their own, until they and the splice have ended."""
        threads = [threading.Thread(target=task) for task in tasks]
        for thread in threads:
            thread.start()
        self.greenlet.join(60)
        assert self.greenlet.ready()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


def drained(sock: socket.socket) -> bytes:
    with sock, sock.makefile("rb") as file:
        return file.read()


def test_bytes_pass_both_ways_in_order_after_what_was_read_ahead() -> None:
    hop = Hop(to_client=b"101 and the first frame|", to_upstream=b"sent early|")
    got: dict[str, bytes] = {}

    def client() -> None:
        hop.client.sendall(LARGE)
        hop.client.shutdown(socket.SHUT_WR)

    def client_reads() -> None:
        got["client"] = drained(hop.client)

    def owner() -> None:
        hop.owner.sendall(LARGE[::-1])
        got["owner"] = b"".join(iter(lambda: hop.owner.recv(65536), b""))
        hop.owner.close()

    hop.while_spliced(client, client_reads, owner)
    assert hashlib.sha256(got["owner"]).digest() == hashlib.sha256(b"sent early|" + LARGE).digest()
    assert hashlib.sha256(got["client"]).digest() == hashlib.sha256(b"101 and the first frame|" + LARGE[::-1]).digest()


def test_a_slow_reader_holds_its_writer_back_and_gets_every_byte() -> None:
    hop = Hop()
    sent = 0
    may_read = threading.Event()
    got = b""

    def owner() -> None:
        nonlocal sent
        for start in range(0, len(LARGE), 65536):
            hop.owner.sendall(LARGE[start : start + 65536])
            sent = start + 65536
        hop.owner.close()

    def held_back() -> None:
        before = -1
        while sent != before:
            before = sent
            may_read.wait(0.3)
        assert sent < len(LARGE)
        may_read.set()

    def client() -> None:
        nonlocal got
        may_read.wait(30)
        got = drained(hop.client)

    hop.while_spliced(owner, held_back, client)
    assert got == LARGE


def test_the_owners_end_reaches_a_client_that_goes_on_sending_behind_its_last_byte() -> None:
    hop = Hop()
    got = b""

    def owner() -> None:
        hop.owner.recv(10)
        hop.owner.sendall(LARGE)
        hop.owner.shutdown(socket.SHUT_WR)
        drained(hop.owner)

    def client_types() -> None:
        try:
            while True:
                hop.client.sendall(b"k" * 1000)
        except OSError:
            pass

    def client() -> None:
        nonlocal got
        threading.Thread(target=client_types).start()
        got = drained(hop.client)

    hop.while_spliced(owner, client)
    assert got == LARGE


def test_a_client_that_has_gone_ends_the_owners_side() -> None:
    hop = Hop()
    ended = b"not yet"

    def owner() -> None:
        nonlocal ended
        ended = hop.owner.recv(10)
        hop.owner.close()

    hop.client.close()
    hop.while_spliced(owner)
    assert ended == b""


@pytest.mark.parametrize(("ends", "stays"), [("owner", "client"), ("client", "owner")])
def test_a_side_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, ends: str, stays: str) -> None:
    monkeypatch.setattr(module, "LINGER_SECS", 0.1)
    hop = Hop()
    getattr(hop, ends).close()
    hop.while_spliced()
    assert getattr(hop, stays).recv(10) == b""


def pumps_that_wait() -> list[str]:
    """A pump that outlives its sockets waits for numbers that are others' by then, or for none: libev aborts."""
    found = [each for each in gc.get_objects() if issubclass(type(each), greenlets.Greenlet) and not each.ready()]
    return [each.name for each in found if each.name.startswith("splice-")]


def test_no_descriptor_is_left_behind_whenever_a_splice_is_killed() -> None:
    greenlets.sleep(0)  # The event loop opens some of its own.
    before = sockets_and_pipes()
    for moment in range(6):
        hop = Hop(to_client=b"x")
        hop.owner.setblocking(False)
        for _ in range(moment * 50):  # Up to a client that does not read and a pipe that is full.
            try:
                hop.owner.send(LARGE[:65536])
            except BlockingIOError:
                greenlets.sleep(0.001)
        hop.greenlet.kill()
        assert not pumps_that_wait()
        assert hop.client.recv(1) in (b"x", b"")
        hop.client.close()
        hop.owner.close()
    idle = {os.readlink(f"/proc/self/fd/{end}") for pipe in module._idle_pipes for end in pipe}
    assert sockets_and_pipes() - idle <= before
