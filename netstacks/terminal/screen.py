"""The screen of a terminal, worked out from the newest part of its output: what a redraw paints."""

import codecs
import contextlib
import re
from collections import defaultdict
from collections.abc import Callable
from copy import copy
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from pyte import Screen, Stream
from pyte.modes import DECAWM, DECOM, DECSCNM, DECTCEM, IRM
from pyte.screens import Char, StaticDefaultDict
from wcwidth import wcwidth

from netstacks import greenlets
from netstacks.terminal import frames

# What is read back: several screens of text. More would cost more than it shows.
TAIL_BYTES = 32 * 1024
# Larger windows are nobody's, and would cost seconds: their upper left part is painted.
_MOST_COLS, _MOST_ROWS = 500, 200
# A sequence that does not end within so many bytes is taken for text.
_LONGEST_SEQUENCE = 4096

# ECMA-48: an escape sequence, a control sequence or a control string whose end is missing.
_UNFINISHED = re.compile(rb"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[]PX^_][^\x07\x18\x1a\x1b]*\x1b?)\Z")
# Control strings, and control sequences with what pyte does not know: it would take them for others, or for text.
_FOREIGN = re.compile(
    rb"\x1b(?:[PX^_][^\x07\x18\x1a\x1b]*+(?:\x07|\x1b\\)?"
    rb"|\[(?:[<=>][0-?]*+[ -/]*+[@-~]|\?[0-?]*+[@-gi-km-~]|[0-?]*+[ -/]++[@-~]))"
)
# A window's title. One with controls in it is left to pyte's parser, like all that is broken or rare.
_TITLE = r"\][0-9][^\x00-\x1f\x9c]*+(?:\x07|\x1b\\)"
# Graphic renditions (a character set, which UTF-8 makes meaningless, may stand among them), then what pyte draws in one
# go, then one control: each may be missing.
_TOKEN = re.compile(
    r"((?:\x1b(?:\[[0-9;]{0,99}m|\([0-9A-Z]))*+)"
    r"([^\x00\x07-\x0f\x1b\x7f\x9b\x9d]*+)"
    rf"(\r\n|[\x07-\r]|\x1b(?:\[\??[0-9;]{{0,99}}[@-ln-~]|[=>78DEHMc]|{_TITLE})|)"
)
_PIECE = re.compile(r"[^\n\x1b]*+")
_RENDITION = re.compile(r"\x1b\[([0-9;]*)m")
# Private modes, but those that change the columns, the whole screen, the origin, or the screen that is shown.
_MODE = r"(?!0*(?:3|5|6|47|1047|1049)[;hl])[0-9]{1,4}"
_SWITCHED = rf"\?(?:{_MODE};)*{_MODE}[hl]"
# With the cursor on the bottom row, whose number is to be filled in: what gets to another row by line feeds and
# wrapping alone, and copies nothing from row to row. pyte trips over none of it.
_PLAIN = (
    r"(?:[^\x1b\x9b\x9d]++"
    rf"|\x1b(?:\[(?:[0-9;]{{0,99}}m|[0-2]?K|[0-3]?J|[0-9]{{0,4}}[@CDGPX]|{_SWITCHED}"
    r"|%(bottom)s;[0-9]{0,4}H|1;%(bottom)sr(?=\x1b\[%(bottom)s;[0-9]{0,4}H))"
    rf"|\([0-9A-Z]|[=>]|{_TITLE}))*+"
)
# Up to where the alternate screen is left: what changes its cells, the cursor, the margins and the modes above alone.
_COVERED = re.compile(
    rf"(?:[^\x1b\x9b\x9d]++|\x1b(?:\[(?:[0-9;]{{0,99}}[@-fi-km-~]|{_SWITCHED})|\([0-9A-Z]|[=>DEM]|{_TITLE}))*+"
    r"(?=\x1b\[\?(?:47|1047|1049)l)"
)
_COVERING = {"\x1b[?47h", "\x1b[?1047h", "\x1b[?1049h"}
_SWITCH = re.compile(r"\x1b\[(?:\?[0-9;]+[hl]|[0-9;]*r)")
# Characters of one cell that combine with nothing: ASCII, European letters, lines and blocks.
_NARROW = re.compile(r"[ -~\xa1-\xac\xae-\u02ff\u2500-\u259f]*+")
_BLANK = Char(" ")
_attributes = itemgetter(slice(1, None))
_COLOURS = {"black": 0, "red": 1, "green": 2, "brown": 3, "blue": 4, "magenta": 5, "cyan": 6, "white": 7}
_ATTRIBUTES = {"bold": 1, "italics": 3, "underscore": 4, "blink": 5, "reverse": 7, "strikethrough": 9}
_ALTERNATE = {47, 1047, 1049}
# Cursor keys, wrapping, a visible cursor, the mouse, focus, bracketed paste: what is typed next depends on them.
_MODES = (1, 7, 25, 1000, 1002, 1003, 1004, 1006, 2004)

