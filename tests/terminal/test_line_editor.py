"""A line as it is edited: what a browser's terminal sends for keys goes in, and a terminal shows what comes out."""

import pyte
import pytest

from netstacks.terminal.line_editor import MAX_LENGTH, LineEditor, Outcome

ENTER, CTRL_C, CTRL_D, CTRL_L, TAB = "\r", "\x03", "\x04", "\x0c", "\t"
UP, DOWN, RIGHT, LEFT, HOME, END, DELETE = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[H", "\x1b[F", "\x1b[3~"
BACKSPACE, CTRL_U, CTRL_W, CTRL_K = "\x7f", "\x15", "\x17", "\x0b"
CTRL_LEFT, CTRL_RIGHT, ALT_B, ALT_F, ALT_BACKSPACE = "\x1b[1;5D", "\x1b[1;5C", "\x1bb", "\x1bf", "\x1b\x7f"


class Typist:
    """A terminal with an editor behind it; every argument of `type` is a frame."""

    def __init__(self, editor: LineEditor) -> None:
        self.editor = editor
        self.screen = pyte.Screen(editor.cols, 24)
        self.stream = pyte.ByteStream(self.screen)
        self.sent = b""
        self.show(editor.start())

    def show(self, data: bytes) -> None:
        self.sent += data
        self.stream.feed(data)

    def type(self, *keys: str | bytes) -> "Typist":
        for key in keys:
            self.show(self.editor.feed(key.encode() if isinstance(key, str) else key))
        return self

    @property
    def rows(self) -> list[str]:
        """What the terminal shows, without the empty rows at its end."""
        shown = "\n".join(row.rstrip() for row in self.screen.display).rstrip("\n")
        return shown.split("\n")

    @property
    def cursor(self) -> tuple[int, int]:
        return self.screen.cursor.x, self.screen.cursor.y


def typist(prompt: str = "> ", **rest: object) -> Typist:
    return Typist(LineEditor(prompt, **rest))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "expected", "cursor"),
    [
        pytest.param(["show"], "show", 4, id="text"),
        pytest.param(["s", "h", "o", "w"], "show", 4, id="key by key"),
        pytest.param(["sow", LEFT, LEFT, "h"], "show", 2, id="left"),
        pytest.param(["sow", "\x1bOD", "\x1bOD", "h"], "show", 2, id="left in application mode"),
        pytest.param(["sho", LEFT, LEFT, RIGHT, RIGHT, RIGHT, "w"], "show", 4, id="right stops at the end"),
        pytest.param(["how", HOME, LEFT, "s"], "show", 1, id="home"),
        pytest.param(["sho", HOME, END, "w"], "show", 4, id="end"),
        pytest.param(["how", "\x01", "s", "\x05", "!"], "show!", 5, id="emacs home and end"),
        pytest.param(["shoow", LEFT, BACKSPACE], "show", 3, id="backspace"),
        pytest.param([BACKSPACE, "s"], "s", 1, id="backspace on nothing"),
        pytest.param(["xshow", HOME, DELETE], "show", 0, id="delete"),
        pytest.param(["xshow", HOME, CTRL_D], "show", 0, id="Ctrl-D deletes"),
        pytest.param(["show", CTRL_U, "a"], "a", 1, id="erase the line"),
        pytest.param(["show ip", CTRL_W], "show ", 5, id="erase a word"),
        pytest.param(["show ip  ", ALT_BACKSPACE], "show ", 5, id="erase a word with Alt"),
        pytest.param(["show ip", HOME, CTRL_RIGHT, CTRL_K], "show", 4, id="erase the rest"),
        pytest.param(["show ip route", CTRL_LEFT, ALT_B, "v"], "show vip route", 6, id="back by words"),
        pytest.param(["show ip", HOME, ALT_F, ALT_F, ALT_F, "!"], "show ip!", 8, id="forth by words"),
        pytest.param(["a\tb"], "a b", 3, id="a tab in a paste"),
        pytest.param(["a", TAB], "a", 1, id="a tab without completion"),
        pytest.param(["a", "\x1b", "b"], "ab", 2, id="Escape"),
        pytest.param(["a\x1b[5~\x1b[15~\x1bx\x1b[1;2Pb"], "ab", 2, id="keys without a meaning"),
        pytest.param(["\x1b[200~show\x1b[201~"], "show", 4, id="bracketed paste"),
        pytest.param(["a\x1b[24;80R\x1b[?1;2cb"], "ab", 2, id="reports of the terminal"),
        pytest.param(["a\x1b]11;rgb:00/00/00\x07\x1bP1$r0m\x1b\\b"], "ab", 2, id="longer reports of the terminal"),
        pytest.param(["a\x00\x07\x1f\x9b31m\x85b"], "a31mb", 5, id="control characters"),
        pytest.param(["ab", "\x1b", CTRL_L, "c"], "abc", 3, id="clear"),
    ],
)
def test_keys_edit_the_line(keys: list[str], expected: str, cursor: int) -> None:
    typed = typist().type(*keys)
    assert typed.editor.text == expected
    assert (typed.rows, typed.cursor) == ([f"> {expected}".rstrip()], (2 + cursor, 0))


@pytest.mark.parametrize("text", ["größe", "東京-スイッチ", "e\u0301clair", "🚀 r1", "שלום"])
def test_a_character_may_come_in_pieces(text: str) -> None:
    typed = typist().type(*(bytes([byte]) for byte in text.encode()))
    assert typed.editor.text == text
    assert text in typed.sent.decode()


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert typist().type(b"a\xff\xfeb").editor.text == "a\ufffd\ufffdb"


def test_wide_and_combining_characters_are_edited_as_a_whole() -> None:
    typed = typist().type("東京a", LEFT, LEFT, BACKSPACE)
    assert (typed.editor.text, typed.cursor) == ("京a", (2, 0))
    assert typed.rows == ["> 京a"]
    assert typist().type("ne\u0301e", LEFT, BACKSPACE).editor.text == "ne"
    assert typist().type("ne\u0301e", HOME, RIGHT, DELETE).editor.text == "ne"


def test_enter_ends_the_line_and_leaves_the_rest() -> None:
    typed = typist().type("first\rsecond\nthird \xc3".encode("latin-1"))
    assert (typed.editor.outcome, typed.editor.text) == (Outcome.ENTERED, "first")
    assert typed.editor.unread == b"second\nthird \xc3"
    assert typed.rows == ["> first"]
    assert typed.cursor == (0, 1)


def test_the_rest_of_a_paste_keeps_a_key_that_is_not_whole() -> None:
    assert typist().type("a\rb\x1b[").editor.unread == b"b\x1b["


def test_a_key_that_never_ends_is_dropped() -> None:
    typed = typist().type("\x1b[" + "1;" * 500, "abc")
    assert typed.editor.text == "abc"


@pytest.mark.parametrize(
    ("keys", "outcome", "text"),
    [
        ([CTRL_C], Outcome.CANCELLED, ""),
        (["show", LEFT, CTRL_C], Outcome.CANCELLED, "show"),
        ([CTRL_D], Outcome.CLOSED, ""),
        (["show", CTRL_D], None, "show"),
    ],
)
def test_other_ends_of_a_line(keys: list[str], outcome: Outcome | None, text: str) -> None:
    editor = typist().type(*keys).editor
    assert (editor.outcome, editor.text) == (outcome, text)


def test_nothing_of_a_hidden_line_is_shown() -> None:
    typed = typist("Password: ", echo=False).type("se", "cret", LEFT, "x", BACKSPACE, CTRL_L, "!", ENTER)
    assert typed.editor.text == "secre!t"
    assert typed.rows == ["Password:"]
    for piece in (b"se", b"cret", b"!"):
        assert piece not in typed.sent


def test_history_is_gone_through_and_the_draft_comes_back() -> None:
    typed = typist(history=["first", "second"]).type("dr", UP)
    assert typed.rows == ["> second"]
    assert typed.type(UP, UP).rows == ["> first"]
    assert typed.type(DOWN, DOWN, DOWN).rows == ["> dr"]
    assert typed.type("aft").editor.text == "draft"


def test_a_long_line_stays_in_its_row_and_scrolls() -> None:
    text = "".join(f"{number:04}" for number in range(100))
    typed = typist(cols=40).type(text)
    assert typed.editor.text == text
    assert len(typed.rows) == 1
    assert typed.rows[0].startswith("> ")
    assert typed.rows[0].endswith("0099")
    typed.type(HOME)
    assert typed.rows[0].startswith("> 000000010002")
    assert (len(typed.rows), typed.cursor) == (1, (2, 0))
    typed.type("x", END, BACKSPACE)
    assert typed.editor.text == f"x{text[:-1]}"
    assert typed.rows[0].endswith("0098009")
    typed.type(ENTER)
    assert typed.cursor == (0, 1)


def test_a_long_line_of_wide_characters_stays_in_its_row() -> None:
    typed = typist(cols=40).type(*("東京" * 30))
    assert len(typed.rows) == 1
    typed.type(*[LEFT] * 50)
    assert len(typed.rows) == 1
    assert typed.cursor[1] == 0


def test_a_line_has_an_end() -> None:
    typed = typist().type("x" * MAX_LENGTH, "y" * 10)
    assert typed.editor.text == "x" * MAX_LENGTH
    assert b"\a" in typed.sent


def test_a_frame_of_many_keys_draws_the_line_once() -> None:
    typed = typist().type("x" * 1000)
    before = len(typed.sent)
    typed.type(LEFT * 500 + BACKSPACE * 500)
    assert len(typed.sent) - before < 200


def test_the_line_is_drawn_anew_for_another_width() -> None:
    typed = typist(cols=80).type("a line of some length that needs more than thirty cells")
    typed.screen.resize(24, 30)
    typed.show(typed.editor.resize(30))
    assert len(typed.rows[0]) < 30
    assert typed.rows[0].endswith("cells")


def test_a_prompt_of_several_lines_and_of_a_long_one() -> None:
    typed = typist("Enter the code\r\nfrom your phone: ").type("12", LEFT, "3")
    assert typed.rows == ["Enter the code", "from your phone: 132"]
    typed = typist("p" * 100 + ": ").type("ab", LEFT, "c")
    assert typed.rows == ["p" * 80, "p" * 20 + ": acb"]


def test_completion_extends_the_line_before_the_cursor() -> None:
    typed = typist(complete=lambda before: (before.upper() + " ", ())).type("ab cd", LEFT, LEFT, TAB)
    assert typed.editor.text == "AB  cd"
    assert typed.cursor == (6, 0)


def test_candidates_are_listed_below_and_the_line_goes_on() -> None:
    typed = typist(complete=lambda before: (before, ["r1", "r2"])).type("r", TAB)
    assert typed.rows == ["> r", "r1  r2", "> r"]
    assert typed.type("2").rows[-1] == "> r2"


def test_a_paste_asks_for_no_completion() -> None:
    asked: list[str] = []

    def complete(before: str) -> tuple[str, list[str]]:
        asked.append(before)
        return before, []

    typist(complete=complete).type("a\tb\t\t\tc", "d\t")
    assert asked == ["a b   cd"]


HOSTILE = "r1\x1b]0;owned\x07\x1b[2J\x9b31m\r\nreload\x00\u202e"


def test_text_from_elsewhere_does_not_reach_the_terminal_as_orders() -> None:
    completing = typist(complete=lambda before: (HOSTILE, ())).type("r", TAB, "!", LEFT)
    listing = typist(complete=lambda before: (before, [HOSTILE])).type("r", TAB)
    recalled = typist(history=[HOSTILE]).type(UP)
    prompting = typist(f"{HOSTILE}: ").type("a", LEFT)
    for typed in (completing, listing, recalled, prompting):
        shown = typed.sent.decode()
        for order in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\x00", "\u202e"):
            assert order not in shown
        assert "r1]0;owned[2J31m" in shown
    # What is sent to the database is what was chosen.
    assert completing.editor.text == f"{HOSTILE}!"
