"""The writing half of a WebSocket's TCP connection: whole frames one after another, whoever sends them."""

import contextlib
import fcntl
import socket
import sys
import termios
from collections.abc import Callable, Iterable

from netstacks import greenlets

# The kernel would let the bytes on their way to a slow reader grow to megabytes: this much keeps a fast network busy,
# and a reader never sees what is older than it.
SEND_BUFFER_BYTES = 256 * 1024
# Small frames take far more of the kernel's memory than they are long.
_UNHURRIED_BYTES = 8 * 1024


class FrameWriter:
    """Sends frames over a socket of gunicorn's gevent worker; any greenlet may call any method.

    A frame is never interrupted by another one: a ping inside a large message would corrupt it (pitfalls 11).
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._socket = sock
        self._turn = greenlets.BoundedSemaphore(1)
        self._pongs: list[bytes] = []
        self._taken_bytes = 0
        self._all_delivered_at = 0
        """How much was taken when the kernel last had nothing to keep: until more is taken, it need not be asked."""

    def send(self, frames: Callable[[], Iterable[bytes]]) -> None:
        """Sends what `frames` returns when it is this caller's turn, waiting for a slow reader. Raises OSError."""
        with self._turn:
            self._write_all(frames())

    def hang_up(self, last_frames: Iterable[bytes]) -> None:
        """Sends the last frames, then half-closes: a full close with unread input would take them back."""
        with self._turn:
            self._write_all(last_frames)
            self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Closes the connection now; whoever waits for the socket wakes up, with an error or the end of input."""
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
        """Sends what the kernel takes now; a writer at work, or the next one, sends the rest before its own."""
        if not self._pongs or not self._turn.acquire(blocking=False):
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
            self._turn.release()

    def can_take_now(self, size: int) -> bool:
        """Whether nobody is sending, and the kernel surely has room for `size` bytes more."""
        if self._turn.locked() or self._pongs or self._socket.fileno() < 0:
            return False
        return self.undelivered_bytes() + size <= _UNHURRIED_BYTES

    def delivered_bytes(self) -> int:
        """What the peer's host has acknowledged since the start, by what the kernel no longer keeps for it."""
        if self._taken_bytes == self._all_delivered_at:
            return self._taken_bytes
        undelivered = self.undelivered_bytes()
        if not undelivered:
            self._all_delivered_at = self._taken_bytes
        return self._taken_bytes - undelivered

    def undelivered_bytes(self) -> int:
        """What the kernel keeps for the peer, until its host has acknowledged it; nothing once the socket is closed."""
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
            # Gone, killed or out of time: after half a frame nothing sensible can follow.
            self.abort()
            raise
