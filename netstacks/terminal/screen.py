"""The screen of a terminal, worked out from the newest part of its output: what a redraw paints."""

import structlog
from pyte import ByteStream, Screen
from pyte.screens import Char
from wcwidth import wcwidth

from netstacks import greenlets

log = structlog.get_logger()

# What is read back: several screens of text. More would cost the event loop more than it shows.
TAIL_BYTES = 32 * 1024

_COLOURS = {"black": 0, "red": 1, "green": 2, "brown": 3, "blue": 4, "magenta": 5, "cyan": 6, "white": 7}
_ATTRIBUTES = {"bold": 1, "italics": 3, "underscore": 4, "blink": 5, "reverse": 7, "strikethrough": 9}


def redraw(output: bytes, cols: int, rows: int) -> bytes:
    """Escape sequences that paint on an empty terminal what it shows after `output`, the cursor in its place.

    Only the last TAIL_BYTES are looked at, and never fails: devices send anything.
    """
    return greenlets.in_thread(_redraw, output[-TAIL_BYTES:], cols, rows)


def _redraw(output: bytes, cols: int, rows: int) -> bytes:
    screen = Screen(cols, rows)
    try:
        ByteStream(screen).feed(_from_first_line(output))
    except Exception as error:
        # What was understood up to there is shown.
        log.info("screen.not_understood", error=f"{type(error).__name__}: {error}")
    lines = [_line(_whole([screen.buffer[row][col] for col in range(cols)])) for row in range(rows)]
    while lines and not lines[-1]:
        lines.pop()
    cursor = f"\x1b[{screen.cursor.y + 1};{min(screen.cursor.x, cols - 1) + 1}H"
    visible = "\x1b[?25l" if screen.cursor.hidden else "\x1b[?25h"
    return ("\x1b[0m\x1b[H\x1b[2J" + "\r\n".join(lines) + "\x1b[0m" + cursor + visible).encode()


def _from_first_line(output: bytes) -> bytes:
    """Without the rest of a line, or of an escape sequence, whose beginning is not there any more."""
    return output[output.find(b"\n") + 1 :] if len(output) >= TAIL_BYTES else output


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
            text += f"\x1b[0;{style}m" if style != "0" else "\x1b[0m"
        text += cell.data
    return text if style == "0" else text + "\x1b[0m"


def _style(cell: Char) -> str:
    """The cell's look as the parameters of SGR (ECMA-48, 8.3.117)."""
    parts = [str(code) for name, code in _ATTRIBUTES.items() if getattr(cell, name)]
    parts += _colour(cell.fg, 30) + _colour(cell.bg, 40)
    return ";".join(parts) or "0"


def _colour(name: str, base: int) -> list[str]:
    if name == "default":
        return []
    if name.startswith(("bright", "bfight")):  # pyte misspells one of them.
        return [str(base + 60 + _COLOURS[name[6:]])]
    if name in _COLOURS:
        return [str(base + _COLOURS[name])]
    red, green, blue = (int(name[index : index + 2], 16) for index in (0, 2, 4))
    return [f"{base + 8};2;{red};{green};{blue}"]
