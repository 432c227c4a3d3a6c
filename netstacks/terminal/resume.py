"""Where a client goes on reading when it attaches, and what it is shown of a change of owners."""

import time
from dataclasses import dataclass

from netstacks.terminal.screen import TAIL_BYTES, redraw
from netstacks.terminal.session import Session

# The former shell may have left the terminal in any state: in the middle of a sequence, on the alternate screen.
_CALM = b"\x1b\\\x1b[!p\x1b[?1049l\x1b[?25h\x1b[0m"


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


def start(session: Session, resume: Resume) -> Start:
    """Serves a client from the offset it names, or else from the last it acknowledged.

    An offset is valid only with its epoch. Who names an older one has reset its terminal: it gets the screen redrawn,
    a line that says what happened, then the epoch from its start. A client without offsets gets what it had not
    acknowledged, the line, then the epoch.
    """
    end, begin = session.output.end, session.first_offset
    if resume.tail:
        return Start(session.output.line_start(end - TAIL_BYTES))
    if resume.offset is None:
        acked = session.recording.acked_offset
        if session.facts.epoch > 1 and acked <= begin:
            return Start(acked, between=_CALM + _line(session), between_at=begin)
        return Start(acked)
    if resume.epoch in (0, session.facts.epoch):
        return Start(min(resume.offset, end))
    held = max(0, begin - session.output.start)
    former = session.output.read(session.output.start, held)
    return Start(begin, before=redraw(former, session.cols, session.rows) + _CALM + _line(session))


def _line(session: Session) -> bytes:
    at = time.strftime("%H:%M:%S", time.gmtime(session.opened_at))
    text = f"the SSH connection was re-established at {at} UTC: this is a new shell on {session.facts.device_name}"
    return f"\r\n\x1b[33m[{text}]\x1b[0m\r\n".encode()
