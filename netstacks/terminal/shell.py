"""A shell on a device over libssh: reads and writes in non-blocking mode, and waits outside of libssh."""

import contextlib
from collections.abc import Callable
from typing import Any

from ssh.channel import Channel
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import EOF, BaseSSHError
from ssh.session import SSH_WRITE_PENDING

from netstacks import greenlets
from netstacks.errors import DeviceError
from netstacks.terminal.ssh_connection import Connection

# More output usually follows a piece of this size; a smaller one is returned without another read.
_MORE_BYTES = 1024
# How long to wait for the exit status after the end of the output.
_EXIT_STATUS_SECS = 0.5
# A reader waits this long before its greenlet ends: an idle terminal keeps none.
_SILENCE_SECS = 5.0
# The limit of one write call of libssh.
_WRITE_BYTES = 32 * 1024


class Shell:
    """The `Transport` of a session."""

    def __init__(self, connection: Connection, channel: Channel, *, is_confirmed: bool = True) -> None:
        self._connection = connection
        self._channel = channel
        self._is_confirmed = is_confirmed
        # Held by the one greenlet that waits for the device's window or socket in order to send.
        self._writing = greenlets.BoundedSemaphore(1)
        # The watch of that greenlet; the connection's own watch is the reader's.
        self._writable: greenlets.Watch | None = None
        self.close_reason = "the device closed the connection"

    def read(self, max_bytes: int) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        counter = self._connection.counter
        while not self._connection.is_closed:
            received_bytes = counter.in_bytes
            try:
                data = self._read_some(max_bytes - size)
            except EOF:
                self._note_exit()
                break
            except BaseSSHError as error:
                self.close_reason = str(self._lost(error))
                break
            if self._writable is not None and counter.in_bytes != received_bytes:
                # The read may have taken in a window adjustment, so the writer's descriptor does not become readable.
                self._writable.wake()
            if data:
                pieces.append(data)
                size += len(data)
                if len(data) >= _MORE_BYTES and size < max_bytes:
                    continue
            if pieces:
                break
            if self._connection.is_broken:
                self.close_reason = str(self._lost(DeviceError()))
                break
            # libssh queues replies to what it has read: the reply to a keepalive must not wait for the next key.
            self._send_queued()
            if counter.in_bytes != received_bytes:
                continue  # Output may have been taken in with stderr: the descriptor does not become readable for it.
            if not self._connection.watch.wait(read=True, timeout_secs=_SILENCE_SECS):
                return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_some(self, max_bytes: int) -> bytes:
        """Available stdout and stderr, which a terminal shows alike. Raises EOF at the end."""
        try:
            count, output = self._channel.read_nonblocking(max_bytes)
        except EOF:
            return self._read_errors(max_bytes)
        if 0 < count < _MORE_BYTES or count == max_bytes:
            return bytes(output)
        output = bytes(output) if count > 0 else b""
        try:
            return output + self._read_errors(max_bytes - len(output))
        except (EOF, BaseSSHError):
            if not output:
                raise
            return output

    def _read_errors(self, max_bytes: int) -> bytes:
        count, errors = self._channel.read_nonblocking(max_bytes, True)
        return bytes(errors) if count > 0 else b""

    def call_when_readable(self, callback: Callable[[], Any]) -> None:
        self._connection.watch.call(callback)

    def _note_exit(self) -> None:
        status, signal = self._exit_state()
        if status < 0 and not signal:
            # The exit status comes after the end of the output, if the device sends one (RFC 4254, section 6.10).
            self._connection.watch.wait(read=True, timeout_secs=_EXIT_STATUS_SECS)
            if self._connection.is_closed:
                return  # Closed meanwhile by this side: libssh's objects must not be used any more.
            with contextlib.suppress(EOF, BaseSSHError):
                self._channel.poll()
            status, signal = self._exit_state()
        if signal:
            self.close_reason = f"the device closed the connection (signal {signal})"
        elif status > 0:
            self.close_reason = f"the device closed the connection (exit status {status})"

    def _exit_state(self) -> tuple[int, str]:
        """The exit status, or -1 without one, and the name of the signal that ended the shell."""
        status, signal, _ = self._channel.get_exit_state()
        return status, signal.decode(errors="replace") if signal else ""

    def try_write(self, data: bytes) -> int:
        if self._writing.locked():
            return 0
        try:
            written = self._write_some(data)
            self._send_queued()
        except (BaseSSHError, OSError) as error:
            raise self._lost(error) from error
        return written

    def write(self, data: bytes, goes_on: Callable[[], bool] = lambda: True) -> int:
        done = 0
        with self._writing:
            try:
                while done < len(data) and goes_on():
                    written = self._write_some(data[done:])
                    done += written
                    self._flush()
                    if self._connection.is_broken:
                        raise DeviceError("the connection to the device is closed")
                    # No yield between the check and the wait: the window could open unnoticed.
                    if not written and not self._channel.window_size():
                        self._wait(read=True)
                        self._process_received()
            except (BaseSSHError, OSError) as error:
                raise self._lost(error) from error
        return done

    def _write_some(self, data: bytes) -> int:
        if self._connection.is_broken:
            raise DeviceError("the connection to the device is closed")
        room = min(self._channel.window_size(), _WRITE_BYTES)
        if not room:
            return 0  # libssh would block the whole process until the device's window opens.
        counter = self._connection.counter
        received_bytes = counter.in_bytes
        _, written = self._channel.write(data[:room])
        if counter.in_bytes != received_bytes:
            # The call has taken in received packets, so the reader's descriptor does not become readable for them.
            self._connection.watch.wake()
        return max(0, int(written))

    def _process_received(self) -> None:
        """Makes libssh process received packets: a window adjustment may be among them."""
        if not self._connection.is_broken:
            self._channel.poll()
            self._connection.watch.wake()

    def _flush(self) -> None:
        counter = self._connection.counter
        while not self._connection.is_broken:
            received_bytes = counter.in_bytes
            result = self._connection.session.blocking_flush(0)
            if counter.in_bytes != received_bytes:
                self._connection.watch.wake()
            if result != SSH_AGAIN:
                return
            self._wait(write=True)

    def _send_queued(self) -> None:
        """Sends what libssh has queued, as far as the socket accepts it now; a greenlet sends the rest.

        Nothing else does: libssh sends a second message in a row only with the next call that waits.
        """
        session = self._connection.session
        # Asked first, because a flush polls the socket, and most keys leave nothing queued.
        if not session.get_status() & SSH_WRITE_PENDING:
            return
        # One greenlet suffices: the holder of `_writing` flushes too.
        if session.blocking_flush(0) == SSH_AGAIN and not self._writing.locked():
            greenlets.spawn("ssh-flusher", self._flush_later)

    def _flush_later(self) -> None:
        # The reader sees the error too, and reports it.
        with self._writing, contextlib.suppress(BaseSSHError, OSError):
            self._flush()

    def _wait(self, *, read: bool = False, write: bool = False) -> None:
        if self._writable is None:
            self._writable = self._connection.new_watch()
        self._writable.wait(read=read, write=write)

    def resize(self, cols: int, rows: int) -> None:
        # The reader sees the error too, and reports it.
        with contextlib.suppress(BaseSSHError, OSError):
            if not self._connection.is_broken:
                # Both calls may take in received packets.
                if self._can_request():
                    self._channel.change_pty_size(cols, rows)
                self._connection.watch.wake()
                self._send_queued()

    def _can_request(self) -> bool:
        """Whether the device has answered the shell request: until then libssh sends no other request."""
        if not self._is_confirmed:
            self._is_confirmed = self._channel.request_shell() != SSH_AGAIN
        return self._is_confirmed

    def close(self) -> None:
        if not self._connection.is_closed:
            with contextlib.suppress(BaseSSHError):
                self._channel.close()
                self._connection.session.blocking_flush(0)
            if self._writable is not None:
                self._writable.close()
            self._connection.close()
            del self._channel

    def _lost(self, error: Exception) -> DeviceError:
        return DeviceError(f"the connection to the device was lost: {self._connection.explain(error)}")
