"""The hop of a proxied terminal: bytes between a client and the session's owner, both ways, without a look at them.

Plain connections are spliced in the kernel, which costs a third less than copying (pitfalls 11); TLS ones are copied.
"""

import contextlib
import fcntl
import os
import socket
import ssl
import time
from collections.abc import Iterator

from netstacks import greenlets

CHUNK_BYTES = 256 * 1024
# Room for that many bytes however they are cut up, at a third of the default's cost.
_PIPE_BYTES = 1024 * 1024
# More than this on its way would only make an interrupt key wait behind it.
BUFFER_BYTES = 256 * 1024
# Small pieces that come this soon after each other are let gather: moved one by one they cost several times as much.
_SMALL_BYTES = 16 * 1024
_BURST_PAUSE_SECS = 0.0005
# When one side has ended, the other may finish what it is saying for so long.
LINGER_SECS = 2.0
_KEEPALIVE_IDLE_SECS, _KEEPALIVE_INTERVAL_SECS, _KEEPALIVE_PROBES = 15, 5, 3
# Longer than the owner's own patience with a silent client, which is the better judge of it.
_UNACKNOWLEDGED_MSECS = 60_000


def splice(client: socket.socket, upstream: socket.socket, *, to_client: bytes, to_upstream: bytes) -> None:
    """Sends what was read ahead, then relays until both sides have ended; closes both sockets.

    The end of one side is told to the other by a FIN at once: a close frame could land inside a frame.
    """
    with client, upstream:
        for each in (client, upstream):
            prepare(each)
        pumps = [
            greenlets.spawn("splice-to-client", _pump, upstream, client, to_client),
            greenlets.spawn("splice-to-upstream", _pump, client, upstream, to_upstream),
        ]
        try:
            greenlets.joinall(pumps, count=1)
            greenlets.joinall(pumps, timeout=LINGER_SECS)
        finally:
            # The sockets are closed when nothing waits for them any more, also when gunicorn kills this greenlet:
            # their numbers may be others' a moment later, and libev aborts the process that waits for a closed one.
            hang_up(client, upstream)
            greenlets.joinall(pumps)


def hang_up(*sockets: socket.socket) -> None:
    """Ends both directions now: whatever waits for these sockets finds out, and their owner closes them."""
    for each in sockets:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(each, socket.SHUT_RDWR)


def prepare(sock: socket.socket) -> None:
    """Small frames go out at once, little is kept in between, and a host that has vanished is noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_SECS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_SECS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MSECS)


def _pump(source: socket.socket, sink: socket.socket, first: bytes) -> None:
    with contextlib.suppress(OSError):
        try:
            sink.sendall(first)
            if isinstance(source, ssl.SSLSocket) or isinstance(sink, ssl.SSLSocket):
                _copy(source, sink)
            else:
                _move(source, sink)
        except OSError:
            # Unread bytes would turn our close into a reset, which takes back what the source is still to read.
            _discard(source)
    with contextlib.suppress(OSError):
        _end(sink)


def _move(source: socket.socket, sink: socket.socket) -> None:
    """In the kernel, through a pipe; a full sink holds the source back."""
    readable, writable = greenlets.Watch(source.fileno()), greenlets.Watch(sink.fileno())
    try:
        moved_at = 0.0
        while True:
            readable.wait(read=True)
            with _pipe() as (reading_end, writing_end):
                try:
                    size = waiting = os.splice(source.fileno(), writing_end, CHUNK_BYTES, flags=os.SPLICE_F_NONBLOCK)
                except BlockingIOError:
                    continue
                if not size:
                    return
                while waiting:
                    try:
                        waiting -= os.splice(reading_end, sink.fileno(), waiting, flags=os.SPLICE_F_NONBLOCK)
                    except BlockingIOError:
                        writable.wait(write=True)
            before, moved_at = moved_at, time.monotonic()
            if size < _SMALL_BYTES and moved_at - before < _BURST_PAUSE_SECS:
                greenlets.sleep(_BURST_PAUSE_SECS)
    finally:
        readable.close()
        writable.close()


_idle_pipes: list[tuple[int, int]] = []


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """An empty pipe, for as long as bytes are in it: an idle connection needs none."""
    ends = _idle_pipes.pop() if _idle_pipes else _new_pipe()
    try:
        yield ends
        _idle_pipes.append(ends)
    except BaseException:
        # Something may be left in it.
        for end in ends:
            os.close(end)
        raise


def _new_pipe() -> tuple[int, int]:
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # Past the user's quota of pipe memory it stays as small as it is.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return ends


def _copy(source: socket.socket, sink: socket.socket) -> None:
    buffer = memoryview(bytearray(CHUNK_BYTES))
    while count := source.recv_into(buffer):
        sink.sendall(buffer[:count])


def _discard(source: socket.socket) -> None:
    while source.recv(CHUNK_BYTES):
        pass


def _end(sink: socket.socket) -> None:
    """A FIN alone: SSLSocket's own `shutdown` would end its reading too."""
    if isinstance(sink, ssl.SSLSocket):
        super(ssl.SSLSocket, sink).shutdown(socket.SHUT_WR)
    else:
        sink.shutdown(socket.SHUT_WR)
