"""The model of a terminal's screen: pyte's, with an alternate screen, and quick at what most output consists of."""

import re
from collections import defaultdict
from copy import copy
from typing import Any

from pyte import Screen
from pyte.modes import DECAWM, DECOM, DECSCNM, DECTCEM, IRM
from pyte.screens import Char, StaticDefaultDict

RENDITION = re.compile(r"\x1b\[([0-9;]*)m")
# Characters of one cell that combine with nothing: ASCII, European letters, lines and blocks.
_NARROW = re.compile(r"[ -~\xa1-\xac\xae-\u02ff\u2500-\u259f]*+")
_ALTERNATE = {47, 1047, 1049}

# Cells by row and column, and the cursor: pyte's own.
Picture = tuple[Any, Any]


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
        self.beneath: Picture | None = None

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
        narrow, drawn = length(_NARROW, data), 0
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
            for parameters in RENDITION.findall(sequences):
                self.select_graphic_rendition(*numbers(parameters))
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


def length(pattern: re.Pattern[str], text: str, position: int = 0) -> int:
    """How much of the text, from `position`, the pattern matches."""
    match = pattern.match(text, position)
    return match.end() - position if match else 0


def numbers(parameters: str) -> list[int]:
    """As pyte reads them."""
    return [min(int(number or 0), 9999) for number in parameters.split(";")]
