"""Our WebSockets on a real gunicorn gevent worker, against the `websockets` client and a peer made of bare bytes."""

import hashlib
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.controller import until
from tests.web.websocket_peer import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    Peer,
    Received,
    frame,
    handshake,
)
from tests.web.websocket_server import WebSocketServer

MIB = 1024 * 1024
PATIENCE_SECS = 8.0


@pytest.fixture(scope="module")
def server() -> Iterator[WebSocketServer]:
    with running(WebSocketServer()) as server:
        yield server


@pytest.fixture(scope="module")
def patient_server() -> Iterator[WebSocketServer]:
    """One that waits for a peer that is to close for longer than a machine pauses."""
    with running(WebSocketServer(PATIENCE_SECS)) as server:
        yield server


@contextmanager
def running(server: WebSocketServer) -> Iterator[WebSocketServer]:
    try:
        until(server.is_up, "the start of the server", 60)
        yield server
    finally:
        server.stop()


@pytest.fixture
def name() -> str:
    """Tells the notes of one test from those of the others."""
    return uuid.uuid4().hex


def client(server: WebSocketServer, path: str) -> ClientConnection:
    return connect(server.url(path), compression=None, max_size=None)


def notes(server: WebSocketServer, name: str, count: int) -> list[str]:
    """The first `count` notes that a handler has made under `name`, waited for."""

    def noted() -> list[str] | None:
        mine = [note.removeprefix(f"{name} ") for note in server.said() if note.startswith(name)]
        return mine if len(mine) >= count else None

    found: list[str] = until(noted, f"note {count}")
    return found


# Messages


@pytest.mark.parametrize("message", ["", "é€😀", b"", b"\x00\xff", "x" * 126, b"x" * 65536, b"x" * MIB])
def test_messages_come_and_go_whole_with_their_type(server: WebSocketServer, message: bytes | str) -> None:
    with client(server, "/echo") as peer:
        peer.send(message)
        assert peer.recv() == message


def test_compression_is_never_agreed_upon(server: WebSocketServer) -> None:
    with connect(server.url("/echo"), compression="deflate") as peer:
        assert peer.protocol.extensions == []


