"""Redraws of a terminal's screen, computed from the newest part of its output."""

import codecs
import re

from netstacks.terminal import frames
from netstacks.terminal.screen_budget import Budget
from netstacks.terminal.screen_model import Model
from netstacks.terminal.screen_painting import paint
from netstacks.terminal.screen_player import Player

# The part of the output that a redraw uses: several screens of text. More would seldom change the screen.
TAIL_BYTES = 32 * 1024
# A sequence that does not end within this many bytes counts as text.
_MAX_SEQUENCE = 4096

# An incomplete escape sequence, control sequence or control string (ECMA-48).
_UNFINISHED = re.compile(rb"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[]PX^_][^\x07\x18\x1a\x1b]*\x1b?)\Z")
# Control strings, and control sequences that pyte would misread as others, or as text.
_FOREIGN = re.compile(
    rb"\x1b(?:[PX^_][^\x07\x18\x1a\x1b]*+(?:\x07|\x1b\\)?"
    rb"|\[(?:[<=>][0-?]*+[ -/]*+[@-~]|\?[0-?]*+[@-gi-km-~]|[0-?]*+[ -/]++[@-~]))"
)
# Sequences that a terminal answers, or that act outside its screen: a redraw must not repeat them. In turn: requests
# for attributes, cursor, window and parameters (CSI ... c n t x); private forms and those with intermediate
# characters, except modes; control strings; identification (DECID) and ENQ.
_REQUESTS = re.compile(
    r"(?:\x1b\[|\x9b)(?:[0-9;:]*+[cntx]|[<=>][0-?]*+[ -/]*+[@-~]|\?[0-?]*+[ -/]*+[@-gi-km-~]|[0-?]*+[ -/]++[@-~])"
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)?"
    r"|\x1bZ|[\x05\x9a]"
)
# ST, which does nothing: without it the two sides of a gap could form a sequence.
_GAP = "\x1b\\"
_EMPTY = "\x1b[0m\x1b[H\x1b[2J"


def complete_prefix(output: bytes) -> int:
    """The length of the longest prefix of `output` that does not end within a sequence or a character."""
    newest = output[-_MAX_SEQUENCE:]
    unfinished = _UNFINISHED.search(newest)
    whole = newest[: unfinished.start()] if unfinished else newest
    return len(output) - len(newest) + frames.utf8_cut(whole)


def redraw(output: bytes, cols: int, rows: int, budget: Budget | None = None) -> bytes:
    """Escape sequences that give an empty terminal the screen, modes and cursor that `output` leads to.

    Uses the last TAIL_BYTES. Raises OverBudget, and nothing else whatever the device sent. To be called in a native
    thread.
    """
    # The row of a session that an earlier version opened may have a larger window.
    screen = Model(min(cols, frames.MAX_COLS), min(rows, frames.MAX_ROWS), budget)
    player = Player(screen, _text(output[-TAIL_BYTES:]))
    try:
        player.play()
        return paint(screen).encode()
    finally:
        # Else their hundreds of objects, which hold each other, wait for the collector, which stops the event loop.
        player.close()
        screen.close()


def as_sent(output: bytes) -> bytes:
    """The newest part of `output` for an empty terminal, as the device sent it: a substitute that costs nothing.

    Sequences that a terminal answers are left out. The terminal is in the right modes afterwards, as after a redraw.
    """
    return (_EMPTY + _REQUESTS.sub(lambda _: _GAP, _text(output[-TAIL_BYTES:]))).encode()


def _text(output: bytes) -> str:
    """`output` without sequences that pyte misreads, and without an incomplete character at its end."""
    known = _FOREIGN.sub(b"", _from_first_line(output))
    return codecs.getincrementaldecoder("utf-8")("replace").decode(known)


def _from_first_line(output: bytes) -> bytes:
    """Without the rest of a line, or of an escape sequence, whose beginning was cut off."""
    return output[output.find(b"\n") + 1 :] if len(output) >= TAIL_BYTES else output
