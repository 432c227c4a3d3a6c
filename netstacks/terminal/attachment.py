"""An attachment: one WebSocket on a session, a cursor in its output log."""

import contextlib
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import ConnectionClosed
from netstacks.terminal import frames
from netstacks.terminal.frames import CloseCode

if TYPE_CHECKING:
    from netstacks.terminal.session import Session

log = structlog.get_logger()

DATA_BYTES = 64 * 1024
# Output of up to this size, an echo most often, is sent by whoever brings it.
SMALL_BYTES = 1024
# A ping after a burst acknowledges it; more than four a second would cost more than they tell.
ACK_SECS = 0.25
# A client that says something every 30 s, as the Terminal client does, needs no ping of ours.
KEEPALIVE_SECS = 30.0
_PING_BYTES = 10
# How long the beginning of a UTF-8 character waits for its end before it is sent as it is.
SPLIT_CHARACTER_SECS = 0.2


class Sink(Protocol):
    """What an attachment needs of its WebSocket."""

    def send(self, *messages: bytes) -> None: ...
    def can_take_now(self, size: int) -> bool: ...
    def ping(self, payload: bytes) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    def abort(self) -> None: ...
    def delivered_bytes(self) -> int: ...
    def undelivered_bytes(self) -> int: ...


class Kind(Enum):
    """The user's own terminal, or a colleague who watches."""

    CONTROL = "control"
    VIEWER = "viewer"


