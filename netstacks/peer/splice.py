"""Relays bytes in both directions between a client and the owner of its session, without parsing them.

Plain connections are spliced in the kernel, which costs a third less than copying (docs/design-notes.md, 11); TLS
connections are copied.
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
# A pipe holds a number of pieces, however small: this size has room for CHUNK_BYTES, at a third of the default's cost.
_PIPE_BYTES = 1024 * 1024
# A larger buffer would delay the effect of an interrupt key by the output queued in it.
BUFFER_BYTES = 256 * 1024
# Small pieces in quick succession are collected first: moved one by one they cost several times as much.
_SMALL_BYTES = 16 * 1024
_BURST_PAUSE_SECS = 0.0005
# After one side has ended, the other may send its remaining data for this long.
LINGER_SECS = 2.0
_KEEPALIVE_IDLE_SECS, _KEEPALIVE_INTERVAL_SECS, _KEEPALIVE_PROBES = 15, 5, 3
# Longer than the owner's keepalive timeout, so that the owner decides on a silent client.
_UNACKNOWLEDGED_MSECS = 60_000


def splice(client: socket.socket, upstream: socket.socket, *, to_client: bytes, to_upstream: bytes) -> None:
    """Sends the bytes read ahead, then relays until both sides have ended; closes both sockets.

    The end of one side is passed on as a FIN: a WebSocket close frame could land in the middle of another frame.
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
            # Close the sockets only when no greenlet waits for them, also when gunicorn kills this greenlet: the
            # descriptors may be reused at once, and libev aborts a process that waits for a closed one.
            hang_up(client, upstream)
            greenlets.joinall(pumps)


def hang_up(*sockets: socket.socket) -> None:
    """Shuts down both directions: greenlets waiting for these sockets wake up, and their owner closes them."""
    for each in sockets:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(each, socket.SHUT_RDWR)


def prepare(sock: socket.socket) -> None:
    """Sets TCP options: small frames are sent at once, buffers stay small, and a vanished host is detected."""
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
            # Unread bytes would turn the close into a reset (RFC 2525, 2.17), and the source would lose unread data.
            _discard(source)
    with contextlib.suppress(OSError):
        _end(sink)


def _move(source: socket.socket, sink: socket.socket) -> None:
    """Moves bytes in the kernel, through a pipe; a full sink slows the source down."""
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


# One per process, like the descriptors in it; every splice takes from it and returns to it.
_idle_pipes: list[tuple[int, int]] = []


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """An empty pipe for one move; an idle connection holds none."""
    ends = _idle_pipes.pop() if _idle_pipes else _new_pipe()
    try:
        yield ends
        _idle_pipes.append(ends)
    except BaseException:
        # Bytes may be left in the pipe, so it cannot be reused.
        for end in ends:
            os.close(end)
        raise


def _new_pipe() -> tuple[int, int]:
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # Beyond the user's quota of pipe memory the pipe keeps its default size.
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
    """Sends a FIN only: `SSLSocket.shutdown` would end reading as well."""
    if isinstance(sink, ssl.SSLSocket):
        super(ssl.SSLSocket, sink).shutdown(socket.SHUT_WR)
    else:
        sink.shutdown(socket.SHUT_WR)
