"""SSH to devices, on libssh in non-blocking mode: the hub waits, never the process (pitfalls 11)."""

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ssh import options
from ssh.channel import Channel
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import EOF, BaseSSHError
from ssh.session import SSH_AUTH_AGAIN, SSH_READ_PENDING, SSH_WRITE_PENDING, Session

from netstacks import greenlets
from netstacks.errors import DeviceError, DeviceUnreachable
from netstacks.terminal import ssh_login
from netstacks.terminal.hostkeys import HostKey

CONNECT_SECS = 10.0
LOGIN_SECS = 20.0
# A host that is gone is noticed by the kernel after about this long, typing or not.
DEAD_HOST_SECS = 90
# Key exchange computes for tens of milliseconds in C: so many at a time leave the loop to others.
_KEY_EXCHANGES = greenlets.BoundedSemaphore(4)
# Output of this size is seldom the last; a smaller piece is handed out before libssh is asked for more.
_MORE_BYTES = 1024
# How long the device has for telling how its shell has ended.
_EXIT_STATUS_SECS = 0.5
# So long a reader waits before its greenlet ends: an idle terminal keeps none.
_SILENCE_SECS = 5.0
# What one call of libssh takes of what is typed.
_WRITE_BYTES = 32 * 1024

# Added to libssh's own lists for devices that are allowed them: what network gear of the 2000s speaks.
_LEGACY = (
    (options.KEY_EXCHANGE, "diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1,diffie-hellman-group1-sha1"),
    (options.HOSTKEYS, "ssh-rsa"),
    (options.PUBLICKEY_ACCEPTED_TYPES, "ssh-rsa"),
    (options.CIPHERS_C_S, "aes256-cbc,aes192-cbc,aes128-cbc,3des-cbc"),
    (options.CIPHERS_S_C, "aes256-cbc,aes192-cbc,aes128-cbc,3des-cbc"),
    (options.HMAC_C_S, "hmac-sha1"),
    (options.HMAC_S_C, "hmac-sha1"),
)


@dataclass(frozen=True)
class SshTarget:
    """What to dial, how to log in, and the terminal to ask for."""

    host: str
    port: int
    username: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    legacy_algorithms: bool = False
    term: str = "xterm-256color"
    cols: int = 80
    rows: int = 24

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def open_shell(target: SshTarget, *, check_host_key: Callable[[HostKey], None]) -> "Shell":
    """Connects, has the host key checked, logs in and opens a shell; it may be killed anywhere and leaves nothing.

    `check_host_key` raises HostKeyRejected to refuse, and may wait for a person: no deadline runs meanwhile. Raises
    DeviceUnreachable, DeviceLoginRefused or DeviceError, all in words for the user.
    """
    connection = Connection(target)
    try:
        with greenlets.deadline(CONNECT_SECS, DeviceUnreachable(f"{target.address} did not answer as an SSH server")):
            connection.connect()
        check_host_key(connection.host_key())
        with greenlets.deadline(LOGIN_SECS, DeviceError(f"{target.address} took too long to log in")):
            ssh_login.log_in(connection, target)
            return Shell(connection, _open_channel(connection, target))
    except BaseException:
        connection.close()
        raise


class Connection:
    """A libssh session and the hub's view of its socket."""

    def __init__(self, target: SshTarget) -> None:
        self._address = target.address
        self._legacy_algorithms = target.legacy_algorithms
        try:
            sock = socket.create_connection((target.host, target.port), timeout=CONNECT_SECS)
        except OSError as error:
            raise DeviceUnreachable(f"{target.address} cannot be reached: {error.strerror or error}") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_HOST_SECS * 1000)
        sock.setblocking(False)
        self.session = Session()
        self.session.options_set(options.HOST, target.host)
        self.session.options_set(options.USER, target.username)
        self.session.options_set_port(target.port)
        # Neither this account's ~/.ssh/config nor its known hosts are the device's business.
        self.session.options_set_int_val(options.PROCESS_CONFIG, 0)
        if target.legacy_algorithms:
            for option, names in _LEGACY:
                self.session.options_set(option, f"+{names}")
        self.session.set_blocking(0)
        self.session.set_socket(sock)
        # Once connecting, libssh closes the descriptor when its session is freed; closed twice it would cut another one
        # (pitfalls 11).
        self._fd = sock.detach()
        self._is_libsshs = False
        self.watch = self.new_watch()
        self.is_closed = False

    def new_watch(self) -> greenlets.Watch:
        """For one more greenlet that waits for the device."""
        return greenlets.Watch(self._fd)

    def connect(self) -> None:
        self.watch.wait(read=True)
        try:
            with _KEY_EXCHANGES:
                self._is_libsshs = True
                self.drive(self.session.connect)
        except BaseSSHError as error:
            raise DeviceUnreachable(f"{self._address}: {self._advice(self.why(error))}") from error

    def _advice(self, text: str) -> str:
        if "no match" in text and not self._legacy_algorithms:
            return f"{text}. An old device may need the legacy algorithms, which its entry can allow"
        return text

    def host_key(self) -> HostKey:
        key = self.session.get_server_publickey()
        return HostKey(str(key.key_type()), key.export_pubkey_base64().decode())

    def drive(self, call: Callable[..., int], *arguments: object) -> int:
        """Repeats a non-blocking call until it is done; returns what it says then, or raises libssh's error."""
        while (result := call(*arguments)) in (SSH_AGAIN, SSH_AUTH_AGAIN):
            flags = self.session.get_poll_flags()
            write = bool(flags & SSH_WRITE_PENDING)
            self.watch.wait(read=bool(flags & SSH_READ_PENDING) or not write, write=write)
        return result

    def why(self, error: Exception) -> str:
        """What went wrong, in libssh's words; its exceptions often have none."""
        for words in (*error.args, self.session.get_error()):
            text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
            if not text.lstrip("-").isdigit() and text:
                return text
        return "no reason was given"

    def close(self) -> None:
        """Ends the connection now; the descriptor goes with the last greenlet that still has it in hand."""
        if not self.is_closed:
            self.is_closed = True
            self.watch.close()
            with contextlib.suppress(BaseSSHError):
                self.session.disconnect()
            sock = socket.socket(fileno=self._fd)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            if self._is_libsshs:
                sock.detach()
            sock.close()
            del self.session


