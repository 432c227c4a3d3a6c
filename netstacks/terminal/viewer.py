"""Viewers: attachments by way of a share. They end at the session's owner, which counts them."""

import contextlib
import time
from typing import Literal
from uuid import UUID

from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.errors import ConnectionClosed
from netstacks.formats import Timestamp, Uuid
from netstacks.terminal import frames
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.protocols import Sink
from netstacks.terminal.query_answers import without_answers
from netstacks.terminal.session import Session


class ViewerJson(TypedDict):
    """A viewer as the session's user sees it."""

    viewer_id: Uuid
    share_id: Uuid
    username: str | None
    """Null for a viewer without a log-in."""
    address: str | None
    """The IP address of the viewer."""
    permission: Literal["read-only", "read-write"]
    joined_at: Timestamp


class Viewer(Attachment):
    """A view of the user's terminal, with input if its permission is `read-write`."""

    def __init__(
        self,
        sink: Sink,
        *,
        viewer_id: UUID,
        share_id: str,
        permission: Literal["read-only", "read-write"],
        user_id: UUID | None,
        username: str,
        login_id: UUID | None,
        address: str | None,
        speaks_offsets: bool,
    ) -> None:
        super().__init__(
            sink,
            Kind.VIEWER,
            user_id=user_id,
            username=username,
            login_id=login_id,
            speaks_offsets=speaks_offsets,
        )
        self.viewer_id = viewer_id
        self.share_id = share_id
        self.permission = permission
        self.address = address
        # The window size last sent to the viewer's page; None before the first output.
        self._window: tuple[int, int] | None = None

    def describe(self) -> ViewerJson:
        """The viewer as the session's user sees it."""
        return {
            "viewer_id": str(self.viewer_id),
            "share_id": self.share_id,
            "username": self.username if self.user_id else None,
            "address": self.address,
            "permission": self.permission,
            "joined_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.attached_at)),
        }

    def deliver(self, data: bytes) -> None:
        # The size first: the output that follows may be formatted for it.
        if self._session is not None and self.speaks_offsets:
            self.follow_window(self._session.cols, self._session.rows)
        super().deliver(data)

    def follow_window(self, cols: int, rows: int) -> None:
        """Sends the size of the user's terminal to the viewer's page, because output is formatted for that size."""
        if (cols, rows) != self._window:
            if self._window is not None:
                self.queue(frames.resize(cols, rows))
            self._window = (cols, rows)

    def type(self, data: bytes) -> None:
        """Writes the viewer's input to the device: nothing without `read-write`, and never an answer to a query."""
        typed = without_answers(data) if self.permission == "read-write" else b""
        if typed and self._session is not None:
            self._session.input(self, typed)

    def expel(self, reason: str) -> None:
        """Closes the view at once, with the reason."""
        send_away(self.sink, reason)


def send_away(sink: Sink, reason: str) -> None:
    """Closes a viewer's socket, in a greenlet of its own.

    A client that keeps up gets the reason in an Error frame, any other only in the close frame.
    """
    greenlets.spawn("viewer-expelled", _send_away, sink, reason)


def _send_away(sink: Sink, reason: str) -> None:
    text = frames.error(reason)
    with contextlib.suppress(ConnectionClosed):
        if sink.can_take_now(len(text)):
            sink.send(text)
    sink.close(CloseCode.REFUSED, reason)


def viewers(session: Session, *, share_id: str | None = None, viewer_id: str | None = None) -> list[Viewer]:
    """The viewers of a session: all, those of one share, or the one with an id."""
    return [
        each
        for each in session.attachments
        if isinstance(each, Viewer) and share_id in (None, each.share_id) and viewer_id in (None, str(each.viewer_id))
    ]


def expel(session: Session, those: list[Viewer], reason: str) -> None:
    """Ends views at once: later input of these viewers is discarded."""
    session.expulsions += 1
    for each in those:
        # Detached before the close, which takes time: `Session.input` ignores it from here on.
        session.detach(each)
        each.expel(reason)
