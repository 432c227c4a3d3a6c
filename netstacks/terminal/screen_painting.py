"""Painting of a screen model: the escape sequences that make an empty terminal show the same."""

from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from pyte.modes import IRM
from pyte.screens import Char
from wcwidth import wcwidth

from netstacks.terminal.screen_model import Model, Picture

_BLANK = Char(" ")
_attributes = itemgetter(slice(1, None))
_COLOURS = {"black": 0, "red": 1, "green": 2, "brown": 3, "blue": 4, "magenta": 5, "cyan": 6, "white": 7}
_ATTRIBUTES = {"bold": 1, "italics": 3, "underscore": 4, "blink": 5, "reverse": 7, "strikethrough": 9}
# The cost of painting a cell, in cells of the budget; charged twice for a row with characters of any width.
_CELL = 8
# Cursor keys, wrapping, a visible cursor, the mouse, focus, bracketed paste: further input depends on them.
_MODES = (1, 7, 25, 1000, 1002, 1003, 1004, 1006, 2004)


def paint(screen: Model) -> str:
    """The whole screen, a covered main screen too, with modes and cursor. Raises OverBudget."""
    painted = ""
    if screen.main_screen is not None:
        painted = _cells(screen.main_screen, screen) + _cursor(screen.main_screen, screen) + "\x1b[?1049h"
    picture = screen.buffer, screen.cursor
    return painted + _cells(picture, screen) + _modes(screen) + _cursor(picture, screen)


def _cells(picture: Picture, screen: Model) -> str:
    rows, _ = picture
    lines = [_line(_shown(rows[row], screen)) for row in range(screen.lines)]
    while lines and not lines[-1]:
        lines.pop()
    return "\x1b[0m\x1b[H\x1b[2J" + "\r\n".join(lines)


def _shown(row: Any, screen: Model) -> list[Char]:
    """The row's cells without trailing blanks."""
    # Cells that are not in a row show its default, which is blank unless the whole screen is reversed.
    width = min(screen.columns, max(row, default=-1) + 1) if row.default == _BLANK else screen.columns
    screen.charge(_CELL * width)
    cells = [row[col] for col in range(width)]
    # ASCII has no wide characters.
    if not all(cell.data.isascii() and cell.data for cell in cells):
        screen.charge(_CELL * width)
        cells = _whole(cells)
    while cells and cells[-1] == _BLANK:
        cells.pop()
    return cells


def _whole(cells: list[Char]) -> list[Char]:
    """The cells with overwritten halves of wide characters as spaces; a complete one is followed by an empty cell."""
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


def _cursor(picture: Picture, screen: Model) -> str:
    cells, cursor = picture
    row, col = cursor.y, cursor.x
    style = f"\x1b[{_style(cursor.attrs)}m"
    if col < screen.columns:
        return _go_to(row, col) + style
    # After the last column the next character starts a line. To get there, the last character is printed again.
    col = screen.columns - 1
    while col > 0 and not cells[row][col].data:
        col -= 1
    last = cells[row][col]
    return f"{_go_to(row, col)}\x1b[{_style(last)}m{last.data}{style}"


def _go_to(row: int, col: int) -> str:
    return f"\x1b[{row + 1};{col + 1}H"


@lru_cache(maxsize=1024)
def _style(cell: Char) -> str:
    """The cell's rendition as parameters of SGR (ECMA-48, 8.3.117)."""
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
