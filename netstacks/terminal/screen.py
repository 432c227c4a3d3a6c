"""The screen of a terminal, worked out from the newest part of its output: what a redraw paints."""

import codecs
import re

from netstacks.terminal import frames
from netstacks.terminal.screen_budget import Budget
from netstacks.terminal.screen_model import Model
from netstacks.terminal.screen_painting import paint
from netstacks.terminal.screen_player import Player

# What is read back: several screens of text. More would cost more than it shows.
TAIL_BYTES = 32 * 1024
# A sequence that does not end within so many bytes is taken for text.
_LONGEST_SEQUENCE = 4096

# ECMA-48: an escape sequence, a control sequence or a control string whose end is missing.
_UNFINISHED = re.compile(rb"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[]PX^_][^\x07\x18\x1a\x1b]*\x1b?)\Z")
# Control strings, and control sequences with what pyte does not know: it would take them for others, or for text.
_FOREIGN = re.compile(
    rb"\x1b(?:[PX^_][^\x07\x18\x1a\x1b]*+(?:\x07|\x1b\\)?"
    rb"|\[(?:[<=>][0-?]*+[ -/]*+[@-~]|\?[0-?]*+[@-gi-km-~]|[0-?]*+[ -/]++[@-~]))"
)
# What a terminal answers, or does outside its screen: that has been done once. In turn: requests for attributes,
# cursor, window and parameters (CSI ... c n t x); private forms and those with intermediate characters, but for modes;
# control strings; identification (DECID) and ENQ.
_ASKING = re.compile(
    r"(?:\x1b\[|\x9b)(?:[0-9;:]*+[cntx]|[<=>][0-?]*+[ -/]*+[@-~]|\?[0-?]*+[ -/]*+[@-gi-km-~]|[0-?]*+[ -/]++[@-~])"
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)?"
    r"|\x1bZ|[\x05\x9a]"
)
# ST, which does nothing: without it the two ends of a gap could make a sequence.
_GAP = "\x1b\\"
_EMPTY = "\x1b[0m\x1b[H\x1b[2J"


def complete_prefix(output: bytes) -> int:
    """How much of `output` a terminal can be shown so that what follows is not the rest of a sequence or character."""
    newest = output[-_LONGEST_SEQUENCE:]
    unfinished = _UNFINISHED.search(newest)
    whole = newest[: unfinished.start()] if unfinished else newest
    return len(output) - len(newest) + frames.utf8_cut(whole)


def redraw(output: bytes, cols: int, rows: int, budget: Budget | None = None) -> bytes:
    """Escape sequences that make an empty terminal show what it shows after `output`, and go on in the same way.

    Only the last TAIL_BYTES are looked at. Devices send anything, and OverBudget is all that it raises. To be called in
    a native thread.
    """
    # The row of a session that an earlier version opened may name a larger window.
    screen = Model(min(cols, frames.MAX_COLS), min(rows, frames.MAX_ROWS), budget)
    Player(screen, _text(output[-TAIL_BYTES:])).play()
    return paint(screen).encode()


def as_sent(output: bytes) -> bytes:
    """The newest part of `output` for an empty terminal, as the device sent it, which costs nothing to work out.

    What makes a terminal answer is left out. The terminal is in the right modes afterwards, as after a redraw.
    """
    return (_EMPTY + _ASKING.sub(lambda _: _GAP, _text(output[-TAIL_BYTES:]))).encode()


def _text(output: bytes) -> str:
    """What of `output` means something to pyte; a character whose end is missing is left out."""
    known = _FOREIGN.sub(b"", _from_first_line(output))
    return codecs.getincrementaldecoder("utf-8")("replace").decode(known)


def _from_first_line(output: bytes) -> bytes:
    """Without the rest of a line, or of an escape sequence, whose beginning is not there any more."""
    return output[output.find(b"\n") + 1 :] if len(output) >= TAIL_BYTES else output
