"""What a redraw paints is what the terminal showed."""

import os
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyte import ByteStream, Screen
from wcwidth import wcwidth

from netstacks.terminal.screen import TAIL_BYTES, redraw

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
    b"\xff\xfe",
]


def shown(output: bytes) -> Screen:
    screen = Screen(COLS, ROWS)
    ByteStream(screen).feed(output)
    return screen


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_a_redraw_shows_the_same_screen(pieces: list[bytes]) -> None:
    output = b"".join(pieces)
    before, after = shown(output), shown(redraw(output, COLS, ROWS))
    for row, col in product(range(ROWS), range(COLS)):
        old, new = before.buffer[row][col], after.buffer[row][col]
        # A space may have lost its look, half of an overwritten wide character is a space.
        assert new == old or new.data == " ", (row, col)
        assert new.data == old.data or wcwidth(old.data[:1]) in (0, 2), (row, col)
    assert (after.cursor.y, after.cursor.x) == (before.cursor.y, min(before.cursor.x, COLS - 1))
    assert after.cursor.hidden == before.cursor.hidden


@given(st.binary(max_size=300))
def test_nothing_that_a_device_sends_makes_it_fail(output: bytes) -> None:
    assert redraw(b"\x1b[" + output, COLS, ROWS).startswith(b"\x1b[0m")


@pytest.mark.parametrize("size", [TAIL_BYTES, TAIL_BYTES + 1, 5 * TAIL_BYTES])
def test_of_much_output_only_the_newest_counts(size: int) -> None:
    output = b"%s\r\nlast line" % os.urandom(size).replace(b"\x1b", b"?")
    screen = shown(redraw(output[-size:], COLS, ROWS))
    assert "last line" in "".join(screen.buffer[row][col].data for row, col in product(range(ROWS), range(COLS)))
