"""A client that leaves while its screen is computed ends that work, on every kind of connection."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.server import ServerProtocol

from netstacks import greenlets
from netstacks.errors import ConnectionClosed, Forbidden
from netstacks.store.audit import Actor
from netstacks.terminal import resume
from netstacks.terminal.resume import Resume
from netstacks.web.viewers.viewing import NOW, viewing
from netstacks.web.ws.control_request import ControlRequest
from netstacks.web.ws.terminal_client import TerminalClient
from netstacks.web.ws.websocket import WebSocket
from tests.terminal.test_session import Room
from tests.waits import until
from tests.web.test_viewer_connection import World, Ws

AT_THE_BEGINNING = Resume(1, 0, tail=False)


class LongRedraw:
    """A redraw that goes on for as long as it is wanted."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def __call__(self, session_id: UUID, output: bytes, cols: int, rows: int, is_wanted: Callable[[], bool]) -> bytes:
        self.begun += 1
        while is_wanted():
            greenlets.sleep(0.001)
        self.ended += 1
        raise ConnectionClosed(None, "")


@pytest.fixture
def redraw(monkeypatch: pytest.MonkeyPatch) -> LongRedraw:
    redraw = LongRedraw()
    monkeypatch.setattr(resume, "redraw", redraw)
    return redraw


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.ws.leaves()
    world.served.join(30)


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_viewer_here(world: World, room: Room, redraw: LongRedraw) -> None:
    ws = world.serve()
    world.leads_to(room.session)
    until(lambda: redraw.begun)
    ws.leaves()
    until(lambda: redraw.ended)
    assert room.session.attachments == []


def test_a_viewer_that_another_instance_has_brought(world: World, room: Room, redraw: LongRedraw) -> None:
    ws = world.serve_at_owner(room.session)
    until(lambda: redraw.begun)
    ws.hung_up = True
    until(lambda: redraw.ended)
    assert room.session.attachments == []


def test_a_viewer_without_a_place_costs_nothing(room: Room, redraw: LongRedraw) -> None:
    call = World().call()
    other = replace(call, viewer_id=uuid4())
    with viewing(Ws(), call, room.session, AT_THE_BEGINNING, speaks_offsets=True):
        refused = viewing(Ws(), other, room.session, NOW, speaks_offsets=True)
        with pytest.raises(Forbidden, match="viewer limit"), refused:
            pass
    assert redraw.begun == 0


class OwnWs(Ws):
    close_code = 1001


def test_a_users_own_terminal(room: Room, redraw: LongRedraw) -> None:
    ws: Any = OwnWs()
    call = ControlRequest(
        Actor("anna", uuid4()), (80, 24), NOW, lambda: room.session, lambda connect_request: room.session
    )
    served = greenlets.spawn("served", TerminalClient(ws, call).run)
    until(lambda: redraw.begun)
    ws.leaves()
    until(lambda: redraw.ended)
    served.join()
    assert room.session.attachments == []


def test_a_hang_up_is_seen_before_what_was_sent_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as sock:
            ws = WebSocket(sock, ServerProtocol())
            assert not ws.has_hung_up()
            peer.sendall(b"not read")
            peer.close()
            until(ws.has_hung_up)