def _open_channel(connection: Connection, target: SshTarget) -> Channel:
    channel = connection.session.channel_new()
    for what, call, arguments in (
        ("open a session", channel.open_session, ()),
        ("give a terminal", channel.request_pty_size, (target.term, target.cols, target.rows)),
        ("start a shell", channel.request_shell, ()),
    ):
        try:
            connection.drive(call, *arguments)
        except BaseSSHError as error:
            raise DeviceError(f"{target.address} refused to {what}: {connection.why(error)}") from error
    return channel


class Shell:
    """A shell on a device: the `Transport` of a session."""

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._writing = greenlets.BoundedSemaphore(1)
        self._writable: greenlets.Watch | None = None
        self.close_reason = "the device closed the connection"

    def read(self, max_bytes: int) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        while not self._connection.is_closed:
            try:
                count, data = self._channel.read_nonblocking(max_bytes - size)
            except EOF:
                self._note_exit()
                break
            except BaseSSHError as error:
                self.close_reason = str(self._lost(error))
                break
            if count > 0:
                pieces.append(data)
                size += count
                if count >= _MORE_BYTES and size < max_bytes:
                    continue
            if pieces:
                break
            try:
                with greenlets.deadline(_SILENCE_SECS, TimeoutError()):
                    self._connection.watch.wait(read=True)
            except TimeoutError:
                return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def call_when_readable(self, callback: Callable[[], Any]) -> None:
        self._connection.watch.call(callback)

    def _note_exit(self) -> None:
        status = self._channel.get_exit_status()
        if status < 0:
            # It comes after the end of the output, if the device sends one at all.
            with contextlib.suppress(TimeoutError, EOF), greenlets.deadline(_EXIT_STATUS_SECS, TimeoutError()):
                self._connection.watch.wait(read=True)
                self._channel.poll()
            if not self._connection.is_closed:
                status = self._channel.get_exit_status()
        if status > 0:
            self.close_reason = f"the device closed the connection (exit status {status})"

    def try_write(self, data: bytes) -> int:
        if self._writing.locked():
            return 0
        try:
            written = self._write_some(data)
            if self._connection.session.blocking_flush(0) == SSH_AGAIN:
                greenlets.spawn("ssh-flusher", self._flush_later)
        except (BaseSSHError, OSError) as error:
            raise self._lost(error) from error
        return written

    def write(self, data: bytes) -> None:
        with self._writing:
            try:
                while data:
                    written = self._write_some(data)
                    self._flush()
                    if not written:
                        self._wait(read=True)
                        self._take_news()
                    data = data[written:]
            except (BaseSSHError, OSError) as error:
                raise self._lost(error) from error

    def _write_some(self, data: bytes) -> int:
        if self._connection.is_closed:
            raise DeviceError("the connection to the device is closed")
        room = min(self._channel.window_size(), _WRITE_BYTES)
        if not room:
            return 0  # libssh would wait for the device's window, and the whole process with it.
        _, written = self._channel.write(data[:room])
        # Writing, libssh takes in what has come, too, and the reader's descriptor does not tell of it any more.
        self._connection.watch.wake()
        return max(0, int(written))

    def _take_news(self) -> None:
        """Has libssh look at what has come: the device's window opens by a message among its output."""
        if not self._connection.is_closed:
            self._channel.poll()
            self._connection.watch.wake()

    def _flush(self) -> None:
        while not self._connection.is_closed and self._connection.session.blocking_flush(0) == SSH_AGAIN:
            self._connection.watch.wake()
            self._wait(write=True)

    def _flush_later(self) -> None:
        # An error is the reader's to tell.
        with self._writing, contextlib.suppress(BaseSSHError, OSError):
            self._flush()

    def _wait(self, *, read: bool = False, write: bool = False) -> None:
        if self._writable is None:
            self._writable = self._connection.new_watch()
        self._writable.wait(read=read, write=write)

    def resize(self, cols: int, rows: int) -> None:
        # An error is the reader's to tell.
        with contextlib.suppress(BaseSSHError):
            if not self._connection.is_closed:
                self._channel.change_pty_size(cols, rows)

    def close(self) -> None:
        if not self._connection.is_closed:
            with contextlib.suppress(BaseSSHError):
                self._channel.close()
            if self._writable is not None:
                self._writable.close()
            self._connection.close()
            del self._channel

    def _lost(self, error: Exception) -> DeviceError:
        return DeviceError(f"the connection to the device was lost ({self._connection.why(error)})")
