"""The model of a terminal's screen: pyte's Screen with an alternate screen, a budget, and fast common operations."""

import re
from collections import defaultdict
from copy import copy
from typing import Any
from unicodedata import combining

from pyte import Screen
from pyte.modes import DECAWM, DECCOLM, DECOM, DECSCNM, DECTCEM, IRM
from pyte.screens import Char, StaticDefaultDict, wcwidth

from netstacks.terminal.screen_budget import Budget

RENDITION = re.compile(r"\x1b\[([0-9;]*)m")
# Characters of one cell that do not combine: ASCII, European letters, lines and blocks.
_NARROW = re.compile(r"[ -~\xa1-\xac\xae-\u02ff\u2500-\u259f]*+")
_ALTERNATE = {47, 1047, 1049}
# The cost of pyte's own loops, in cells of the budget: per cell moved or changed, row moved, character drawn singly,
# and parameter of a graphic rendition.
_CELL, _ROW, _CHARACTER, _PARAMETER = 4, 3, 60, 8

# Cells by row and column, and the cursor: pyte's own.
Picture = tuple[Any, Any]


class Model(Screen):
    """A pyte Screen; `main_screen` is the main one while a program uses the alternate screen, which pyte lacks.

    Every costly operation is charged to the budget first, and raises OverBudget. Common output is processed by the row,
    where pyte works by the cell; the result is the same.
    """

    def __init__(self, columns: int, lines: int, budget: Budget | None = None) -> None:
        self.charge = (budget or Budget()).charge
        self._pens: dict[Char, _Pen] = {}
        self._rendered: dict[tuple[Char, bool, str], Char] = {}
        self._aligned = _Changed(data="E")
        self._reversed = {is_on: _Changed(reverse=is_on) for is_on in (True, False)}
        super().__init__(columns, lines)

    def close(self) -> None:
        """Frees the cells with the last reference to the screen: until then, each buffer holds the screen."""
        for buffer in (self.buffer, *(self.main_screen or ())[:1]):
            buffer.default_factory = None

    def reset(self) -> None:
        self.charge(self.lines + self.columns)
        super().reset()
        self.main_screen: Picture | None = None

    # Modes.

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        self._switch(modes, is_on=True, is_private=bool(kwargs.get("private")))

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        self._switch(modes, is_on=False, is_private=bool(kwargs.get("private")))

    def _switch(self, modes: tuple[int, ...], *, is_on: bool, is_private: bool) -> None:
        # pyte's numbers of private modes.
        numbers = [mode << 5 for mode in modes] if is_private else list(modes)
        if is_on:
            self.mode.update(numbers)
        else:
            self.mode.difference_update(numbers)
        if DECCOLM in numbers:
            self._set_wide(is_on)
        if DECOM in numbers:
            self.cursor_position()
        if DECSCNM in numbers:
            self._reverse(is_on)
        if DECTCEM in numbers:
            self.cursor.hidden = not is_on
        if is_private and _ALTERNATE.intersection(modes):
            self._switch_screen(is_on)

    def _set_wide(self, is_on: bool) -> None:
        """Screens of 132 columns."""
        if is_on:
            self.saved_columns = self.columns
            self.resize(columns=132)
        elif self.columns == 132 and self.saved_columns is not None:
            self.resize(columns=self.saved_columns)
            self.saved_columns = None
        self.erase_in_display(2)
        self.cursor_position()

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        self.charge(len(self.buffer) * max(0, self.columns - (columns or self.columns)))
        super().resize(lines, columns)

    def _reverse(self, is_on: bool) -> None:
        changed = self._reversed[is_on]
        for row in self.buffer.values():
            self.charge(_CELL * len(row))
            row.default = self.default_char
            row.update([(column, changed[cell]) for column, cell in row.items()])
        self.select_graphic_rendition(7 if is_on else 27)

    def _switch_screen(self, is_on: bool) -> None:
        if is_on and self.main_screen is None:
            self.main_screen = self.buffer, copy(self.cursor)
            self.buffer = defaultdict(lambda: StaticDefaultDict(self.default_char))
        elif not is_on and self.main_screen is not None:
            (self.buffer, self.cursor), self.main_screen = self.main_screen, None
            self.cursor.hidden = DECTCEM not in self.mode

    # Characters.

    def draw(self, data: str) -> None:
        if IRM in self.mode or DECAWM not in self.mode:
            self._draw_each(data)
            return
        cursor, columns = self.cursor, self.columns
        if cursor.x + len(data) <= columns and data.isascii() and data.isprintable():
            self._put(data)
            return
        narrow, drawn = length(_NARROW, data), 0
        # A tab stop may lie behind the last column: pyte handles that.
        while drawn < narrow and cursor.x <= columns:
            if cursor.x == columns:
                self.carriage_return()
                self.linefeed()
            end = min(narrow, drawn + columns - cursor.x)
            self._put(data[drawn:end])
            drawn = end
        if drawn < len(data):
            self._draw_each(data[drawn:])

    def _put(self, characters: str) -> None:
        """Draws characters of one cell; they must fit into the row."""
        self.charge(len(characters))
        cursor = self.cursor
        if (pen := self._pens.get(cursor.attrs)) is None:
            pen = self._pens[cursor.attrs] = _Pen(cursor.attrs)
        end = cursor.x + len(characters)
        self.buffer[cursor.y].update(zip(range(cursor.x, end), map(pen.__getitem__, characters), strict=True))
        cursor.x = end

    def _draw_each(self, characters: str) -> None:
        for character in characters:
            width = wcwidth(character)
            self.charge(_CHARACTER if width else _CHARACTER + self._combined())
            super().draw(character)
            if width < 0 or (width == 0 and not combining(character)):
                # pyte stops drawing there.
                return

    def _combined(self) -> int:
        """How many characters are combined in the cell before the cursor: adding one costs as many steps."""
        x, y = self.cursor.x, self.cursor.y
        if x:
            return len(self.buffer[y][x - 1].data)
        return len(self.buffer[y - 1][self.columns - 1].data) if y else 0

    def alignment_display(self) -> None:
        aligned = self._aligned
        for y in range(self.lines):
            self.charge(_CELL * self.columns)
            row = self.buffer[y]
            row.update([(x, aligned[row[x]]) for x in range(self.columns)])

    # Erasing, inserting, deleting.

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        self.charge(self.columns)
        if how == 0:
            self.buffer[self.cursor.y].update(dict.fromkeys(range(self.cursor.x, self.columns), self.cursor.attrs))
        else:
            super().erase_in_line(how, private)

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        below, above, all_rows = range(self.cursor.y + 1, self.lines), range(self.cursor.y), range(self.lines)
        for y in (below, above, all_rows, all_rows)[how]:
            row = self.buffer[y]
            self.charge(len(row) + _ROW)
            row.update(dict.fromkeys(row, self.cursor.attrs))
        if how in (0, 1):
            self.erase_in_line(how)

    def erase_characters(self, count: int | None = None) -> None:
        self.charge(max(0, min(count or 1, self.columns - self.cursor.x)))
        super().erase_characters(count)

    def insert_characters(self, count: int | None = None) -> None:
        self.charge(_CELL * max(0, self.columns - self.cursor.x))
        super().insert_characters(count)

    def delete_characters(self, count: int | None = None) -> None:
        self.charge(_CELL * max(0, self.columns - self.cursor.x))
        # pyte creates a blank for each cell.
        count, blank, row = count or 1, self.default_char, self.buffer[self.cursor.y]
        for x in range(self.cursor.x, self.columns):
            if x + count <= self.columns:
                row[x] = row.pop(x + count, blank)
            else:
                row.pop(x, None)

    # Rows.

    def index(self) -> None:
        self._charge_scrolling(at_top=False)
        super().index()

    def reverse_index(self) -> None:
        self._charge_scrolling(at_top=True)
        super().reverse_index()

    def _charge_scrolling(self, *, at_top: bool) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == (top if at_top else bottom):
            self.charge(_ROW * self.lines)

    def insert_lines(self, count: int | None = None) -> None:
        self.charge(_ROW * self.lines)
        super().insert_lines(count)

    def delete_lines(self, count: int | None = None) -> None:
        self.charge(_ROW * self.lines)
        super().delete_lines(count)

    # The cursor.

    def tab(self) -> None:
        self.charge(len(self.tabstops))
        super().tab()

    def cursor_position(self, line: int | None = None, column: int | None = None) -> None:
        if DECOM in self.mode:
            super().cursor_position(line, column)
        else:
            self.cursor.y = min((line or 1), self.lines) - 1
            self.cursor.x = min((column or 1), self.columns) - 1

    def render(self, sequences: str) -> None:
        """Selects the graphic renditions in `sequences`; cached, because a device repeats a few of them."""
        key = self.cursor.attrs, DECSCNM in self.mode, sequences
        if (attrs := self._rendered.get(key)) is None:
            self.charge(_PARAMETER * len(sequences))
            for parameters in RENDITION.findall(sequences):
                self.select_graphic_rendition(*numbers(parameters))
            attrs = self._rendered[key] = self.cursor.attrs
        self.cursor.attrs = attrs


class _Pen(dict[str, Char]):
    """A cache of cells with the same attributes, by character."""

    def __init__(self, attrs: Char) -> None:
        super().__init__()
        self._attrs = attrs

    def __missing__(self, character: str) -> Char:
        cell = self[character] = self._attrs._replace(data=character)
        return cell


class _Changed(dict[Char, Char]):
    """A cache of cells with certain members replaced, by the original cell."""

    def __init__(self, **members: Any) -> None:
        super().__init__()
        self._members = members

    def __missing__(self, cell: Char) -> Char:
        changed = self[cell] = cell._replace(**self._members)
        return changed


def length(pattern: re.Pattern[str], text: str, position: int = 0) -> int:
    """The length of the pattern's match at `position`; 0 without one."""
    match = pattern.match(text, position)
    return match.end() - position if match else 0


def numbers(parameters: str) -> list[int]:
    """The parameters as pyte parses them."""
    return [min(int(number or 0), 9999) for number in parameters.split(";")]