def test_fragments_make_one_message_with_pings_between_them(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/echo")
    peer.send(frame(TEXT, "né".encode()[:2], fin=False), frame(PING, b"?"), frame(CONTINUATION, b"", fin=False))
    assert peer.receive() == Received(PONG, b"?")
    peer.send(frame(CONTINUATION, "né".encode()[2:] + b"!"))
    assert peer.receive() == Received(TEXT, "né!".encode())
    peer.close()


def test_frames_may_come_byte_by_byte(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/echo")
    for byte in frame(BINARY, b"z" * 200):
        peer.send(bytes([byte]))
    assert peer.receive() == Received(BINARY, b"z" * 200)
    peer.close()


def test_frames_glued_to_the_handshake_are_not_lost(server: WebSocketServer) -> None:
    early = [frame(BINARY, bytes([number]) * 3000) for number in range(5)]
    peer = Peer(server.port, "/echo", glued=b"".join(early) + frame(PING, b"early"))
    received = [peer.receive() for _ in range(6)]
    assert Received(PONG, b"early") in received
    assert [each.payload for each in received if each.opcode == BINARY] == [bytes([n]) * 3000 for n in range(5)]
    peer.close()


def test_slow_reader_gets_exactly_the_burst_with_whole_pings_between(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/burst/7", receive_buffer_bytes=4096)
    digest, pings = hashlib.sha256(), 0
    while (received := peer.receive()).opcode != TEXT:
        if received.opcode == PING:
            assert received.payload == b"between"
            pings += 1
        else:
            digest.update(received.payload)
    assert received.payload.decode() == digest.hexdigest()
    assert pings > 0
    peer.close()


def test_messages_of_several_greenlets_do_not_mix(server: WebSocketServer) -> None:
    with client(server, "/choir/4") as peer:
        songs = list(peer)
    assert sorted(song[:1] for song in songs) == [b"A"] * 20 + [b"B"] * 20 + [b"C"] * 20 + [b"D"] * 20
    assert all(song == song[:1] * 300_000 for song in songs)


def test_handler_that_receives_nothing_holds_its_peer_back(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/deaf")
    peer.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        peer.send(frame(BINARY, b"x" * MIB) * 128)
    requests.post(server.http("/go"), timeout=30)
    peer.close()


@pytest.mark.parametrize("fragments", [1, 5])
def test_long_data_is_handed_on_in_pieces_and_never_held_whole(
    server: WebSocketServer, name: str, fragments: int
) -> None:
    text = ("aé€😀\r" * (20 * MIB // 11)).encode()
    cuts = [len(text) * part // fragments for part in range(fragments + 1)]
    parts = [text[start:end] for start, end in pairwise(cuts)]
    parts[0] = b"\x01" + parts[0]
    with client(server, f"/swallow/{name}/{len(text)}") as peer:
        peer.send(parts if fragments > 1 else parts[0])
        [note] = notes(server, name, 1)
    digest, largest, growth = note.split()
    assert digest == hashlib.sha256(text).hexdigest()
    assert int(largest) <= 65 * 1024
    assert int(growth) < 2 * MIB


def test_pings_between_the_pieces_are_answered(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/swallow/{name}/{3 * MIB}")
    peer.send(frame(BINARY, b"\x01" + b"a" * MIB, fin=False), frame(PING, b"1"))
    assert peer.receive() == Received(PONG, b"1")
    peer.send(frame(CONTINUATION, b"b" * MIB, fin=False), frame(PING, b"2"), frame(CONTINUATION, b"c" * MIB))
    assert peer.receive() == Received(PONG, b"2")
    wanted = hashlib.sha256(b"a" * MIB + b"b" * MIB + b"c" * MIB).hexdigest()
    assert notes(server, name, 1)[0].startswith(wanted)
    peer.close()


# Pings and pongs


def test_pings_of_the_client_are_answered_with_their_payload(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/echo")
    peer.send(*(frame(PING, payload) for payload in (b"", b"1", b"2" * 125)))
    assert [peer.receive() for _ in range(3)] == [Received(PONG, b""), Received(PONG, b"1"), Received(PONG, b"2" * 125)]
    peer.close()


def test_pongs_are_told_in_their_place_between_the_messages(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/notes/{name}")
    peer.send(frame(PONG, b"1"), frame(TEXT, b"a"), frame(PONG, b"2"), frame(PONG, b"3"), frame(TEXT, b"b"))
    assert notes(server, name, 5) == ["pong b'1'", "message 'a'", "pong b'2'", "pong b'3'", "message 'b'"]
    peer.close()


def flood_with_pings(peer: Peer) -> None:
    """Sends megabytes of pings, a last one and a message, to a server whose pongs are not read yet."""
    for _ in range(100):
        peer.send(*(frame(PING, b"p" * 125) for _ in range(400)))
    peer.send(frame(PING, b"the latest"), frame(TEXT, b"still there?"))


def read_pongs(peer: Peer) -> None:
    while (received := peer.receive()).payload != b"the latest":
        assert received == Received(PONG, b"p" * 125)


def test_pings_of_a_peer_that_does_not_read_hold_no_receiver(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/notes/{name}", receive_buffer_bytes=4096)
    assert peer.receive() == Received(TEXT, b"ready")
    flood_with_pings(peer)
    assert notes(server, name, 1) == ["message 'still there?'"]
    read_pongs(peer)
    peer.close()


def test_message_does_not_land_inside_a_pong_that_is_stuck(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/answers/{name}", receive_buffer_bytes=4096)
    flood_with_pings(peer)
    notes(server, name, 1)
    read_pongs(peer)
    assert peer.receive() == Received(TEXT, b"noted")
    peer.close()


def test_pings_are_heard_while_a_sender_waits_for_the_peer(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/flood/{name}", receive_buffer_bytes=4096)
    peer.send(frame(PING, b"hello?"), frame(TEXT, b"input"))
    assert notes(server, name, 1) == ["told 'input'"]
    while (received := peer.receive()) != Received(PONG, b"hello?"):
        assert received == Received(BINARY, b"x" * 50_000)
    peer.close()


def test_delivered_bytes_grow_with_what_the_peer_takes(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/progress/{name}", receive_buffer_bytes=4096)
    peer.send(frame(TEXT, b"how much before I read?"))
    assert int(notes(server, name, 1)[0]) < 100_000
    assert len(peer.receive().payload) == 100_000
    peer.send(frame(TEXT, b"and now?"))
    assert int(notes(server, name, 2)[1]) > 100_000
    peer.close()


# Ends


@pytest.mark.parametrize("code", [1000, 1012, 4410])
def test_close_code_and_reason_reach_the_client(server: WebSocketServer, code: int) -> None:
    with client(server, f"/closes/{code}") as peer:
        with pytest.raises(ConnectionClosed):
            peer.recv()
        assert peer.close_code == code
        # A reason longer than a control frame takes is cut between two characters.
        assert peer.close_reason == "because " + "é" * 57


def test_close_of_the_client_comes_after_its_messages(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/notes/{name}")
    assert peer.receive() == Received(TEXT, b"ready")
    peer.send(frame(TEXT, b"last words"), frame(CLOSE, (3001).to_bytes(2, "big") + b"bye"))
    assert peer.receive() == Received(CLOSE, (3001).to_bytes(2, "big") + b"bye")
    assert peer.at_end()
    peer.close()
    assert notes(server, name, 2) == ["message 'last words'", "closed 3001 bye"]


def test_close_without_a_code_is_1005(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/notes/{name}")
    peer.send(frame(CLOSE))
    assert notes(server, name, 1) == ["closed 1005 "]
    peer.close()


def test_lost_connection_has_no_code(server: WebSocketServer, name: str) -> None:
    Peer(server.port, f"/notes/{name}").close()
    assert notes(server, name, 1) == ["closed None "]


def test_handler_that_returns_closes_with_1000(server: WebSocketServer) -> None:
    with client(server, "/choir/0") as peer, pytest.raises(ConnectionClosed):
        peer.recv()
    assert peer.close_code == 1000


def test_handler_that_fails_closes_with_1011_and_logs_one_traceback(server: WebSocketServer) -> None:
    before = server.log()
    peer = Peer(server.port, "/fails")
    peer.send(frame(TEXT, b"go"))
    assert peer.receive().close_code == 1011
    peer.send(frame(CLOSE, (1011).to_bytes(2, "big")))
    assert peer.at_end()
    peer.close()
    logged = server.log().removeprefix(before)
    assert logged.count("websocket.failed") == 1
    assert logged.count("RuntimeError: a bug in a handler") == 1


def test_closed_connections_are_no_failures(server: WebSocketServer, name: str) -> None:
    before = server.log()
    Peer(server.port, f"/notes/{name}").close()
    notes(server, name, 1)
    assert server.log() == before


@pytest.mark.parametrize(
    "frames",
    [
        [frame(BINARY, b"x" * (MIB + 1))],
        [frame(TEXT, b"\x01" * (MIB + 1))],
        [frame(BINARY, b"\x02" + b"x" * 2 * MIB)],
        [frame(TEXT, b"\x01" * MIB, fin=False), frame(CONTINUATION, b"x")],
        [frame(BINARY, b"x" * MIB, fin=False), frame(CONTINUATION, b"x")],
    ],
)
def test_message_above_the_limit_is_closed_with_1009(patient_server: WebSocketServer, frames: list[bytes]) -> None:
    peer = Peer(patient_server.port, "/echo")
    peer.send(*frames)
    assert peer.receive().close_code == 1009
    for _ in range(100):
        peer.send(frame(BINARY, b"x" * 100_000))
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.at_end()
    peer.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(BINARY, b"plain", masked=False), 1002),
        (frame(BINARY, b"reserved", rsv=4), 1002),
        (frame(3, b"unknown opcode"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(CONTINUATION, b"of nothing"), 1002),
        (frame(BINARY, fin=False) + frame(BINARY), 1002),
        (frame(CLOSE, b"1"), 1002),
        (frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"("), 1007),
    ],
)
def test_malformed_frame_is_closed_with_its_code(server: WebSocketServer, data: bytes, code: int) -> None:
    peer = Peer(server.port, "/echo")
    peer.send(frame(TEXT, b"before"), data, frame(TEXT, b"after"))
    received = [peer.receive()]
    if received[0].opcode == TEXT:
        received.append(peer.receive())
    assert received[-1].close_code == code
    assert peer.at_end()
    peer.close()


def test_abort_wakes_a_sender_and_a_receiver(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/flood/{name}", receive_buffer_bytes=4096)
    peer.send(frame(TEXT, b"abort"))
    assert notes(server, name, 2) == ["told 'abort'", "sender woke up"]
    peer.close()

    waiting = Peer(server.port, f"/abandoned/{name}")
    assert waiting.at_end()
    waiting.close()
    assert notes(server, name, 3)[2:] == ["closed None"]


def test_peer_that_does_not_read_does_not_hold_the_closer(server: WebSocketServer, name: str) -> None:
    peer = Peer(server.port, f"/flood/{name}", receive_buffer_bytes=4096)
    peer.send(frame(TEXT, b"close"))
    assert set(notes(server, name, 3)) == {"told 'close'", "sender woke up", "close returned"}
    peer.close()


def test_client_that_is_sending_is_not_reset_by_a_close(patient_server: WebSocketServer) -> None:
    peer = Peer(patient_server.port, "/closes/4001", glued=frame(BINARY, b"x" * 10_000) * 20)
    assert peer.receive().close_code == 4001
    for _ in range(100):
        peer.send(frame(BINARY, b"x" * 100_000))
    peer.send(frame(CLOSE, (4001).to_bytes(2, "big")))
    assert peer.at_end()
    peer.close()


def test_slow_reader_gets_everything_before_the_close(patient_server: WebSocketServer) -> None:
    pieces = 8
    size = pieces * 50_000
    peer = Peer(patient_server.port, f"/farewell/{size}", receive_buffer_bytes=4096)
    assert peer.receive().opcode == PING
    head = bytes([0x80 | BINARY, 127]) + size.to_bytes(8, "big")
    assert peer.exactly(len(head)) == head
    for _ in range(pieces):
        time.sleep(PATIENCE_SECS / 6)
        peer.send(frame(PONG, b"in the middle of it"))
        assert peer.exactly(size // pieces) == b"x" * (size // pieces)
    assert peer.receive().close_code == 4001
    peer.close()


def test_peer_that_answers_no_close_is_cut_off(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/closes/4001")
    assert peer.receive().close_code == 4001
    assert peer.at_end()
    peer.close()


def test_nothing_follows_half_a_message(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/killed", receive_buffer_bytes=4096)
    assert peer.socket.recv(1)
    peer.send(frame(TEXT, b"kill the sender"))
    rest = b""
    while chunk := peer.socket.recv(65536):
        rest += chunk
    size, payload = rest[1:9], rest[9:]
    assert int.from_bytes(size, "big") > len(payload)
    assert payload == b"x" * len(payload)
    peer.close()


# Handshakes


def test_handshake_is_answered_as_the_rfc_says(server: WebSocketServer) -> None:
    peer = Peer(server.port, "/echo")
    assert peer.answer.startswith("HTTP/1.1 101 ")
    assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n" in peer.answer
    peer.close()


@pytest.mark.parametrize(
    ("changed", "body", "status"),
    [
        ({"Upgrade": None, "Connection": None}, None, 426),
        ({"Upgrade": "h2c"}, None, 426),
        ({"Connection": "keep-alive"}, None, 426),
        ({"Sec-WebSocket-Version": None}, None, 426),
        ({"Sec-WebSocket-Version": "8"}, None, 426),
        ({"Sec-WebSocket-Key": None}, None, 400),
        ({"Sec-WebSocket-Key": "short"}, None, 400),
        ({"Sec-WebSocket-Key": "é" * 24}, None, 400),
        ({}, b"a body", 400),
        ({}, iter([b"a chunked body"]), 400),
    ],
)
def test_bad_handshake_is_refused_with_a_reason(
    server: WebSocketServer, changed: dict[str, str | None], body: bytes | Iterator[bytes] | None, status: int
) -> None:
    before = server.log()
    headers = {header: value and value.encode() for header, value in {**UPGRADE, **changed}.items()}
    answer = requests.get(server.http("/echo"), headers=headers, data=body, timeout=30)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert (answer.headers.get("Sec-WebSocket-Version") == "13") == (status == 426)
    assert server.log() == before


def test_http_1_0_cannot_upgrade(server: WebSocketServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
        peer.sendall(handshake("/echo", http_version="1.0"))
        assert b" 400 " in peer.makefile("rb").readline()


def test_other_methods_are_not_allowed(server: WebSocketServer) -> None:
    assert requests.post(server.http("/echo"), timeout=30).status_code == 405


def test_connection_goes_on_as_http_after_a_refused_handshake(server: WebSocketServer) -> None:
    with requests.Session() as session:
        for _ in range(2):
            assert session.get(server.http("/echo"), timeout=30).status_code == 426
        assert session.get(server.http("/said"), timeout=30).ok


def test_an_unauthorised_client_is_answered_before_the_upgrade(server: WebSocketServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(server.url("/guarded/red"))
    assert refused.value.response.status_code == 403


def test_the_result_of_authorise_reaches_the_handler(server: WebSocketServer) -> None:
    with connect(server.url("/guarded/red"), additional_headers={"X-Pass": "red"}) as peer:
        assert peer.recv() == "guest of red at red"
