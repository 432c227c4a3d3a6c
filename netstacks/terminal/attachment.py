"""An attachment: one WebSocket on a session, a cursor in its output log."""

import contextlib
import time
from collections.abc import Callable
from enum import Enum
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import ConnectionClosed
from netstacks.terminal import frames
from netstacks.terminal.echo_latency import EchoLatency
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.protocols import AttachedSession, Sink

log = structlog.get_logger()

DATA_BYTES = 64 * 1024
# Output of up to this size, an echo most often, is sent in the greenlet that read it: a switch costs more.
SMALL_BYTES = 1024
# A ping after a burst acknowledges it (docs/protocol.md, 6.5). More than four a second would cost more than they save.
ACK_SECS = 0.25
# A client that sends something every 30 s, as the Terminal client does, needs no ping from here.
KEEPALIVE_SECS = 30.0
_PING_BYTES = 10
# How long an incomplete UTF-8 character waits for its last bytes before it is sent incomplete.
SPLIT_CHARACTER_SECS = 0.2


class Kind(Enum):
    """The user's own terminal, or a viewer: a share's, read-only or read-write."""

    CONTROL = "control"
    VIEWER = "viewer"


class Attachment:
    """Sends a session's log from `cursor` on.

    A controlling terminal misses nothing: it holds the device back, and output that the log no longer has is read from
    the recording. A slow viewer is moved forward with a notice, never waited for.
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
        # acked <= cursor <= end of the log: what is proven delivered, and what is sent, as offsets in the log.
        self.cursor = 0
        self.acked = 0
        self.attached_at = time.time()
        self.on_finish: Callable[[CloseCode, str], bool] = _close
        """Called when the log's rest is sent, before the socket is closed: true keeps the socket open."""
        # None before `begin` and after `release`.
        self._session: AttachedSession | None = None
        # Frames to be sent before any more of the log.
        self._queued_frames: list[bytes] = []
        # A frame to be sent when the cursor reaches the offset; reads stop there until it is sent.
        self._insertion: tuple[int, bytes] | None = None
        # Set when there is something new to send.
        self._wake = greenlets.Event()
        # Whether a sender greenlet exists: one at most, so that frames keep their order. It stays true after
        # ConnectionClosed, so that no other one starts.
        self._is_sending = False
        # Whether no sender greenlet is in the middle of sending: then `deliver` may send without overtaking it.
        self._is_idle = True
        # Close code, reason and last frames, once the session has ended; never reset.
        self._pending_close: tuple[CloseCode, str, tuple[bytes, ...]] | None = None
        # The offset and the time of the last ping. An offset below the cursor means that a ping is due.
        self._pinged_offset = 0
        self._pinged_at = time.monotonic()
        # When the client last gave a sign of life.
        self._heard_at = self._pinged_at
        # What the sink had delivered at the last `is_dead`.
        self._delivered_bytes = 0
        self._echo_latency = EchoLatency()

    def begin(self, session: AttachedSession, cursor: int) -> None:
        """Attaches to a session's log at `cursor`; `wake` then starts to send."""
        self._session = session
        self.cursor = self.acked = self._pinged_offset = cursor

    def queue(self, *control_frames: bytes) -> None:
        """Sends frames unchanged, before any more output of the device."""
        self._queued_frames.extend(control_frames)
        self.wake()

    def show_notice(self, text: str) -> None:
        """Shows one line of the controller's own between the device's output."""
        self.show(f"\r\n\x1b[33m[{text}]\x1b[0m\r\n".encode())

    def show(self, payload: bytes) -> None:
        """Sends bytes for the terminal that are not in the log and have no offset (docs/protocol.md, 6)."""
        self.queue(self._notice_frame(payload))

    def show_at(self, offset: int, payload: bytes) -> None:
        """Like `show`, when the output before `offset` has been sent, and none after it."""
        self._insertion = (offset, self._notice_frame(payload))

    def _notice_frame(self, payload: bytes) -> bytes:
        return frames.notice(payload) if self.speaks_offsets else frames.data(payload)

    def deliver(self, data: bytes) -> None:
        """Takes the newest output: a small piece with nothing unsent before it is sent without a greenlet switch.

        Never waits for the client.
        """
        session = self._session
        if session is not None and self._can_send_now(session, data):
            with contextlib.suppress(ConnectionClosed):  # The greenlet that receives from the client sees it too.
                self._send_output(session, data)
            if self._is_sending:
                return
            # Without a sender greenlet no ping would follow: `wake` starts one.
        self.wake()

    def _can_send_now(self, session: AttachedSession, data: bytes) -> bool:
        return (
            self._is_idle
            and not self._queued_frames
            and self._insertion is None
            and len(data) <= SMALL_BYTES
            and self.cursor + len(data) == session.output.end
            and frames.utf8_cut(data) == len(data)
            and self.sink.can_take_now(len(data))
        )

    def wake(self) -> None:
        """Has new output and frames sent; starts the sender greenlet if there is none."""
        self._wake.set()
        if self._session is not None and not self._is_sending:
            self._is_sending = True
            greenlets.spawn("attachment-sender", self._send, self._session)

    def finish(self, code: CloseCode, reason: str, *last_frames: bytes) -> None:
        """Sends the rest of the log, then the last frames, then closes. The first call counts."""
        if self._pending_close is None:
            self._pending_close = (code, reason, last_frames)
            self.wake()

    def drop(self, code: CloseCode, reason: str) -> None:
        """Closes at once, without the unsent output. Does not wait for a client that does not read."""
        greenlets.spawn("attachment-drop", self.sink.close, code, reason)

    def _send(self, session: AttachedSession) -> None:
        self._is_idle = False
        try:
            self._send_all(session)
            # No yield since the last look at `_wake`: output that comes now would start no sender.
            self._is_sending = False
            self._is_idle = True
        except ConnectionClosed:
            pass  # `_is_sending` stays true. The greenlet that receives from the client detaches the attachment.
        except Exception:
            log.exception("attachment.failed", session_id=str(session.id))
            self.sink.close(CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server")

    def _send_all(self, session: AttachedSession) -> None:
        """Returns when everything has been sent, and the ping for its acknowledgement."""
        while True:
            self._wake.clear()
            while self._queued_frames:
                self.sink.send(self._queued_frames.pop(0))
            payload = session.read(self, self._next_limit())
            if payload:
                self._send_data(session, payload)
            elif self._pending_close is not None:
                self._close_after_rest(*self._pending_close)
                return
            elif self._next_ping_secs() > 0:
                if self.cursor == self._pinged_offset and not self._wake.is_set():
                    return
                self._is_idle = True
                self._wake.wait(self._next_ping_secs())
                self._is_idle = False
            if self._next_ping_secs() <= 0:
                self._ping()

    def _close_after_rest(self, code: CloseCode, reason: str, last_frames: tuple[bytes, ...]) -> None:
        stays_open = self.on_finish(code, reason)
        self.release()
        if not stays_open:
            for frame in last_frames:
                self.sink.send(frame)
            self.sink.close(code, reason)

    def _next_limit(self) -> int:
        """How many bytes may be sent next, up to the insertion; sends the insertion when it is due."""
        if self._insertion is not None:
            offset, frame = self._insertion
            if self.cursor < offset:
                return min(DATA_BYTES, offset - self.cursor)
            self._insertion = None
            self.sink.send(frame)
        return DATA_BYTES

    def _send_data(self, session: AttachedSession, payload: bytes) -> None:
        # An incomplete character at the end of the former owner's output stays incomplete.
        ends_epoch = self._insertion is not None and self.cursor + len(payload) == self._insertion[0]
        whole = len(payload) if ends_epoch else frames.utf8_cut(payload)
        # Only part of one character is there: the rest follows soon, or never.
        if not whole and (not self._wake.wait(SPLIT_CHARACTER_SECS) or self._pending_close is not None):
            whole = len(payload)
        if whole:
            self._send_output(session, payload[:whole])

    def _send_output(self, session: AttachedSession, data: bytes) -> None:
        self.sink.send(*frames.data_frames(data))
        self.cursor += len(data)
        self._echo_latency.sent(self.cursor)
        session.cursor_moved()

    def _next_ping_secs(self) -> float:
        if self.cursor != self._pinged_offset:
            due_at = self._pinged_at + ACK_SECS
        else:
            due_at = max(self._pinged_at, self._heard_at) + KEEPALIVE_SECS
        return max(0.0, due_at - time.monotonic())

    def keep_alive(self) -> None:
        """Pings a silent client when a ping is due; to be called every few seconds. Never waits.

        Raises ConnectionClosed.
        """
        if self._next_ping_secs() > 0:
            return
        if self._is_idle and not self._is_sending and not self._queued_frames and self.sink.can_take_now(_PING_BYTES):
            # Without a greenlet: with thousands of idle clients some hundred pings are due every second.
            self._ping()
        else:
            self.wake()

    def _ping(self) -> None:
        self._pinged_offset = self.cursor
        self._pinged_at = time.monotonic()
        self.sink.ping(self.cursor.to_bytes(8, "big"))

    def on_pong(self, payload: bytes) -> None:
        """A pong proves delivery up to the offset in its ping: a client answers in order (RFC 6455, 5.5.3)."""
        self._heard_at = time.monotonic()
        if len(payload) == 8:
            offset = int.from_bytes(payload, "big")
            if self.acked < offset <= self.cursor:
                self.acked = offset
                if self._session is not None and self.kind is Kind.CONTROL:
                    self._session.acknowledged(self, offset)

    def release(self) -> None:
        """Drops the references to the session and the client; to be called when nothing is sent any more.

        As a reference cycle they would stay in memory until the garbage collector runs.
        """
        self._session = None
        self.on_finish = _close

    def heard(self) -> None:
        """The client has given a sign of life."""
        self._heard_at = time.monotonic()

    def typed(self) -> None:
        """The message that was `heard` last is written to the device, as input."""
        if self._session is not None:
            self._echo_latency.typed(self._heard_at, self._session.output.end)

    def is_dead(self, *, is_read: bool = True) -> bool:
        """Whether the client has given no sign of life for two keepalives; to be called every few seconds.

        A slow client acknowledges bytes at the TCP level long before it reaches the ping behind them: that counts while
        more bytes wait. The delivery of the last bytes does not count, since the host of a frozen client accepts them
        too. It counts when `is_read` is false: then nothing more is read from the client, and there is no other sign.
        """
        delivered = self.sink.delivered_bytes()
        if delivered > self._delivered_bytes and (self.sink.undelivered_bytes() or not is_read):
            self.heard()
        self._delivered_bytes = delivered
        return time.monotonic() - self._heard_at >= 2 * KEEPALIVE_SECS


def _close(code: CloseCode, reason: str) -> bool:
    return False
