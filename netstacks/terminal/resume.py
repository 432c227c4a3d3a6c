"""Resume: the offset at which a client continues, and its notice of a change of owners (docs/protocol.md, 6.4)."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from netstacks.terminal.dialogue import notice_line
from netstacks.terminal.redraws import redraw
from netstacks.terminal.screen import TAIL_BYTES, complete_prefix
from netstacks.terminal.session import Session

# A former shell may have left the terminal in any state. In turn: CAN and ST end an open sequence; the main screen,
# with its own cursor or the current one; no margins; DECSTR and the default modes.
SOFT_RESET = (
    b"\x18\x1b\\\x1b7\x1b[?1049l\x1b7\x1b[r\x1b8\x1b[!p\x1b[4l\x1b[?1;1000;1002;1003;1004;1006;2004l\x1b[?7;25h\x1b[0m"
)
# A longer line is not a prompt.
_MAX_LINE = 1024
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x1f\x7f]", re.DOTALL)
# Moves the cursor to another line, or clears the screen: earlier output is not in the cursor's line any more.
_PLACED = re.compile(rb"\x1b(?:\[[0-9;]*[ABEFHdfru]|\[[23]J|[8Mc])")
_OTHER_SCREEN = re.compile(rb"\x1b\[\?(?:1049|1047|47)([hl])")


@dataclass(frozen=True)
class Resume:
    """The position that a reconnecting client names; `tail` is a fresh page. None from clients without offsets."""

    epoch: int | None
    offset: int | None
    tail: bool

    @property
    def speaks_offsets(self) -> bool:
        return self.tail or self.offset is not None


@dataclass(frozen=True)
class Start:
    """The client reads from `cursor`; `before` is shown first, `between` when the cursor reaches `between_at`."""

    cursor: int
    before: bytes = b""
    between: bytes = b""
    between_at: int = 0


def start(
    session: Session, resume: Resume, size: tuple[int, int], is_wanted: Callable[[], bool] = lambda: True
) -> Start:
    """Starts a client at the offset that it names, or at the last offset that it acknowledged.

    An offset is valid only with its epoch. A client that names an older epoch has reset its terminal: it gets the
    screen redrawn, a line about the new shell, then the epoch from its start. A client without offsets gets its
    unacknowledged output, the line, then the epoch. A fresh page gets the current screen, for its window's `size`.

    `is_wanted` is called during a redraw. Raises ConnectionClosed when it returns false.
    """
    if resume.tail:
        return _screen_of_now(session, size, is_wanted)
    begin = session.first_offset
    if resume.offset is None:
        acked = session.recording.acked_offset
        if session.facts.epoch > 1 and acked <= begin:
            return Start(acked, between=SOFT_RESET + _line(session), between_at=begin)
        return Start(acked, before=_unfinished_line(session, acked))
    if resume.epoch in (None, 0, session.facts.epoch):
        return Start(min(resume.offset, session.output.end))
    screen = redraw(session.id, _newest(session, begin) + SOFT_RESET, *size, is_wanted)
    return Start(begin, before=screen + _line(session))


def _screen_of_now(session: Session, size: tuple[int, int], is_wanted: Callable[[], bool]) -> Start:
    newest = _newest(session, session.output.end)
    # An incomplete sequence at the end of a former shell's output stays incomplete.
    end = max(session.first_offset, session.output.end - len(newest) + complete_prefix(newest))
    newest = newest[: len(newest) - (session.output.end - end)]
    changed_at = len(newest) - (end - session.first_offset)
    if session.facts.epoch > 1 and 0 <= changed_at <= len(newest):
        newest = newest[:changed_at] + SOFT_RESET + _line(session) + newest[changed_at:]
    return Start(end, before=redraw(session.id, newest, *size, is_wanted))


def _newest(session: Session, end: int) -> bytes:
    """The part of the log before `end` that a redraw uses."""
    begin = max(session.output.start, end - TAIL_BYTES)
    return session.output.read(begin, end - begin) if begin < end else b""


def _unfinished_line(session: Session, acked: int) -> bytes:
    """The cursor's line, usually a prompt, as far as the client has received it.

    A reconnecting client has written lines of its own below it. A full-screen program has no such line.
    """
    if acked < session.output.start:
        return b""
    seen = _newest(session, acked)
    line = _PLACED.split(seen[seen.rfind(b"\n") + 1 :])[-1]
    is_over = b"\n" in session.output.read(acked, TAIL_BYTES)
    has_text = _SEQUENCE.sub(b"", line).strip()
    if is_over or not has_text or len(line) > _MAX_LINE or _is_full_screen(seen):
        return b""
    return b"\r\x1b[K" + line[line.rfind(b"\r") + 1 :]


def _is_full_screen(output: bytes) -> bool:
    """Whether a program, such as an editor or a pager, uses the alternate screen."""
    switches = _OTHER_SCREEN.findall(output)
    return bool(switches) and switches[-1] == b"h"


def _line(session: Session) -> bytes:
    at = time.strftime("%H:%M:%S", time.gmtime(session.opened_at))
    text = f"the SSH connection was re-established at {at} UTC: this is a new shell on {session.facts.device_name}"
    return notice_line(text)
