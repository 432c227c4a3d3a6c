"""Untrusted text for a terminal: without control characters, and measured in cells."""

import re
from collections.abc import Iterable, Sequence

from wcwidth import wcwidth

_SPACE = re.compile(r"\r\n|[\t\r\n\u2028\u2029]")
# Control characters (C0 and C1), and characters that change the direction of the text around them.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_GAP = "  "


def plain(text: str) -> str:
    """The text on one line, without control characters."""
    return _CONTROLS.sub("", _SPACE.sub(" ", text))


def cells(text: str) -> int:
    """The width of the text in cells of a terminal."""
    return sum(max(0, wcwidth(character)) for character in text)


def cut(text: str, width: int) -> str:
    """The longest prefix of the text that fits into `width` cells."""
    used = 0
    for index, character in enumerate(text):
        used += max(0, wcwidth(character))
        if used > width:
            return text[:index]
    return text


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, widest: int = 40) -> list[str]:
    """Aligned columns, each as wide as its widest text; a text of more than `widest` cells is cut."""
    lines = [[_shortened(plain(text), widest) for text in row] for row in (headings, *rows)]
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    return [
        _GAP.join(text + " " * (width - cells(text)) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _shortened(text: str, width: int) -> str:
    return text if cells(text) <= width else cut(text, width - 1) + "…"
