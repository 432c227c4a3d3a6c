"""The connection of one client, with a deadline for each stage of a request.

Each limit is a timeout of the socket, computed for each call: no exception is injected into the greenlet.
"""

import errno
import fcntl
import os
import socket
import sys
import termios
import time
from typing import TYPE_CHECKING

from netstacks import greenlets

if TYPE_CHECKING:
    from netstacks.web.listener.connection_limits import ConnectionGroup, ConnectionLimits

# From accept, or from the first byte of a later request, to the end of the head. gunicorn's `keepalive` limits the time
# between two requests.
HEAD_SECS = 15.0
# As in nginx. gunicorn parses an incomplete head anew with each piece of it.
HEAD_BYTES = 32 * 1024
# From the end of the head to the end of the body.
BODY_SECS = 60.0
BODY_INCOMPLETE = f"The request's body is incomplete. It must arrive within {BODY_SECS:.0f} seconds."
"""The sentence of an answer 408."""
# The maximum size of a body. On the wire it may be larger: chunks have headers, and extensions of any length.
BODY_BYTES = 4 * 1024 * 1024
_MAX_RAW_BYTES = 2 * BODY_BYTES
# The time that a client may read nothing of an answer. Bytes that it reads are credited at a minimal rate: a download
# continues while it makes progress, and a client that reads a byte now and then is disconnected.
STALL_SECS = 30.0
_MIN_BYTES_PER_SEC = 1024
# A client that sends or reads without a pause never makes its greenlet wait. After this many calls, of which a request
# counts as several, the greenlet sleeps so that all others that are ready run; `sleep(0)` does not guarantee that.
_STEPS_IN_A_TURN, _STEPS_OF_A_REQUEST = 16, 8
_REST_SECS = 0.001


class ClientSocket(socket.socket):
    """An accepted connection for gunicorn's worker. A duplicate (`dup`) has no limits: a WebSocket has its own."""

    def __init__(self, accepted: socket.socket, limits: "ConnectionLimits") -> None:
        """Takes over the connection of `accepted`, which is detached from it."""
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        # Owned by `limits`: no other code sets these four.
        self.network: str | None = None
        self.groups: tuple[ConnectionGroup, ...] = ()
        self.is_known = False
        self.is_waiting = True
        self.limits = limits
        self._is_in_request = False
        self._ends_at: float | None = time.monotonic() + HEAD_SECS
        """The deadline of the head or body (monotonic clock); None between two requests."""
        self._head_bytes = HEAD_BYTES
        self._body_bytes = 0
        self._stall_secs = STALL_SECS
        self._steps = 0

    def begin_request(self) -> None:
        """Called when the head is complete."""
        self._is_in_request = True
        self._ends_at = time.monotonic() + BODY_SECS
        self._body_bytes = 0
        self._stall_secs = STALL_SECS
        self.limits.request_began(self)

    def end_request(self, body_bytes: int) -> None:
        """Called when the answer is sent. The rest of a body of `body_bytes` may follow, then another head."""
        self._is_in_request = False
        rest = max(0, body_bytes - self._body_bytes)
        self._ends_at = time.monotonic() + BODY_SECS if rest else None
        self._head_bytes = HEAD_BYTES + rest
        self.limits.request_ended(self)
        self._step(_STEPS_OF_A_REQUEST)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """In a request raises ConnectionResetError when the body is late or cut short: a part must not pass for it.

        Between requests returns b"" when the client has gone, or its head is late or too long.
        """
        if self._is_in_request:
            # The input of the last call may have cost much time: a body in chunks of one byte.
            greenlets.give_way()
        self.settimeout(0.0)
        try:
            data = super().recv(size, flags)
            self._step()
        except BlockingIOError:
            data = self._wait_and_recv(size, flags)
        finally:
            self.settimeout(None)
        if self._is_in_request:
            if not data:
                raise _reset("the body of the request is not complete")
            self._body_bytes += len(data)
            if self._body_bytes > _MAX_RAW_BYTES:
                raise _reset("the body of the request comes in too many bytes")
            return data
        if self._ends_at is None:
            self._ends_at = time.monotonic() + HEAD_SECS
        self._head_bytes -= len(data)
        return data if self._head_bytes >= 0 else b""

    def _wait_and_recv(self, size: int, flags: int) -> bytes:
        self._begin_wait()
        try:
            self.settimeout(None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic()))
            return super().recv(size, flags)
        except (TimeoutError, BlockingIOError):
            return b""
        finally:
            self._end_wait()

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:  # type: ignore[override]
        """Raises ConnectionResetError when the client does not read its answer."""
        if not self._is_in_request:
            # gunicorn's answer to malformed HTTP, for which it does not wait.
            return super().send(data, flags)
        self.settimeout(0.0)
        try:
            sent = super().send(data, flags)
            self._step()
            return sent
        except BlockingIOError:
            return self._wait_and_send(data, flags)
        finally:
            self.settimeout(None)

    def sendall(self, data: bytes | memoryview, flags: int = 0) -> None:  # type: ignore[override]
        """Like `send`, until all bytes are sent."""
        view = memoryview(data)
        while view:
            view = view[self.send(view, flags) :]

    def _wait_and_send(self, data: bytes | memoryview, flags: int) -> int:
        """The bytes sent, perhaps 0: the kernel's buffer may stay full long after the client has read something."""
        self._begin_wait()
        began_at, undelivered, sent = time.monotonic(), self._undelivered_bytes(), 0
        try:
            self.settimeout(self._stall_secs)
            sent = super().send(data, flags)
        except TimeoutError:
            pass
        finally:
            self._end_wait()
        delivered = undelivered + sent - self._undelivered_bytes()
        credit_secs = delivered / _MIN_BYTES_PER_SEC - (time.monotonic() - began_at)
        self._stall_secs = min(STALL_SECS, self._stall_secs + credit_secs)
        if self._stall_secs <= 0:
            raise _reset("the client does not read its answer")
        return sent

    def _undelivered_bytes(self) -> int:
        """The unacknowledged bytes in the kernel's buffer (TIOCOUTQ, tcp(7))."""
        kept = fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(kept, sys.byteorder)

    def _begin_wait(self) -> None:
        self._steps = 0
        if self._is_in_request:
            self.limits.wait_began(self)

    def _end_wait(self) -> None:
        if self._is_in_request:
            self.limits.wait_ended(self)

    def _step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps >= _STEPS_IN_A_TURN:
            self._steps = 0
            greenlets.sleep(_REST_SECS)

    def dup(self) -> socket.socket:  # type: ignore[override]
        return socket.socket(fileno=os.dup(self.fileno()))


def _reset(reason: str) -> ConnectionResetError:
    """An error that gunicorn treats as a client that has gone, and does not log."""
    return ConnectionResetError(errno.ECONNRESET, reason)