class Attachment:
    """Sends a session's log from `cursor` on.

    A controlling terminal is never moved forward: it holds the device back, and what it missed is read from the
    recording. A slow viewer is moved forward with a notice, never waited for.
    """

    def __init__(
        self,
        sink: Sink,
        kind: Kind,
        *,
        user_id: UUID | None,
        username: str,
        login_id: UUID | None = None,
        speaks_offsets: bool = False,
    ) -> None:
        self.sink = sink
        self.kind = kind
        self.user_id = user_id
        self.username = username
        self.login_id = login_id
        self.speaks_offsets = speaks_offsets
        self.cursor = 0
        self.acked = 0
        self.attached_at = time.time()
        self.on_finish: Callable[[CloseCode, str], bool] = _close
        """Asked when the log's rest is sent and the socket is to be closed: true keeps it open, for its owner's use."""
        self._session: Session | None = None
        self._before: list[bytes] = []
        self._between: tuple[int, bytes] | None = None
        self._wake = greenlets.Event()
        self._sending = False
        self._resting = True
        self._closing: tuple[CloseCode, str, tuple[bytes, ...]] | None = None
        self._pinged = 0
        self._pinged_at = time.monotonic()
        self._heard_at = self._pinged_at
        self._delivered = 0

    def begin(self, session: "Session", cursor: int) -> None:
        """Places the attachment on a session's log; it sends from then on."""
        self._session = session
        self.cursor = self.acked = self._pinged = cursor

    def queue(self, *control_frames: bytes) -> None:
        """Sends frames as they are, before the next of the device's bytes."""
        self._before.extend(control_frames)
        self.wake()

    def tell(self, text: str) -> None:
        """Shows one line that the device did not send, in its place between the device's bytes."""
        self.show(f"\r\n\x1b[33m[{text}]\x1b[0m\r\n".encode())

    def show(self, payload: bytes) -> None:
        """Sends bytes for the terminal that are not the device's and not counted."""
        self.queue(self._uncounted(payload))

    def show_at(self, offset: int, payload: bytes) -> None:
        """Like `show`, when the device's bytes before `offset` have been sent, and none after it."""
        self._between = (offset, self._uncounted(payload))

    def _uncounted(self, payload: bytes) -> bytes:
        return frames.notice(payload) if self.speaks_offsets else frames.data(payload)

    def deliver(self, data: bytes) -> None:
        """Takes the log's newest bytes: a small piece that nothing is before of is sent without a change of greenlets.

        Never waits for the client.
        """
        session = self._session
        if session is not None and self._can_send_now(session, data):
            with contextlib.suppress(ConnectionClosed):  # Whoever receives from the client notices too.
                self._send_output(session, data)
            if self._sending:
                return
            # Somebody has to ping for it.
        self.wake()

    def _can_send_now(self, session: "Session", data: bytes) -> bool:
        return (
            self._resting
            and not self._before
            and self._between is None
            and len(data) <= SMALL_BYTES
            and self.cursor + len(data) == session.output.end
            and frames.utf8_cut(data) == len(data)
            and self.sink.can_take_now(len(data))
        )

    def wake(self) -> None:
        """There is something new to send. An idle attachment has no greenlet: one starts now."""
        self._wake.set()
        if self._session is not None and not self._sending:
            self._sending = True
            greenlets.spawn("attachment-sender", self._send, self._session)

    def finish(self, code: CloseCode, reason: str, *last_frames: bytes) -> None:
        """Sends what the log still holds, then the last frames, then closes. The first call counts."""
        if self._closing is None:
            self._closing = (code, reason, last_frames)
            self.wake()

    def drop(self, code: CloseCode, reason: str) -> None:
        """Closes at once, whatever is still to be sent; the caller does not wait for a peer that does not read."""
        greenlets.spawn("attachment-drop", self.sink.close, code, reason)

    def _send(self, session: "Session") -> None:
        self._resting = False
        try:
            self._send_all(session)
            self._sending = False
            self._resting = True
        except ConnectionClosed:
            pass  # For good: nothing is sent any more. Whoever receives from the client notices too.
        except Exception:
            log.exception("attachment.failed", session_id=str(session.id))
            self.sink.close(CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server")

    def _send_all(self, session: "Session") -> None:
        """Returns when the client has been sent everything, and the ping that acknowledges it."""
        while True:
            self._wake.clear()
            while self._before:
                self.sink.send(self._before.pop(0))
            payload = session.read(self, self._limit())
            if payload:
                self._send_data(session, payload)
            elif self._closing is not None:
                self._leave(*self._closing)
                return
            elif self._next_ping_secs() > 0:
                if self.cursor == self._pinged and not self._wake.is_set():
                    return
                self._resting = True
                self._wake.wait(self._next_ping_secs())
                self._resting = False
            if self._next_ping_secs() <= 0:
                self._ping()

    def _leave(self, code: CloseCode, reason: str, last_frames: tuple[bytes, ...]) -> None:
        stays_open = self.on_finish(code, reason)
        self.let_go()
        if not stays_open:
            for frame in last_frames:
                self.sink.send(frame)
            self.sink.close(code, reason)

    def _limit(self) -> int:
        """How much is sent next, up to what is to be shown between."""
        if self._between is not None:
            offset, frame = self._between
            if self.cursor < offset:
                return min(DATA_BYTES, offset - self.cursor)
            self._between = None
            self.sink.send(frame)
        return DATA_BYTES

    def _send_data(self, session: "Session", payload: bytes) -> None:
        # A character that the former owner's shell left unfinished has no end to wait for.
        ends_epoch = self._between is not None and self.cursor + len(payload) == self._between[0]
        whole = len(payload) if ends_epoch else frames.utf8_cut(payload)
        # The beginning of one character is all there is: its end is on its way, or never was.
        if not whole and (not self._wake.wait(SPLIT_CHARACTER_SECS) or self._closing is not None):
            whole = len(payload)
        if whole:
            self._send_output(session, payload[:whole])

    def _send_output(self, session: "Session", data: bytes) -> None:
        self.sink.send(*frames.data_frames(data))
        self.cursor += len(data)
        session.cursor_moved()

    def _next_ping_secs(self) -> float:
        if self.cursor != self._pinged:
            due_at = self._pinged_at + ACK_SECS
        else:
            due_at = max(self._pinged_at, self._heard_at) + KEEPALIVE_SECS
        return max(0.0, due_at - time.monotonic())

    def keep_alive(self) -> None:
        """To be called every now and then while the client is silent: pings it when that is due, and never waits.

        Raises ConnectionClosed.
        """
        if self._next_ping_secs() > 0:
            return
        if self._resting and not self._sending and not self._before and self.sink.can_take_now(_PING_BYTES):
            # Without a greenlet for it: of thousands of idle clients, some hundred are pinged every second.
            self._ping()
        else:
            self.wake()

    def _ping(self) -> None:
        self._pinged = self.cursor
        self._pinged_at = time.monotonic()
        self.sink.ping(self.cursor.to_bytes(8, "big"))

    def on_pong(self, payload: bytes) -> None:
        """A pong proves delivery up to the offset that its ping carried."""
        self._heard_at = time.monotonic()
        if len(payload) == 8:
            offset = int.from_bytes(payload, "big")
            if self.acked < offset <= self.cursor:
                self.acked = offset
                if self._session is not None and self.kind is Kind.CONTROL:
                    self._session.acknowledged(self, offset)

    def let_go(self) -> None:
        """To be called when nothing is sent any more.

        The session and the client would keep each other in memory until the garbage collector runs.
        """
        self._session = None
        self.on_finish = _close

    def heard(self) -> None:
        """The client has given a sign of life."""
        self._heard_at = time.monotonic()

    def is_dead(self, *, is_read: bool = True) -> bool:
        """Whether the peer has given no sign of life for two keepalives; to be asked every few seconds.

        A slow client takes bytes long before it reaches the ping behind them, which counts. That the last of them, the
        ping itself perhaps, has arrived does not: the host of a frozen client takes it, too. It is all there is to
        see of a client that is not read now.
        """
        delivered = self.sink.delivered_bytes()
        if delivered > self._delivered and (self.sink.undelivered_bytes() or not is_read):
            self.heard()
        self._delivered = delivered
        return time.monotonic() - self._heard_at >= 2 * KEEPALIVE_SECS


def _close(code: CloseCode, reason: str) -> bool:
    return False
