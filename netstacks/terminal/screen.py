"""The screen of a terminal, worked out from the newest part of its output: what a redraw paints."""

import codecs
import re

from netstacks import greenlets
from netstacks.terminal import frames
from netstacks.terminal.screen_model import Model
from netstacks.terminal.screen_painting import paint
from netstacks.terminal.screen_player import Player

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


def _redraw(output: bytes, cols: int, rows: int) -> bytes:
    screen = Model(min(cols, _MOST_COLS), min(rows, _MOST_ROWS))
    Player(screen, _text(output)).play()
    return paint(screen).encode()


def _text(output: bytes) -> str:
    """What of `output` means something to pyte; a character whose end is missing is left out."""
    known = _FOREIGN.sub(b"", _from_first_line(output))
    return codecs.getincrementaldecoder("utf-8")("replace").decode(known)


def _from_first_line(output: bytes) -> bytes:
    """Without the rest of a line, or of an escape sequence, whose beginning is not there any more."""
    return output[output.find(b"\n") + 1 :] if len(output) >= TAIL_BYTES else output
