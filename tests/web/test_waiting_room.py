"""The waiting room: how many clients of one user, or of all, it keeps."""

import socket
import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Snapshot
from netstacks.terminal.frames import CloseCode
from netstacks.web.admission.waiting_client import WaitingClient, WaitingRequest
from netstacks.web.admission.waiting_room import WaitingRoom
from netstacks.web.auth.tokens import Subject
from tests.cluster.facts import instance

SUBJECT = Subject(uuid.uuid4(), "ana", "operator", uuid.uuid4())


def room(entered: list[object], *, is_full: bool = False, moved: set[uuid.UUID] | None = None) -> WaitingRoom:
    """Of an instance from which the sessions of the tokens in `moved` were moved away, and that no other one takes."""
    me = instance("me", last_heartbeat_at=1000.0)
    services = SimpleNamespace(
        agent=SimpleNamespace(me=me, snapshot=Snapshot(1000.0, {me.id: me})),
        moves=SimpleNamespace(is_away=lambda token: token in (moved or ()), forget=lambda _: None),
        admission=SimpleNamespace(is_full=lambda _: is_full, enter=lambda client, *_, **__: entered.append(client)),
        settings=SimpleNamespace(ha_stale_instance_ttl_secs=30.0),
    )
    return WaitingRoom(cast(Any, None), cast(Any, services), cast(Any, None))


def client_of(token: uuid.UUID) -> tuple[WaitingClient, socket.socket]:
    """A waiting client, and its end of the connection."""
    near, far = socket.socketpair()
    far.settimeout(5)
    waiting = WaitingClient(
        {},
        near,
        WaitingRequest(SUBJECT, token, {}, 0.0),
        ticket="a ticket",
        on_turn=lambda client, grant: None,
        on_gone=lambda client: None,
        on_room=lambda client: True,
    )
    return waiting, far


def closed_with(far: socket.socket) -> tuple[int, bytes]:
    frame = far.recv(1000)
    return int.from_bytes(frame[2:4], "big"), frame[4:]


@pytest.mark.parametrize("is_full", [True, False])
def test_a_client_whose_session_was_moved_away_is_not_kept_beyond_the_limit(is_full: bool) -> None:
    client, far = client_of(uuid.uuid4())
    entered: list[object] = []
    room(entered, is_full=is_full)._move_away(client)
    assert entered == ([] if is_full else [client])
    if is_full:
        assert closed_with(far) == (CloseCode.RESTARTING, b"too many terminals are being opened")
    far.close()
    client.socket.close()


def test_of_two_connections_to_a_moved_session_the_newer_one_is_kept() -> None:
    token, entered = uuid.uuid4(), list[object]()
    moved = {token}
    waiting_room = room(entered, moved=moved)
    (older, far), (newer, other) = client_of(token), client_of(token)
    first = greenlets.spawn("older", waiting_room._move_away, older)
    greenlets.give_way()
    second = greenlets.spawn("newer", waiting_room._move_away, newer)
    first.join(30)
    assert closed_with(far) == (CloseCode.SUPERSEDED, b"this terminal was opened elsewhere")
    assert not second.ready()
    moved.clear()
    second.join(30)
    assert entered == [newer]
    far.close()
    other.close()
    newer.socket.close()


def test_a_client_of_a_moved_session_is_sent_elsewhere_at_once_when_this_instance_stops() -> None:
    token, entered = uuid.uuid4(), list[object]()
    waiting_room = room(entered, moved={token})
    client, far = client_of(token)
    waiting_room._services.agent.me = instance("me", last_heartbeat_at=1000.0, state="draining")
    waiting_room._move_away(client)
    assert closed_with(far) == (CloseCode.RESTARTING, b"the controller is restarting")
    assert entered == []
    far.close()
