"""The writing half of a WebSocket's TCP connection: serialises whole frames of all greenlets."""

import contextlib
import fcntl
import socket
import sys
import termios
from collections.abc import Callable, Iterable

from netstacks import greenlets

# The kernel's own limit grows to megabytes, and a slow reader would see output that old. This much keeps a fast network
# busy.
SEND_BUFFER_BYTES = 256 * 1024
# A conservative limit for `can_take_now`: small frames take far more kernel memory than their length.
_IMMEDIATE_BYTES = 8 * 1024


class FrameWriter:
    """Sends frames over a socket of gunicorn's gevent worker; any greenlet may call any method.

    Writes are serialised: a ping in the middle of a large frame would corrupt the stream (docs/design-notes.md, 11).
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._socket = sock
        # Held while bytes are written: no other frame may be sent before the current one is complete.
        self._write_lock = greenlets.BoundedSemaphore(1)
        # The first pong may be sent in part; the second one, if any, is the latest.
        self._pongs: list[bytes] = []
        self._taken_bytes = 0
        self._all_delivered_at = 0
        """`_taken_bytes` when the kernel's buffer was last empty: saves a system call until more is written."""

    def send(self, frames: Callable[[], Iterable[bytes]]) -> None:
        """Takes the write lock, calls `frames`, and sends the result. Waits for a slow reader. Raises OSError."""
        with self._write_lock:
            self._write_all(frames())

    def hang_up(self, last_frames: Iterable[bytes]) -> None:
        """Sends the last frames, then half-closes: a full close with unread input is a reset, which loses them."""
        with self._write_lock:
            self._write_all(last_frames)
            self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Closes the connection at once; greenlets that wait for the socket get an error or the end of input."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def is_behind(self) -> bool:
        """Whether a pong waits for `retry_pongs`."""
        return bool(self._pongs)

    def pong(self, pongs: list[bytes]) -> None:
        """Sends pongs without waiting for a peer that does not read.

        While one is stuck, and perhaps half sent, only the latest ping gets another (RFC 6455, 5.5.3).
        """
        self._pongs[1:] = pongs[-1:] if self._pongs else [b"".join(pongs)]
        self.retry_pongs()

    def retry_pongs(self) -> None:
        """Sends what fits into the kernel's buffer; the current or the next writer sends the rest before its frames."""
        if not self._pongs or not self._write_lock.acquire(blocking=False):
            return
        try:
            while self._pongs:
                # gevent's argument, not the standard library's: do not wait.
                sent = self._socket.send(self._pongs[0], 0, 0.0)  # type: ignore[call-arg]
                self._taken_bytes += sent
                self._pongs[0] = self._pongs[0][sent:]
                if not self._pongs[0]:
                    del self._pongs[0]
        except BlockingIOError:
            pass
        except OSError:
            self.abort()
        finally:
            self._write_lock.release()

    def can_take_now(self, size: int) -> bool:
        """Whether no write is in progress, and the kernel's buffer has room for `size` more bytes."""
        if self._write_lock.locked() or self._pongs or self._socket.fileno() < 0:
            return False
        return self.undelivered_bytes() + size <= _IMMEDIATE_BYTES

    def delivered_bytes(self) -> int:
        """The bytes that the peer's host has acknowledged since the start: those written minus those in the buffer."""
        if self._taken_bytes == self._all_delivered_at:
            return self._taken_bytes
        undelivered = self.undelivered_bytes()
        if not undelivered:
            self._all_delivered_at = self._taken_bytes
        return self._taken_bytes - undelivered

    def undelivered_bytes(self) -> int:
        """The unacknowledged bytes in the kernel's buffer (TIOCOUTQ, tcp(7)); 0 once the socket is closed."""
        if self._socket.fileno() < 0:
            return 0
        kept = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(kept, sys.byteorder)

    def _write_all(self, frames: Iterable[bytes]) -> None:
        while self._pongs:
            self._write(self._pongs.pop(0))
        for frame in frames:
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        view = memoryview(frame)
        try:
            while view:
                sent = self._socket.send(view)
                self._taken_bytes += sent
                view = view[sent:]
        except BaseException:
            # The peer has gone, or this greenlet was killed: after a partial frame the stream cannot continue.
            self.abort()
            raise