# After a failover everybody's screen is redrawn. Name resolution needs gevent's threads too, and several threads that
# compute in Python end no sooner than one: they only take the interpreter from the loop.
_turn = greenlets.BoundedSemaphore(1)


def settled(output: bytes) -> int:
    """How much of `output` a terminal can be shown so that what follows is not the rest of a sequence or character."""
    newest = output[-_LONGEST_SEQUENCE:]
    unfinished = _UNFINISHED.search(newest)
    whole = newest[: unfinished.start()] if unfinished else newest
    return len(output) - len(newest) + frames.utf8_cut(whole)


def redraw(output: bytes, cols: int, rows: int) -> bytes:
    """Escape sequences that make an empty terminal show what it shows after `output`, and go on in the same way.

    Only the last TAIL_BYTES are looked at, and it never fails: devices send anything.
    """
    with _turn:
        return greenlets.in_thread(_redraw, output[-TAIL_BYTES:], cols, rows)


class Model(Screen):
    """pyte has no alternate screen: `beneath` is the main one while a program has it covered.

    What most output consists of is done by the row, with the same result; pyte does it by the cell.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self._pens: dict[Char, _Pen] = {}
        self._rendered: dict[tuple[Char, bool, str], Char] = {}
        super().__init__(columns, lines)

    def reset(self) -> None:
        super().reset()
        self.beneath: _Picture | None = None

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        super().set_mode(*modes, **kwargs)
        if kwargs.get("private") and _ALTERNATE.intersection(modes) and self.beneath is None:
            self.beneath = self.buffer, copy(self.cursor)
            self.buffer = defaultdict(lambda: StaticDefaultDict(self.default_char))

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        super().reset_mode(*modes, **kwargs)
        if kwargs.get("private") and _ALTERNATE.intersection(modes) and self.beneath is not None:
            (self.buffer, self.cursor), self.beneath = self.beneath, None
            self.cursor.hidden = DECTCEM not in self.mode

    def draw(self, data: str) -> None:
        if IRM in self.mode or DECAWM not in self.mode:
            super().draw(data)
            return
        cursor, columns = self.cursor, self.columns
        if cursor.x + len(data) <= columns and data.isascii() and data.isprintable():
            self._put(data)
            return
        narrow, drawn = _length(_NARROW, data), 0
        # A tab stop may lie behind the last column: pyte deals with that.
        while drawn < narrow and cursor.x <= columns:
            if cursor.x == columns:
                self.carriage_return()
                self.linefeed()
            end = min(narrow, drawn + columns - cursor.x)
            self._put(data[drawn:end])
            drawn = end
        if drawn < len(data):
            super().draw(data[drawn:])

    def _put(self, characters: str) -> None:
        """Draws characters of one cell, for which the row has room."""
        cursor = self.cursor
        if (pen := self._pens.get(cursor.attrs)) is None:
            pen = self._pens[cursor.attrs] = _Pen(cursor.attrs)
        end = cursor.x + len(characters)
        self.buffer[cursor.y].update(zip(range(cursor.x, end), map(pen.__getitem__, characters), strict=True))
        cursor.x = end

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        if how == 0:
            self.buffer[self.cursor.y].update(dict.fromkeys(range(self.cursor.x, self.columns), self.cursor.attrs))
        else:
            super().erase_in_line(how, private)

    def cursor_position(self, line: int | None = None, column: int | None = None) -> None:
        if DECOM in self.mode:
            super().cursor_position(line, column)
        else:
            self.cursor.y = min((line or 1), self.lines) - 1
            self.cursor.x = min((column or 1), self.columns) - 1

    def render(self, sequences: str) -> None:
        """Selects the graphic renditions among `sequences`; a device repeats a few of them again and again."""
        key = self.cursor.attrs, DECSCNM in self.mode, sequences
        if (attrs := self._rendered.get(key)) is None:
            for parameters in _RENDITION.findall(sequences):
                self.select_graphic_rendition(*_numbers(parameters))
            attrs = self._rendered[key] = self.cursor.attrs
        self.cursor.attrs = attrs


class _Pen(dict[str, Char]):
    """The cells that are drawn with certain attributes, by character."""

    def __init__(self, attrs: Char) -> None:
        super().__init__()
        self._attrs = attrs

    def __missing__(self, character: str) -> Char:
        cell = self[character] = self._attrs._replace(data=character)
        return cell


# Cells by row and column, and the cursor: pyte's own.
_Picture = tuple[Any, Any]


class _Parser(Stream):
    """pyte's own, which takes character by character."""

    @property
    def is_at_rest(self) -> bool:
        """Whether it is between sequences."""
        return bool(self._taking_plain_text)


