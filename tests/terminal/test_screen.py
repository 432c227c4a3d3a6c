"""What a redraw paints is what the terminal showed."""

import os
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyte import ByteStream
from wcwidth import wcwidth

from netstacks.terminal.screen import TAIL_BYTES, Model, redraw, settled

COLS, ROWS = 20, 6

PIECES = [
    b"R1#show version\r\n",
    "größe 日本語 e\u0301\r\n".encode(),
    b"\x1b[1;31mred\x1b[0m plain ",
    b"\x1b[38;5;208mcube\x1b[48;2;1;2;3mtrue\x1b[m",
    b"\x1b[97;104mbright\x1b[7mreverse\x1b[0m",
    b"\x1b[105mpink",
    b"\x1b[3;5H*",
    b"\x1b[2J\x1b[H",
    b"\x1b[K",
    b"\x1b[?25l",
    b"\x1b[?25h",
    b"\t",
    b"\b",
    b"x" * (COLS + 3),
    b"\n" * 4,
    b"\x1b[5A",
    b"\x1b[2L",
    b"\x1b[2D!",
    b"\x1b[2;5r",
    b"\x1b[?1049h",
    b"\x1b[?1049l",
    b"\x1b]0;a title\x07",
    b"\x1b[?7l",
    b"\x1b[4h",
    b"\x1b[?1h\x1b[?2004h",
    b"\xff\xfe",
]


def shown(output: bytes) -> Model:
    screen = Model(COLS, ROWS)
    ByteStream(screen).feed(output)
    return screen


def assert_same(after: Model, before: Model) -> None:
    for row, col in product(range(ROWS), range(COLS)):
        old, new = before.buffer[row][col], after.buffer[row][col]
        # A space may have lost its look, half of an overwritten wide character is a space.
        assert new == old or new.data == " ", (row, col)
        assert new.data == old.data or wcwidth(old.data[:1]) in (0, 2), (row, col)
    assert (after.cursor.y, after.cursor.x) == (before.cursor.y, before.cursor.x)
    assert (after.cursor.hidden, after.cursor.attrs) == (before.cursor.hidden, before.cursor.attrs)
    assert after.mode == before.mode
    assert (after.margins or (0, ROWS - 1)) == (before.margins or (0, ROWS - 1))


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_a_redraw_shows_the_same_screen(pieces: list[bytes]) -> None:
    output = b"".join(pieces)
    assert_same(shown(redraw(output, COLS, ROWS)), shown(output))


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.data())
def test_the_output_may_be_cut_anywhere(pieces: list[bytes], data: st.DataObject) -> None:
    output = b"".join(pieces)
    cut = settled(output[: data.draw(st.integers(0, len(output)))])
    assert_same(shown(redraw(output[:cut], COLS, ROWS) + output[cut:]), shown(output))


@pytest.mark.parametrize(
    "unfinished",
    [
        b"\x1b",
        b"\x1b[",
        b"\x1b[1;3",
        b"\x1b(",
        b"\x1b]0;title",
        b"\x1b]0;title\x1b",
        b"\x1bPq#",
        b"\xe6\x97",
        b"\x1b[1 ",
    ],
)
def test_a_beginning_waits_for_its_end(unfinished: bytes) -> None:
    assert settled(b"lab> " + unfinished) == 5


@pytest.mark.parametrize(
    "whole", [b"", b"\x1b[1m", b"\x1b(B", b"\x1b]0;t\x07", b"\x1b]0;t\x1b\\", b"\x1b=", "日".encode()]
)
def test_what_is_whole_is_shown(whole: bytes) -> None:
    assert settled(b"lab> " + whole) == 5 + len(whole)


def test_what_lies_beneath_the_alternate_screen_is_kept() -> None:
    editor = redraw(b"lab> vi\r\n\x1b[?1049h\x1b[H\x1b[2J~ a file", COLS, ROWS)
    assert "~ a file" in shown(editor).display[0]
    assert "lab> vi" in shown(editor + b"\x1b[?1049l").display[0]


@given(st.binary(max_size=300))
def test_nothing_that_a_device_sends_makes_it_fail(output: bytes) -> None:
    assert redraw(b"\x1b[" + output, COLS, ROWS).startswith(b"\x1b[0m")


@pytest.mark.parametrize("size", [TAIL_BYTES, TAIL_BYTES + 1, 5 * TAIL_BYTES])
def test_of_much_output_only_the_newest_counts(size: int) -> None:
    output = b"%s\r\nlast line" % os.urandom(size).replace(b"\x1b", b"?")
    screen = shown(redraw(output[-size:], COLS, ROWS))
    assert "last line" in "".join(screen.buffer[row][col].data for row, col in product(range(ROWS), range(COLS)))


def test_sequences_that_the_model_does_not_know_leave_no_trace() -> None:
    screen = shown(redraw(b"\x1b[>4;2m\x1bP+q436f\x1b\\\x1b[!p\x1b[?4m\x1b[0 qlab>", COLS, ROWS))
    assert screen.display[0].rstrip() == "lab>"
    assert not screen.buffer[0][0].underscore


def test_a_sequence_that_makes_no_sense_costs_its_line_alone() -> None:
    assert "next" in shown(redraw(b"\x1b[1;2;3Abroken\r\nnext", COLS, ROWS)).display[1]
