"""A client that waits for its turn: its input is kept, and only a close or a lost connection counts as an end."""

import contextlib
import json
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from netstacks.web.admission.waiting_client import WaitingClient, WaitingRequest
from netstacks.web.auth.tokens import Subject

SUBJECT = Subject(uuid.uuid4(), "ana", "operator", uuid.uuid4())


@dataclass
class Line:
    client: WaitingClient
    far: socket.socket
    """The client's own end."""


def line(*, query: dict[str, str] | None = None, token: uuid.UUID | None = None) -> Line:
    near, far = socket.socketpair()
    client = WaitingClient(
        {},
        near,
        WaitingRequest(SUBJECT, token, query or {}, 0.0),
        ticket="a ticket",
        on_turn=lambda client, grant: None,
        on_gone=lambda client: None,
        on_room=lambda client: True,
    )
    far.settimeout(5)
    return Line(client, far)


@pytest.fixture
def waiting() -> Iterator[Line]:
    made = line()
    yield made
    made.far.close()


def frame(opcode: Opcode, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=True)


def test_one_that_says_nothing_is_there(waiting: Line) -> None:
    assert not waiting.client.drop_if_gone()


def test_its_input_is_kept_byte_by_byte(waiting: Line) -> None:
    sent = frame(Opcode.BINARY, b"\x01ls\r") + frame(Opcode.PING, b"x") + frame(Opcode.BINARY, b"\x03")[:3]
    waiting.far.sendall(sent)
    assert not waiting.client.drop_if_gone()
    assert waiting.client.unread == sent


BEFORE = {"nothing": b"", "a key": frame(Opcode.BINARY, b"\x01" + b"x" * 200), "a ping": frame(Opcode.PING, b"")}


# By name: frames are masked at random, and the names of tests must not be.
@pytest.mark.parametrize("before", BEFORE)
def test_a_goodbye_is_noticed_behind_whatever_it_has_sent(waiting: Line, before: str) -> None:
    waiting.far.sendall(BEFORE[before] + frame(Opcode.CLOSE, b"\x03\xe8"))
    assert waiting.client.drop_if_gone()


def test_the_end_of_its_connection_is_noticed(waiting: Line) -> None:
    waiting.far.close()
    assert waiting.client.drop_if_gone()


def test_one_that_floods_is_let_go(waiting: Line) -> None:
    payload = frame(Opcode.BINARY, b"\x01" + b"x" * 4000)
    waiting.far.settimeout(0.05)
    for _ in range(1000):
        with contextlib.suppress(OSError):
            waiting.far.sendall(payload)
        if waiting.client.drop_if_gone():
            break
    assert len(waiting.client.unread) < 128 * 1024
    assert waiting.client.socket.fileno() == -1


def test_one_that_reads_nothing_is_let_go_and_gets_no_half_frame(waiting: Line) -> None:
    while not waiting.client.drop_if_gone():
        waiting.client.send(b"x" * 4000)


@given(
    st.lists(
        st.tuples(st.sampled_from([Opcode.BINARY, Opcode.PING, Opcode.PONG, Opcode.TEXT]), st.integers(0, 300)),
        max_size=6,
    ),
    st.integers(1, 97),
)
def test_nothing_but_a_close_frame_is_taken_for_one(frames: list[tuple[Opcode, int]], piece: int) -> None:
    """However the bytes are cut, and whatever they look like."""
    sent = b"".join(frame(opcode, b"\x88" * min(size, 125 if opcode > 2 else size)) for opcode, size in frames)
    made = line()
    for start in range(0, len(sent), piece):
        made.far.sendall(sent[start : start + piece])
        assert not made.client.drop_if_gone()
    assert made.client.unread == sent
    made.far.sendall(frame(Opcode.CLOSE, b""))
    assert made.client.drop_if_gone()
    made.far.close()


def test_a_page_is_told_its_place_in_a_frame() -> None:
    made = line(query={"offset": "0"})
    made.client.show_place(212, 40.2)
    assert made.far.recv(4096)[2:] == b'\x0b{"place": 212, "wait_secs": 40, "ticket": "a ticket", "why": "queue"}'


def test_a_page_whose_owner_is_overdue_is_told_when_the_session_continues() -> None:
    made = line(query={"offset": "0"}, token=uuid.uuid4())
    made.client.awaits_owner(18.0)
    made.client.show_place(1, 0.0)
    told = json.loads(made.far.recv(4096)[3:])
    assert told["why"] == "owner"
    assert 0 < told["wait_secs"] <= 18
    made.client.awaits_owner(None)
    made.client.show_place(1, 0.0)
    assert json.loads(made.far.recv(4096)[3:]) == {"place": 1, "wait_secs": 0, "ticket": "a ticket", "why": "queue"}


def test_another_client_is_told_in_words_when_it_has_an_empty_screen() -> None:
    made = line()
    made.client.show_place(212, 40.2)
    assert b"place 212, about 45 s" in made.far.recv(4096)
    made.client.begin()
    assert made.far.recv(4096)[2:] == b"\x01\r\x1b[K"


def test_the_screen_of_one_that_comes_back_is_left_alone() -> None:
    made = line(token=uuid.uuid4())
    made.client.show_place(212, 40.2)
    made.client.begin()
    made.client.close(1012, "over")
    assert made.far.recv(4096)[:1] == b"\x88"