class _Player:
    """Shows `text` on a screen: what is common token by token, what is rare or broken through pyte's parser.

    Both do the same. pyte trips over sequences with wrong parameters: it goes on at the next line or sequence.
    """

    def __init__(self, screen: Model, text: str) -> None:
        self._screen = screen
        self._text = text
        self._parser = _Parser(screen)
        self._actions: dict[str, Callable[[], None]] = {"\r\n": self._next_line}
        self._plain_until = 0

    def play(self) -> None:
        position = 0
        while position < len(self._text):
            if self._parser.is_at_rest:
                position = self._play_tokens(position)
            end = _end_of_piece(self._text, position + 1)
            with contextlib.suppress(Exception):
                self._parser.feed(self._text[position:end])
            position = end

    def _play_tokens(self, position: int) -> int:
        """From `position` up to what is no token."""
        text, screen = self._text, self._screen
        while True:
            token = _TOKEN.match(text, position)
            assert token is not None
            if token.end() == position:
                return position
            position = token.end()
            renditions, drawn, control = token.groups()
            if renditions:
                screen.render(renditions)
            if drawn:
                screen.draw(drawn)
            if control:
                try:
                    (self._actions.get(control) or self._action(control))()
                except Exception:
                    position = _end_of_piece(text, position)
                if control[-1] == "\n":
                    position = self._skip_scrolled(position)
                elif control in _COVERING:
                    position = self._skip_covered(position)

    def _next_line(self) -> None:
        screen = self._screen
        screen.cursor.x = 0
        if screen.margins is None and screen.cursor.y < screen.lines - 1:
            screen.cursor.y += 1
        else:
            screen.index()

    def _action(self, control: str) -> Callable[[], None]:
        """What pyte's parser would call."""
        name = "debug"
        arguments: list[int] = []
        keywords: dict[str, bool] = {}
        if control[0] != "\x1b":
            name = Stream.basic[control]
        elif control[1] != "[":
            name = Stream.escape.get(control[1:], name)
        else:
            name = Stream.csi.get(control[-1], name)
            arguments = _numbers(control[2:-1].lstrip("?"))
            keywords = {"private": True} if control[2] == "?" else {}
        action = self._actions[control] = partial(getattr(self._screen, name), *arguments, **keywords)
        return action

    def _skip_scrolled(self, position: int) -> int:
        """Leaves out what will have scrolled off the screen.

        On the bottom row every line feed scrolls the whole screen by a row, so that of what plain output does to it
        before its last `lines` line feeds nothing remains. It goes on behind a carriage return, where the column is
        known, with the modes, margins and attributes that are in force there.
        """
        screen, text, bottom = self._screen, self._text, self._screen.lines - 1
        if position < self._plain_until or screen.cursor.y != bottom or screen.margins not in (None, (0, bottom)):
            return position
        plain = re.compile(_PLAIN % {"bottom": screen.lines}).match(text, position)
        assert plain is not None
        self._plain_until = cut = plain.end()
        for _ in range(screen.lines):
            cut = text.rfind("\n", position, cut)
            if cut < 0:
                return position
        cut = text.rfind("\r", position, cut) + 1
        if cut == 0:
            return position
        self._switch(position, cut)
        reset = max(text.rfind("\x1b[m", position, cut), text.rfind("\x1b[0m", position, cut), position)
        for rendition in _RENDITION.finditer(text, reset, cut):
            screen.render(rendition[0])
        screen.cursor.x, screen.cursor.y = 0, bottom
        return cut

    def _skip_covered(self, position: int) -> int:
        """Leaves out what was drawn on the alternate screen, if it is left: cells and cursor are as before then."""
        covered = _COVERED.match(self._text, position)
        if covered is None:
            return position
        self._switch(position, covered.end())
        return covered.end()

    def _switch(self, begin: int, end: int) -> None:
        """Sets the modes and margins, as text that is left out does."""
        # They set without regard to what was set: the last of the same is as good as all.
        newest_first = dict.fromkeys(reversed(_SWITCH.findall(self._text, begin, end)))
        for switch in reversed(newest_first):
            with contextlib.suppress(Exception):
                self._action(switch)()


def _redraw(output: bytes, cols: int, rows: int) -> bytes:
    screen = Model(min(cols, _MOST_COLS), min(rows, _MOST_ROWS))
    _Player(screen, _text(output)).play()
    painted = ""
    if screen.beneath is not None:
        painted = _cells(screen.beneath, screen) + _cursor(screen.beneath, screen) + "\x1b[?1049h"
    picture = screen.buffer, screen.cursor
    return (painted + _cells(picture, screen) + _modes(screen) + _cursor(picture, screen)).encode()


