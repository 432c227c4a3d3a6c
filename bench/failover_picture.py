"""An asciicast as an animated picture: SVG with CSS, which a page may show as an image."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise

import pyte
from pyte.screens import Char

_CELL_W, _LINE_H, _FONT_PX, _MARGIN = 8.4, 18, 14, 14
# What comes within this time is one frame.
_FRAME_SECS = 0.05
_LAST_SECS = 4.0
# The lines of the markers below the screen.
_CONSOLE_LINES = 2
_STATES = {"connected": ("Connected", "#7ee787"), "reconnecting": ("Reconnecting …", "#f2cc60")}
_COLOURS = {
    **{"default": "#e6edf3", "black": "#484f58", "red": "#ff7b72", "green": "#7ee787", "brown": "#f2cc60"},
    **{"blue": "#79c0ff", "magenta": "#d2a8ff", "cyan": "#76e3ea", "white": "#e6edf3"},
}


@dataclass(frozen=True)
class Frame:
    """The picture from `at` on, in seconds: the screen's rows as SVG, its cursor, and what is written around it."""

    at: float
    rows: tuple[str, ...]
    cursor: tuple[int, int]
    state: str
    console: tuple[str, ...]


def svg(cast: str) -> str:
    """The picture of an asciicast v2 whose markers are states ("connected", "reconnecting") and lines of a console."""
    header, *events = (json.loads(line) for line in cast.splitlines())
    frames = list(_frames(events, header["width"], header["height"]))
    width = header["width"] * _CELL_W + 2 * _MARGIN
    height = (header["height"] + _CONSOLE_LINES + 3) * _LINE_H + 2 * _MARGIN
    rows = {
        row: f"r{number}" for number, row in enumerate(sorted({row for each in frames for row in each.rows if row}))
    }
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
            f' height="{height:g}" role="img"><title>{escape(header["title"])}</title>\n',
            f"<style>{_style(frames, height)}</style>\n",
            '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n<defs>',
            *(f'<g id="{name}">{row}</g>\n' for row, name in rows.items()),
            '</defs>\n<g class="film">\n',
            *(_drawn(each, number * height, rows, header["height"]) for number, each in enumerate(frames)),
            "</g>\n</svg>\n",
        ]
    )


def _frames(events: list[tuple[float, str, str]], cols: int, rows: int) -> Iterator[Frame]:
    screen = pyte.Screen(cols, rows)
    stream = pyte.Stream(screen)
    state, console = "connected", [""] * _CONSOLE_LINES
    began_at = events[0][0]
    for (at, kind, text), following in pairwise([*events, (events[-1][0] + 1, "", "")]):
        if kind == "o":
            stream.feed(text)
        elif text in _STATES:
            state = text
        else:
            console = [*console, text][-_CONSOLE_LINES:]
        if following[0] - at >= _FRAME_SECS:
            shown = tuple(_row([screen.buffer[y][x] for x in range(cols)]) for y in range(rows))
            yield Frame(at - began_at, shown, (screen.cursor.x, screen.cursor.y), state, tuple(console))


def _row(cells: list[Char]) -> str:
    """The texts of a row, one for each colour."""
    parts, x = [], 0
    for colour, group in groupby(cells, key=lambda cell: cell.fg):
        text = "".join(cell.data for cell in group)
        if text.strip():
            parts.append(_text(x * _CELL_W, 0, text.rstrip(), _COLOURS.get(colour, "#e6edf3")))
        x += len(text)
    return "".join(parts)


def _text(x: float, y: float, text: str, colour: str) -> str:
    """A text whose cells have the same width in every font."""
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" textLength="{len(text) * _CELL_W:g}"'
        f' xml:space="preserve">{escape(text)}</text>'
    )


def _drawn(frame: Frame, top: float, rows: dict[str, str], height: int) -> str:
    state, colour = _STATES[frame.state]
    x, y = frame.cursor
    parts = [_text(0, _LINE_H, f"● {state}", colour)]
    first = 2.5 * _LINE_H
    parts.append(
        f'<rect x="{x * _CELL_W:g}" y="{first + (y - 0.8) * _LINE_H:g}" width="{_CELL_W}" height="{_LINE_H}"'
        ' fill="#e6edf3" opacity=".5"/>'
    )
    for number, row in enumerate(frame.rows):
        if row:
            parts.append(f'<use href="#{rows[row]}" y="{first + number * _LINE_H:g}"/>')
    parts.append(_text(0, first + (height + 0.2) * _LINE_H, "make cluster", "#8b949e"))
    for number, line in enumerate(frame.console):
        if line:
            parts.append(_text(0, first + (height + 1.2 + number) * _LINE_H, line[:90], "#ffa657"))
    return f'<g transform="translate({_MARGIN} {_MARGIN + top:g})">{"".join(parts)}</g>\n'


def _style(frames: list[Frame], height: float) -> str:
    whole_secs = frames[-1].at + _LAST_SECS
    steps = "".join(
        f"{100 * each.at / whole_secs:.3f}%{{transform:translateY({-number * height:g}px)}}"
        for number, each in enumerate(frames)
    )
    last = f"translateY({-(len(frames) - 1) * height:g}px)"
    return (
        f"text{{font:{_FONT_PX}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}}"
        f"@keyframes film{{{steps}100%{{transform:{last}}}}}"
        f".film{{animation:film {whole_secs:.1f}s step-end infinite}}"
        f"@media (prefers-reduced-motion:reduce){{.film{{animation:none;transform:{last}}}}}"
    )
