"""A viewer's client gets the frames of owners in a form that it knows, and an offset to resume from."""

import uuid
from typing import Any

import pytest

from netstacks.terminal import frames
from netstacks.terminal.frames import FrameType
from netstacks.terminal.resume import Resume
from netstacks.web.viewers import viewer_client
from netstacks.web.viewers.viewer_client import ViewerClient
from tests.terminal.test_session import Client

PLAIN, PAGE = False, True


def info(epoch: int, offset: int, **members: Any) -> bytes:
    return frames.session_info(epoch=epoch, offset=offset, cols=80, rows=24, **members)


def made(speaks_offsets: bool) -> tuple[ViewerClient, Client]:
    ws = Client()
    return ViewerClient(ws, speaks_offsets=speaks_offsets), ws  # type: ignore[arg-type]


def kinds(ws: Client) -> list[int]:
    return [frame[0] for frame in ws.frames]


def test_a_real_client_gets_everything_as_data() -> None:
    client, ws = made(PLAIN)
    client.send(info(1, 0), frames.notice(b"screen "), frames.resize(100, 30), frames.PING, frames.data(b"output"))
    assert kinds(ws) == [FrameType.SESSION_INFO, FrameType.DATA, FrameType.DATA]
    assert ws.payload() == b"screen output"


def test_our_page_gets_what_the_owner_says_but_its_pings() -> None:
    client, ws = made(PAGE)
    said = [info(1, 0), frames.notice(b"screen"), frames.resize(100, 30), frames.data(b"output"), frames.error("no")]
    client.send(*said, frames.PING)
    assert ws.frames == said


@pytest.mark.parametrize("speaks_offsets", [PLAIN, PAGE])
def test_the_place_to_go_on_from_is_what_the_device_has_printed(speaks_offsets: bool) -> None:
    client, _ = made(speaks_offsets)
    assert client.resume == Resume(None, None, tail=True)
    client.send(info(3, 1000), frames.notice(b"not counted"), frames.data(b"12345"))
    client.send(frames.data(b"678"), frames.data(b""))
    assert client.resume == Resume(3, 1008, tail=False)
    # Output that was left out was never sent.
    client.ping((5000).to_bytes(8, "big"))
    client.send(frames.data(b"9"))
    assert client.resume == Resume(3, 5001, tail=False)
    client.send(info(4, 20))
    assert client.resume == Resume(4, 20, tail=False)


def test_at_the_same_epoch_the_screen_stays_as_it_is() -> None:
    for speaks_offsets, expected in (
        (PLAIN, [FrameType.DATA]),
        (PAGE, [FrameType.RESIZE, FrameType.UNOWNED, FrameType.NOTICE]),
    ):
        client, ws = made(speaks_offsets)
        client.send(info(1, 0), frames.data(b"before"))
        client.tell_waiting(uuid.uuid4(), "read-only", uuid.uuid4())
        ws.frames.clear()
        client.send(info(1, 6))
        assert kinds(ws) == expected
        assert b"[the session goes on]" in ws.frames[-1]
        assert (frames.unowned(False) in ws.frames) is speaks_offsets
        client.send(info(1, 6))
        assert b"[the session goes on]" not in b"".join(ws.frames[len(expected) :])


def test_at_a_new_epoch_a_real_client_keeps_the_old_lines_above_its_new_screen() -> None:
    client, ws = made(PLAIN)
    client.send(info(1, 0), frames.data(b"before"))
    ws.frames.clear()
    client.send(info(2, 0, viewer_id="v"), frames.notice(b"screen"))
    assert kinds(ws) == [FrameType.SESSION_INFO, FrameType.DATA, FrameType.DATA]
    scrolled = ws.frames[1][1:]
    assert scrolled.endswith(b"\x1b[999;1H" + b"\r\n" * 24 + b"\x1b[H")
    assert b"\x1b[2J" not in scrolled
    assert b"\x1b[3J" not in scrolled
    assert b"\x1bc" not in scrolled


def test_that_there_is_no_owner_is_told_once_and_once_more_after_the_next_loss() -> None:
    client, ws = made(PLAIN)
    facts = uuid.uuid4(), "read-write", uuid.uuid4()
    for epoch in (1, 2):
        client.send(info(epoch, 0))
        for _ in range(3):
            client.tell_waiting(*facts)
    assert ws.payload().count(b"[the session's instance is gone; waiting for its user to reconnect]") == 2
    assert ws.frames[1].startswith(b"\x01\x18\r\n")


def test_a_viewer_that_joins_while_there_is_no_owner_may_be_shown_it() -> None:
    client, ws = made(PLAIN)
    session_id, viewer_id = uuid.uuid4(), uuid.uuid4()
    client.tell_waiting(session_id, "read-only", viewer_id)
    assert kinds(ws) == [FrameType.SESSION_INFO, FrameType.DATA]
    for text in (str(session_id), str(viewer_id), "read-only", "shared"):
        assert f'"{text}"'.encode() in ws.frames[0]
    assert not client.has_joined
    page, ws = made(PAGE)
    page.tell_waiting(session_id, "read-only", viewer_id)
    assert kinds(ws) == [FrameType.UNOWNED, FrameType.NOTICE]
    assert ws.frames[0] == frames.unowned(True)


def test_a_client_that_takes_bytes_lives_and_a_silent_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_client, "KEEPALIVE_SECS", 0.0)
    client, ws = made(PLAIN)
    assert client.is_dead()
    monkeypatch.setattr(viewer_client, "KEEPALIVE_SECS", 60.0)
    client._heard_at -= 200
    ws.delivered, ws.undelivered = 1000, 500
    assert not client.is_dead()
    client._heard_at -= 200
    # The last of it, the ping itself perhaps, is taken by the host of a frozen client, too.
    ws.delivered, ws.undelivered = 1500, 0
    assert client.is_dead()


def test_a_client_that_is_not_read_lives_while_it_takes_bytes() -> None:
    client, ws = made(PLAIN)
    for delivered in (10, 20):
        client._heard_at -= 200
        ws.delivered = delivered
        assert not client.is_dead(is_read=False)
    client._heard_at -= 200
    assert client.is_dead(is_read=False)


def test_a_client_that_is_behind_is_not_pinged() -> None:
    client, ws = made(PLAIN)
    ws.stops_reading()
    client.keep_alive()
    assert ws.frames == []
    ws.reads_on()
    client.keep_alive()
    assert ws.frames == [frames.PING]
