"""A redraw in its simplest form, which costs ten times as much: pyte is shown everything, piece by piece.

`netstacks.terminal.screen` promises the same bytes.
"""

import codecs
import contextlib
import re
from collections import defaultdict
from copy import copy
from typing import Any

from pyte import Screen, Stream
from pyte.modes import DECTCEM, IRM
from pyte.screens import Char, StaticDefaultDict
from wcwidth import wcwidth

from netstacks.terminal.screen import TAIL_BYTES

# Control strings, and control sequences with what pyte does not know: it would take them for others, or for text.
_FOREIGN = re.compile(
    rb"\x1b[PX^_][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\)?"
    rb"|\x1b\[[<=>][0-?]*[ -/]*[@-~]|\x1b\[\?[0-?]*[@-gi-km-~]|\x1b\[[0-?]*[ -/]+[@-~]"
)
_PIECES = re.compile(r"(?=[\n\x1b])")
_COLOURS = {"black": 0, "red": 1, "green": 2, "brown": 3, "blue": 4, "magenta": 5, "cyan": 6, "white": 7}
_ATTRIBUTES = {"bold": 1, "italics": 3, "underscore": 4, "blink": 5, "reverse": 7, "strikethrough": 9}
_ALTERNATE = {47, 1047, 1049}
# Cursor keys, wrapping, a visible cursor, the mouse, focus, bracketed paste: what is typed next depends on them.
_MODES = (1, 7, 25, 1000, 1002, 1003, 1004, 1006, 2004)


class Model(Screen):
    """pyte without an alternate screen: `main_screen` is the main one while a program uses the other."""

    def reset(self) -> None:
        super().reset()
        self.main_screen: _Picture | None = None

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        super().set_mode(*modes, **kwargs)
        if kwargs.get("private") and _ALTERNATE.intersection(modes) and self.main_screen is None:
            self.main_screen = self.buffer, copy(self.cursor)
            self.buffer = defaultdict(lambda: StaticDefaultDict(self.default_char))

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        super().reset_mode(*modes, **kwargs)
        if kwargs.get("private") and _ALTERNATE.intersection(modes) and self.main_screen is not None:
            (self.buffer, self.cursor), self.main_screen = self.main_screen, None
            self.cursor.hidden = DECTCEM not in self.mode


# Cells by row and column, and the cursor: pyte's own.
_Picture = tuple[Any, Any]


def redraw(output: bytes, cols: int, rows: int) -> bytes:
    """What `netstacks.terminal.screen.redraw` returns, for windows of an ordinary size."""
    screen = Model(cols, rows)
    stream = Stream(screen)
    known = _FOREIGN.sub(b"", _from_first_line(output[-TAIL_BYTES:]))
    for piece in _PIECES.split(codecs.getincrementaldecoder("utf-8")("replace").decode(known)):
        with contextlib.suppress(Exception):  # pyte trips over sequences with wrong parameters: it goes on behind them.
            stream.feed(piece)
    painted = ""
    if screen.main_screen is not None:
        painted = _cells(screen.main_screen, screen) + _cursor(screen.main_screen, screen) + "\x1b[?1049h"
    picture = screen.buffer, screen.cursor
    return (painted + _cells(picture, screen) + _modes(screen) + _cursor(picture, screen)).encode()


def _from_first_line(output: bytes) -> bytes:
    """Without the rest of a line, or of an escape sequence, whose beginning is not there any more."""
    return output[output.find(b"\n") + 1 :] if len(output) >= TAIL_BYTES else output


def _cells(picture: _Picture, screen: Screen) -> str:
    cells, _ = picture
    lines = [_line(_whole([cells[row][col] for col in range(screen.columns)])) for row in range(screen.lines)]
    while lines and not lines[-1]:
        lines.pop()
    return "\x1b[0m\x1b[H\x1b[2J" + "\r\n".join(lines)


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
    while cells and cells[-1].data == " " and _style(cells[-1]) == "0":
        cells.pop()
    text, style = "", "0"
    for cell in cells:
        if _style(cell) != style:
            style = _style(cell)
            text += f"\x1b[{style}m"
        text += cell.data
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
