"""Where a client goes on reading when it attaches, and what it is shown of a change of owners."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from netstacks.terminal.dialogue import notice_line
from netstacks.terminal.redraws import redraw
from netstacks.terminal.screen import TAIL_BYTES, complete_prefix
from netstacks.terminal.session import Session

# The former shell may have left the terminal in any state. In turn: the end of any sequence, the main screen (with its
# own cursor, or the present one where it is shown already), no margins, the modes of a terminal just switched on.
CALM = (
    b"\x18\x1b\\\x1b7\x1b[?1049l\x1b7\x1b[r\x1b8\x1b[!p\x1b[4l\x1b[?1;1000;1002;1003;1004;1006;2004l\x1b[?7;25h\x1b[0m"
)
# A longer one is no prompt.
_LONGEST_LINE = 1024
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x1f\x7f]", re.DOTALL)
# Moves the cursor to another line, or clears the screen: what was printed before is not in the cursor's line any more.
_PLACED = re.compile(rb"\x1b(?:\[[0-9;]*[ABEFHdfru]|\[[23]J|[8Mc])")
_OTHER_SCREEN = re.compile(rb"\x1b\[\?(?:1049|1047|47)([hl])")


@dataclass(frozen=True)
class Resume:
    """Where a client that comes back wants to go on; clients that speak of offsets name epoch and offset."""

    epoch: int | None
    offset: int | None
    tail: bool

    @property
    def speaks_offsets(self) -> bool:
        return self.tail or self.offset is not None


@dataclass(frozen=True)
class Start:
    """`cursor` is where it goes on; `before` is shown first, `between` when the cursor is at `between_at`."""

    cursor: int
    before: bytes = b""
    between: bytes = b""
    between_at: int = 0


def start(
    session: Session, resume: Resume, size: tuple[int, int], is_wanted: Callable[[], bool] = lambda: True
) -> Start:
    """Serves a client from the offset it names, or else from the last it acknowledged.

    An offset is valid only with its epoch. Who names an older one has reset its terminal: it gets the screen redrawn,
    a line that says what happened, then the epoch from its start. A client without offsets gets what it had not
    acknowledged, the line, then the epoch. A fresh page gets the screen of now, for its window's `size`.

    `is_wanted` is asked while a screen is worked out. Raises ConnectionClosed when it is not.
    """
    if resume.tail:
        return _screen_of_now(session, size, is_wanted)
    begin = session.first_offset
    if resume.offset is None:
        acked = session.recording.acked_offset
        if session.facts.epoch > 1 and acked <= begin:
            return Start(acked, between=CALM + _line(session), between_at=begin)
        return Start(acked, before=_unfinished_line(session, acked))
    if resume.epoch in (None, 0, session.facts.epoch):
        return Start(min(resume.offset, session.output.end))
    screen = redraw(session.id, _newest(session, begin) + CALM, *size, is_wanted)
    return Start(begin, before=screen + _line(session))


def _screen_of_now(session: Session, size: tuple[int, int], is_wanted: Callable[[], bool]) -> Start:
    newest = _newest(session, session.output.end)
    # What the former shell left unfinished stays so.
    end = max(session.first_offset, session.output.end - len(newest) + complete_prefix(newest))
    newest = newest[: len(newest) - (session.output.end - end)]
    changed_at = len(newest) - (end - session.first_offset)
    if session.facts.epoch > 1 and 0 <= changed_at <= len(newest):
        newest = newest[:changed_at] + CALM + _line(session) + newest[changed_at:]
    return Start(end, before=redraw(session.id, newest, *size, is_wanted))


def _newest(session: Session, end: int) -> bytes:
    """What the log holds before `end`, as far as a redraw looks at it."""
    begin = max(session.output.start, end - TAIL_BYTES)
    return session.output.read(begin, end - begin) if begin < end else b""


def _unfinished_line(session: Session, acked: int) -> bytes:
    """The line that the cursor is in, a prompt most often, as far as the client has had it.

    A client that comes back has written lines of its own below it. A full-screen program has no such line.
    """
    if acked < session.output.start:
        return b""
    seen = _newest(session, acked)
    line = _PLACED.split(seen[seen.rfind(b"\n") + 1 :])[-1]
    is_over = b"\n" in session.output.read(acked, TAIL_BYTES)
    has_text = _SEQUENCE.sub(b"", line).strip()
    if is_over or not has_text or len(line) > _LONGEST_LINE or _is_full_screen(seen):
        return b""
    return b"\r\x1b[K" + line[line.rfind(b"\r") + 1 :]


def _is_full_screen(output: bytes) -> bool:
    """Whether a program has the terminal's other screen: an editor or a pager."""
    switches = _OTHER_SCREEN.findall(output)
    return bool(switches) and switches[-1] == b"h"


def _line(session: Session) -> bytes:
    at = time.strftime("%H:%M:%S", time.gmtime(session.opened_at))
    text = f"the SSH connection was re-established at {at} UTC: this is a new shell on {session.facts.device_name}"
    return notice_line(text)
