"""The frames of docs/protocol.md, 6.2."""

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.errors import InvalidInput
from netstacks.terminal import frames


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        (b"\x01ls\r", frames.Data(b"ls\r")),
        (b"\x01", frames.Data(b"")),
        (b"\x02\x00\x50\x00\x18", frames.Resize(80, 24)),
        (b"\x03", frames.Ping()),
        (b"\x04", frames.Pong()),
        (b"\x05", frames.Close()),
    ],
)
def test_each_client_frame_is_read(message: bytes, frame: frames.ClientFrame) -> None:
    assert frames.parse(message) == frame


@pytest.mark.parametrize(
    ("cols", "rows", "window"), [(500, 300, (500, 300)), (501, 24, (500, 24)), (80, 1000, (80, 300))]
)
def test_a_window_larger_than_any_screen_is_cut(cols: int, rows: int, window: tuple[int, int]) -> None:
    assert frames.check_window(cols, rows) == window
    assert frames.parse(b"\x02" + cols.to_bytes(2, "big") + rows.to_bytes(2, "big")) == frames.Resize(*window)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"", "type byte"),
        ("text", "binary"),
        (b"\x02\x00\x50", "2 bytes each"),
        (b"\x02\x00\x00\x00\x18", "from 1 to"),
        (b"\x02\xff\xff\x00\x18", "from 1 to"),
        (b"\x06boo", "0x06"),
        (b"\x99", "0x99"),
    ],
)
def test_anything_else_is_refused_with_what_would_be_right(message: bytes | str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        frames.parse(message)


def test_the_frames_a_server_sends_are_those_of_the_contract() -> None:
    token = UUID("00112233-4455-6677-8899-aabbccddeeff")
    assert frames.data(b"x") == b"\x01x"
    assert frames.error("né") == b"\x06n\xc3\xa9"
    assert frames.reconnect(token) == b"\x07" + bytes.fromhex("00112233445566778899aabbccddeeff")
    assert frames.notice(b"x") == b"\x09x"
    info = frames.session_info(session_id="s", epoch=1)
    assert info[0] == 8
    assert json.loads(info[1:]) == {"session_id": "s", "epoch": 1}


@pytest.mark.parametrize(
    ("payload", "whole"),
    [
        (b"", 0),
        (b"abc", 3),
        ("né".encode(), 3),
        ("né".encode()[:2], 1),
        ("a€".encode()[:2], 1),
        ("a€".encode()[:3], 1),
        ("a€".encode(), 4),
        ("a😀".encode()[:4], 1),
        ("a😀".encode(), 5),
        (b"a\x80\x80\x80\x80", 5),
        (b"latin \xe9t\xe9!", 10),
    ],
)
def test_a_character_is_never_split(payload: bytes, whole: int) -> None:
    assert frames.utf8_cut(payload) == whole


@given(st.text(min_size=0, max_size=4).map(lambda text: text.encode() * 9000))
def test_much_data_comes_in_small_frames_cut_between_characters(payload: bytes) -> None:
    cut = frames.data_frames(payload)
    assert b"".join(frame[1:] for frame in cut) == payload
    assert {frame[0] for frame in cut} == {frames.FrameType.DATA}
    for frame in cut:
        assert len(frame) <= frames.FRAME_BYTES + 1
        frame[1:].decode()
