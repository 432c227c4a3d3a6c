"""Forced redraws: a short change of the window size makes full-screen programs draw their screen again."""

import time

from netstacks import greenlets
from netstacks.terminal.attachment import Attachment
from netstacks.terminal.session import Session

# The window shrinks this long after the client has attached: a user who types meanwhile needs no redraw.
_REDRAW_AFTER_SECS = 0.5
# A program that gets two SIGWINCH before it looks at its window sees the second size only, which is the old one. So the
# old size is restored when the program has drawn something for the first, and after this long in any case: a program
# may draw nothing.
_REDRAW_MAX_SECS = 5.0
_REDRAW_PAUSE_SECS = 0.5


def force_redraw(session: Session, attachment: Attachment) -> None:
    """Makes full-screen programs draw their screen for a terminal that came back without its content.

    The device's window loses a row for a moment. Nothing happens while the user types, or when another terminal has
    taken over. Returns at once.
    """
    greenlets.spawn(f"session-redraw-{session.id}", _force_redraw, session, attachment)


def _force_redraw(session: Session, attachment: Attachment) -> None:
    greenlets.sleep(_REDRAW_AFTER_SECS)
    is_typing = time.monotonic() - session.typed_at < _REDRAW_AFTER_SECS
    if attachment is not session.control or not session.is_live or is_typing or session.rows < 2:
        return
    drawn_to, ends_at = session.output.end, time.monotonic() + _REDRAW_MAX_SECS
    session.resize_device(session.cols, session.rows - 1)
    greenlets.sleep(_REDRAW_PAUSE_SECS)
    while session.is_live and session.output.end == drawn_to and time.monotonic() < ends_at:
        greenlets.sleep(_REDRAW_PAUSE_SECS)
    if session.is_live:
        session.resize_device(session.cols, session.rows)
