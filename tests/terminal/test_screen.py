"""A redraw paints what the terminal showed."""

import contextlib
import gc
import os
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyte import ByteStream
from wcwidth import wcwidth

from netstacks.terminal import screen
from netstacks.terminal.screen import TAIL_BYTES, complete_prefix, redraw
from netstacks.terminal.screen_budget import Budget, OverBudget
from tests.terminal import careful_screen
from tests.terminal.careful_screen import Model

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


# What follows itself so that a screen scrolls: lines of these, of any length, and mostly with their ends.
PLAIN = [
    "interface GigabitEthernet0/1",
    "größe ─│ ",
    "日本語",
    "e\u0301\u0302",
    "\u0301",
    "a\u200db",
    "\x01",
    "\x1b[1;31m",
    "\x1b[0m",
    "\x1b[m",
    "\x1b[38;5;208m",
    "\x1b(B\x1b[m\x1b[39;49m",
    "\x1b[44m\x1b[K",
    "\x1b[1K",
    "\x1b[3C",
    "\x1b[2P",
    "\x1b[4@",
    "\t",
    "\b\b",
    "\r",
    "\v",
    "\x1b[2J",
    "\x1b[?25l",
    "\x1b[?12;25h",
    "\x1b[?7l",
    "\x1b[?7h",
    "\x1b[?1h\x1b=",
    "\x1b]0;R1\x07",
    "--More--\r        \r",
]
LINE_ENDS = ["\r\n", "\r\n", "\r\n", "\n\r", "\n"]
# What a line of a switch that numbers the bottom row begins with.
BOTTOM = f"\x1b[{ROWS};1H\x1b[1;{ROWS}r\x1b[{ROWS};1H"
# What must not be taken for plain.
RARE = [
    "\x1b[2;5r",
    "\x1b[3r",
    f"\x1b[1;{ROWS}r",
    "\x1b[r",
    "\x1b[3;5H",
    f"\x1b[{ROWS};1H",
    "\x1b[2A",
    "\x1b[2B",
    "\x1b[2J",
    "\x1b[J",
    "\x1b[1J",
    "日\b\ba",
    "\x1b[2L",
    "\x1b[2M",
    "\x1bM",
    "\x1bD",
    "\x1b7",
    "\x1b8",
    "\x1bH",
    "\x1bc",
    "\x1b[g",
    "\x1b[4h",
    "\x1b[4l",
    "\x1b[20h",
    "\x1b[?3h",
    "\x1b[?3l",
    "\x1b[?5h",
    "\x1b[?5l",
    "\x1b[?6h",
    "\x1b[?6l",
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[?47h",
    "\x1b[?47l",
    "\x1b#8",
    "\x1b[160h",
    "\x1b[160l",
    "\x1b[96h",
    "\x1b[2K",
    "\x1b[3X",
    "\x1b[9Jlost\r",
    "\x1b[?7l日e\u0301\x01lost\x1b[?7h",
    "\x1b[4h日e\u0301\x01lost\x1b[4l",
    # A tab stop behind the last column; a position that counts from the margin; a reset on a reversed screen.
    "\x1b[?3h\x1b[1;132H\tx",
    "\x1b[2;5r\x1b[?6h\x1b[3;5H",
    "\x1b[mA\x1b[mB\x1b[?5h\x1b[27mC\x1b[mD",
    "\x1b[1;2;3Alost\r",
    "\x1b[5Klost\r",
    "\x1b[1\n;31m",
    "\x1b[3",
    "\x1b",
    "\x1b]0;ti\r\ntle\x07",
    "\x1b]0;without an end",
    "\x1bPq#\x1b\\",
    "\x9b1;31m",
    "\x9d0;title\x07",
    "\x18",
    "\x00\x7f",
    "\x1b[>c",
    "\x1b[38;2;999;1;2m",
    "\x1b[%sm" % ("1" * 120),
]


# More than the screen has rows, some of them longer than a row.
LINES = "".join(
    f"\x1b[{number % 3 or 7};3{number % 8}m{number} word{' word' * (number % 4)}\x1b[{number % 3}K\r\n"
    for number in range(3 * ROWS)
)


def lines(begin: str = "") -> st.SearchStrategy[str]:
    """Enough of them to scroll a screen away."""
    parts = st.lists(st.sampled_from(PLAIN), max_size=4).map("".join)
    line = st.tuples(st.just(begin), parts, st.sampled_from(LINE_ENDS)).map("".join)
    return st.lists(line, min_size=ROWS, max_size=4 * ROWS).map("".join)


def covered() -> st.SearchStrategy[str]:
    """A visit to the alternate screen."""
    parts = st.lists(st.sampled_from([*PLAIN, *RARE[:13]]), max_size=8).map("".join)
    return parts.map(lambda text: f"\x1b[?1049h{text}\x1b[?1049l")


OUTPUT = st.lists(
    st.one_of(lines(), lines(BOTTOM), covered(), st.sampled_from(RARE), st.sampled_from(PLAIN)), max_size=6
).map("".join)


def shown(output: bytes) -> Model:
    model = Model(COLS, ROWS)
    ByteStream(model).feed(output)
    return model


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
    cut = complete_prefix(output[: data.draw(st.integers(0, len(output)))])
    assert_same(shown(redraw(output[:cut], COLS, ROWS) + output[cut:]), shown(output))


@pytest.mark.parametrize("size", [(COLS, ROWS), (140, ROWS), (COLS, 1)])
@pytest.mark.parametrize("probe", ["", f"\x1b[1m\tT\x1b8+{'x' * COLS}\x1b[5;2Hhere\x1b[44m\x1b[J\n\n"])
@pytest.mark.parametrize(
    "context",
    [
        f"%s{LINES}",
        f"{LINES}%s{LINES}",
        f"{LINES}%s\x1b[1;{ROWS}r\x1b[{ROWS};1H{LINES}",
        f"a status line\x1b[3r\x1b[{ROWS};1H{LINES}%s{LINES}",
        f"{LINES}%s" + "few\r\n" * (ROWS + 1),
        f"{LINES}one%stwo\r\nthree",
        LINES.replace("word", "%s"),
        f"{LINES}\x1b[2;3H\x1b[?1049hon%sand on\t\x1b[?1049l$",
        f"%s{LINES}%s",
    ],
    ids=[
        "before lines",
        "between them",
        "before margins that are none",
        "below a margin",
        "before few",
        "after them",
        "in each",
        "on the alternate screen",
        "before and after",
    ],
)
def test_rare_attributes_are_redrawn(context: str, probe: str, size: tuple[int, int]) -> None:
    for rare in RARE:
        output = (context.replace("%s", rare) + probe).encode()
        assert redraw(output, *size) == careful_screen.redraw(output, *size), rare


@given(OUTPUT, st.sampled_from([(COLS, ROWS), (140, ROWS), (3, ROWS), (COLS, 1)]))
@settings(max_examples=300)
def test_a_redraw_is_what_a_careful_one_would_be(output: str, size: tuple[int, int]) -> None:
    assert redraw(output.encode(), *size) == careful_screen.redraw(output.encode(), *size)


@given(OUTPUT.map(str.encode), st.data())
def test_broken_output_is_no_different(output: bytes, data: st.DataObject) -> None:
    broken = bytearray(output)
    for at in data.draw(st.lists(st.integers(0, max(0, len(output) - 1)), max_size=4)):
        broken[at : at + 1] = data.draw(st.binary(max_size=2))
    assert redraw(bytes(broken), COLS, ROWS) == careful_screen.redraw(bytes(broken), COLS, ROWS)


def test_every_character_is_as_wide_as_it_is() -> None:
    for begin in range(0x20, 0x3000, ROWS):
        output = "\r\n".join(f"a{chr(code)}\u0301|" for code in range(begin, begin + ROWS)).encode()
        assert redraw(output, COLS, ROWS) == careful_screen.redraw(output, COLS, ROWS)


@pytest.mark.parametrize(
    "output",
    [
        b"interface GigabitEthernet0/1\r\n no shutdown\r\n!\r\n" * 650,
        b"\x1b[0m\x1b[01;34mbin\x1b[0m  \x1b[01;32mboot.sh\x1b[0m\r\n" * 700,
        b"\x1b[24;1H\x1b[1;24r\x1b[24;1H\r\ninterface 1\x1b[24;1H\x1b[?25h" * 600,
        b"lab$ vi\r\n\x1b[?1049h" + b"\x1b[3;1H\x1b[33mreturn\x1b[m value\x1b[K" * 900 + b"\x1b[?1049l",
    ],
    ids=["lines", "colours", "a switch that numbers the bottom row", "an editor that was left"],
)
def test_output_that_has_left_the_screen_is_not_drawn(output: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    class Counting(screen.Model):
        def draw(self, data: str) -> None:
            nonlocal drawn
            drawn += len(data)
            super().draw(data)

    monkeypatch.setattr(screen, "Model", Counting)
    assert redraw(output, 80, 24) == careful_screen.redraw(output, 80, 24)
    assert drawn < 3 * 24 * 80 / 2


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
    assert complete_prefix(b"lab> " + unfinished) == 5


@pytest.mark.parametrize(
    "whole", [b"", b"\x1b[1m", b"\x1b(B", b"\x1b]0;t\x07", b"\x1b]0;t\x1b\\", b"\x1b=", "日".encode()]
)
def test_complete_output_is_shown(whole: bytes) -> None:
    assert complete_prefix(b"lab> " + whole) == 5 + len(whole)


def test_the_main_screen_is_kept_beneath_the_alternate_one() -> None:
    editor = redraw(b"lab> vi\r\n\x1b[?1049h\x1b[H\x1b[2J~ a file", COLS, ROWS)
    assert "~ a file" in shown(editor).display[0]
    assert "lab> vi" in shown(editor + b"\x1b[?1049l").display[0]


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(b"lab> show version\r\n\x1b[1mR1\x1b[0m#", id="lines"),
        pytest.param(b"lab> vi\r\n\x1b[?1049h\x1b[H\x1b[2J~ a file", id="alternate screen"),
        pytest.param(b"lab> \x1b[99999999999H\x1b[1;2;3;4rx\x1b#8\x1b[3", id="malformed"),
    ],
)
@pytest.mark.parametrize("cells", [10**9, 300], ids=["whole", "too costly"])
def test_a_redraw_leaves_nothing_to_the_garbage_collector(output: bytes, cells: int) -> None:
    def act() -> None:
        with contextlib.suppress(OverBudget):
            redraw(output, COLS, ROWS, Budget(cells))

    act()  # Once before, for objects that are made only once.
    gc.collect()
    gc.disable()
    try:
        act()
        assert gc.collect() == 0
    finally:
        gc.enable()


