"""Viewers at the owner of a session: which ones an end of views reaches, and what they may type."""

import uuid
from typing import Literal

import pytest

from netstacks.terminal.frames import CloseCode
from netstacks.terminal.viewer import Viewer, expel, viewers
from tests.terminal.test_session import Client, Room, room, settle
from tests.waits import until

__all__ = ["room"]


def watch(
    room: Room, *, share_id: str = "a share", permission: Literal["read-only", "read-write"] = "read-write"
) -> tuple[Client, Viewer]:
    client = Client()
    viewer = Viewer(
        client,
        viewer_id=uuid.uuid4(),
        share_id=share_id,
        permission=permission,
        user_id=None,
        username="guest",
        login_id=None,
        address=None,
        speaks_offsets=True,
    )
    room.session.attach(viewer, 0)
    return client, viewer


def test_the_viewers_of_one_share_are_not_those_of_another(room: Room) -> None:
    (_, one), (_, another) = watch(room, share_id="one"), watch(room, share_id="another")
    room.attach()
    assert viewers(room.session) == [one, another]
    assert viewers(room.session, share_id="one") == [one]
    assert viewers(room.session, viewer_id=str(another.viewer_id)) == [another]
    assert viewers(room.session, share_id="one", viewer_id=str(another.viewer_id)) == []


def test_an_expelled_viewer_types_nothing_and_is_told_why(room: Room) -> None:
    client, viewer = watch(room)
    expel(room.session, [viewer], "this share was revoked")
    # At once: what it sends before it is closed is not typed.
    viewer.type(b"write erase\r")
    assert room.session.attachments == []
    until(lambda: client.closed)
    assert client.closed == (CloseCode.REFUSED, "this share was revoked")
    settle()
    assert room.device.typed == b""


@pytest.mark.parametrize(("permission", "typed"), [("read-only", b""), ("read-write", b"show ver\r")])
def test_a_viewer_types_with_the_permission_for_it_alone(
    room: Room, permission: Literal["read-only", "read-write"], typed: bytes
) -> None:
    _, viewer = watch(room, permission=permission)
    viewer.type(b"show ver\r")
    settle()
    assert room.device.typed == typed