def _text(output: bytes) -> str:
    """What of `output` means something to pyte; a character whose end is missing is left out."""
    known = _FOREIGN.sub(b"", _from_first_line(output))
    return codecs.getincrementaldecoder("utf-8")("replace").decode(known)


def _from_first_line(output: bytes) -> bytes:
    """Without the rest of a line, or of an escape sequence, whose beginning is not there any more."""
    return output[output.find(b"\n") + 1 :] if len(output) >= TAIL_BYTES else output


def _length(pattern: re.Pattern[str], text: str, position: int = 0) -> int:
    """How much of the text, from `position`, the pattern matches."""
    match = pattern.match(text, position)
    return match.end() - position if match else 0


def _end_of_piece(text: str, position: int) -> int:
    """Where the next line or sequence begins."""
    return position + _length(_PIECE, text, position)


def _numbers(parameters: str) -> list[int]:
    """As pyte reads them."""
    return [min(int(number or 0), 9999) for number in parameters.split(";")]


def _cells(picture: _Picture, screen: Screen) -> str:
    rows, _ = picture
    lines = [_line(_shown(rows[row], screen.columns)) for row in range(screen.lines)]
    while lines and not lines[-1]:
        lines.pop()
    return "\x1b[0m\x1b[H\x1b[2J" + "\r\n".join(lines)


def _shown(row: Any, columns: int) -> list[Char]:
    """The row's cells, as far as an empty row does not show the same."""
    # What is not in a row is shown as its default, which is blank but while the whole screen is reversed.
    width = min(columns, max(row, default=-1) + 1) if row.default == _BLANK else columns
    cells = [row[col] for col in range(width)]
    # ASCII has no wide characters.
    if not all(cell.data.isascii() and cell.data for cell in cells):
        cells = _whole(cells)
    while cells and cells[-1] == _BLANK:
        cells.pop()
    return cells


def _whole(cells: list[Char]) -> list[Char]:
    """A wide character is followed by an empty cell; half of one that was overwritten is shown as a space."""
    whole: list[Char] = []
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        is_wide = wcwidth(cell.data[:1]) == 2
        is_second_half = cell.data == "" and whole and wcwidth(whole[-1].data[:1]) == 2
        is_half = is_wide and (following is None or following.data != "")
        whole.append(cell._replace(data=" ") if is_half or (cell.data == "" and not is_second_half) else cell)
    return whole


def _line(cells: list[Char]) -> str:
    text, style = "", "0"
    for attrs, group in groupby(cells, _attributes):
        if (new_style := _style(Char(" ", *attrs))) != style:
            style = new_style
            text += f"\x1b[{style}m"
        text += "".join(cell.data for cell in group)
    return text if style == "0" else text + "\x1b[0m"


def _modes(screen: Model) -> str:
    modes = "".join(f"\x1b[?{mode}{'h' if mode << 5 in screen.mode else 'l'}" for mode in _MODES)
    modes += "\x1b[4h" if IRM in screen.mode else ""
    margins = screen.margins
    return modes if margins is None else f"{modes}\x1b[{margins.top + 1};{margins.bottom + 1}r"


def _cursor(picture: _Picture, screen: Screen) -> str:
    cells, cursor = picture
    row, col = cursor.y, cursor.x
    style = f"\x1b[{_style(cursor.attrs)}m"
    if col < screen.columns:
        return _go_to(row, col) + style
    # Behind the last column the next character begins a line: the last is printed again to get there.
    col = screen.columns - 1
    while col > 0 and not cells[row][col].data:
        col -= 1
    last = cells[row][col]
    return f"{_go_to(row, col)}\x1b[{_style(last)}m{last.data}{style}"


def _go_to(row: int, col: int) -> str:
    return f"\x1b[{row + 1};{col + 1}H"


@lru_cache(maxsize=1024)
def _style(cell: Char) -> str:
    """The cell's look as the parameters of SGR (ECMA-48, 8.3.117)."""
    parts = [str(code) for name, code in _ATTRIBUTES.items() if getattr(cell, name)]
    return ";".join(["0", *parts, *_colour(cell.fg, 30), *_colour(cell.bg, 40)])


def _colour(name: str, base: int) -> list[str]:
    if name == "default":
        return []
    if name.startswith(("bright", "bfight")):  # pyte misspells one of them.
        return [str(base + 60 + _COLOURS[name[6:]])]
    if name in _COLOURS:
        return [str(base + _COLOURS[name])]
    red, green, blue = (int(name[index : index + 2], 16) for index in (0, 2, 4))
    return [f"{base + 8};2;{red};{green};{blue}"]