@given(st.binary(max_size=300))
def test_nothing_that_a_device_sends_makes_it_fail(output: bytes) -> None:
    assert redraw(b"\x1b[" + output, COLS, ROWS).startswith(b"\x1b[0m")


@pytest.mark.parametrize("size", [TAIL_BYTES, TAIL_BYTES + 1, 5 * TAIL_BYTES])
def test_only_the_newest_of_much_output_counts(size: int) -> None:
    output = b"%s\r\nlast line" % os.urandom(size).replace(b"\x1b", b"?")
    model = shown(redraw(output[-size:], COLS, ROWS))
    assert "last line" in "".join(model.buffer[row][col].data for row, col in product(range(ROWS), range(COLS)))


def test_sequences_that_the_model_does_not_know_leave_no_trace() -> None:
    model = shown(redraw(b"\x1b[>4;2m\x1bP+q436f\x1b\\\x1b[!p\x1b[?4m\x1b[0 qlab>", COLS, ROWS))
    assert model.display[0].rstrip() == "lab>"
    assert not model.buffer[0][0].underscore


def test_a_sequence_that_makes_no_sense_costs_its_line_alone() -> None:
    assert "next" in shown(redraw(b"\x1b[1;2;3Abroken\r\nnext", COLS, ROWS)).display[1]
