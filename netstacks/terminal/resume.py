"""Where a client goes on reading when it attaches, and what it is shown of a change of owners."""

import time
from dataclasses import dataclass

from netstacks.terminal.screen import TAIL_BYTES, redraw, settled
from netstacks.terminal.session import Session

# The former shell may have left the terminal in any state. In turn: the end of any sequence, the main screen (with its
# own cursor, or the present one where it is shown already), no margins, the modes of a terminal just switched on.
_CALM = (
    b"\x18\x1b\\\x1b7\x1b[?1049l\x1b7\x1b[r\x1b8\x1b[!p\x1b[4l\x1b[?1;1000;1002;1003;1004;1006;2004l\x1b[?7;25h\x1b[0m"
)


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


def start(session: Session, resume: Resume, size: tuple[int, int]) -> Start:
    """Serves a client from the offset it names, or else from the last it acknowledged.

    An offset is valid only with its epoch. Who names an older one has reset its terminal: it gets the screen redrawn,
    a line that says what happened, then the epoch from its start. A client without offsets gets what it had not
    acknowledged, the line, then the epoch. A fresh page gets the screen of now, for its window's `size`.
    """
    if resume.tail:
        return _screen_of_now(session, size)
    begin = session.first_offset
    if resume.offset is None:
        acked = session.recording.acked_offset
        if session.facts.epoch > 1 and acked <= begin:
            return Start(acked, between=_CALM + _line(session), between_at=begin)
        return Start(acked)
    if resume.epoch in (None, 0, session.facts.epoch):
        return Start(min(resume.offset, session.output.end))
    return Start(begin, before=redraw(_newest(session, begin) + _CALM, *size) + _line(session))


def _screen_of_now(session: Session, size: tuple[int, int]) -> Start:
    newest = _newest(session, session.output.end)
    # What the former shell left unfinished stays so.
    end = max(session.first_offset, session.output.end - len(newest) + settled(newest))
    newest = newest[: len(newest) - (session.output.end - end)]
    changed_at = len(newest) - (end - session.first_offset)
    if session.facts.epoch > 1 and 0 <= changed_at <= len(newest):
        newest = newest[:changed_at] + _CALM + _line(session) + newest[changed_at:]
    return Start(end, before=redraw(newest, *size))


def _newest(session: Session, end: int) -> bytes:
    """What the log holds before `end`, as far as a redraw looks at it."""
    begin = max(session.output.start, end - TAIL_BYTES)
    return session.output.read(begin, end - begin) if begin < end else b""


def _line(session: Session) -> bytes:
    at = time.strftime("%H:%M:%S", time.gmtime(session.opened_at))
    text = f"the SSH connection was re-established at {at} UTC: this is a new shell on {session.facts.device_name}"
    return f"\r\n\x1b[33m[{text}]\x1b[0m\r\n".encode()
