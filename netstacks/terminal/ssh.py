"""SSH to devices, on libssh in non-blocking mode: the hub waits, never the process (pitfalls 11)."""

import contextlib
import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ssh import options
from ssh.channel import Channel
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import BaseSSHError
from ssh.session import SSH_AUTH_AGAIN, SSH_READ_PENDING, SSH_WRITE_PENDING, Session

from netstacks import greenlets
from netstacks.errors import DeviceError, DeviceUnreachable, OpeningAbandoned
from netstacks.terminal import ssh_login
from netstacks.terminal.hostkeys import HostKey
from netstacks.terminal.shell import Shell

CONNECT_SECS = 10.0
LOGIN_SECS = 20.0
# A host that is gone is noticed by the kernel after about this long, typing or not.
DEAD_HOST_SECS = 90
# How often an opening looks whether its client is still there.
_ASK_SECS = 0.5
# Key exchange computes for tens of milliseconds in C. One step at a time, with a turn of the loop behind each, leaves
# the loop to others. Nothing is waited for inside: a device that stalls must not keep others from their log-ins.
_COMPUTING = greenlets.BoundedSemaphore(1)

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


def open_shell(
    target: SshTarget,
    *,
    check_host_key: Callable[[HostKey], None],
    is_abandoned: Callable[[], bool] = lambda: False,
) -> "Shell":
    """Connects, has the host key checked, logs in and opens a shell; what it raises, it leaves nothing behind.

    `check_host_key` raises HostKeyRejected to refuse, and may wait for a person: no time limit runs meanwhile.
    `is_abandoned` is asked several times a second. Raises DeviceUnreachable, DeviceLoginRefused, OpeningAbandoned or
    DeviceError, all in words for the user.
    """
    connection = Connection(target, is_abandoned)
    try:
        connection.limit(CONNECT_SECS, DeviceUnreachable(f"{target.address} did not answer as an SSH server"))
        connection.connect()
        check_host_key(connection.host_key())
        connection.limit(LOGIN_SECS, DeviceError(f"{target.address} took too long to log in"))
        ssh_login.log_in(connection, target)
        return Shell(connection, _open_channel(connection, target))
    except BaseException:
        connection.close()
        raise


class Connection:
    """A libssh session and the hub's view of its socket."""

    def __init__(self, target: SshTarget, is_abandoned: Callable[[], bool]) -> None:
        self._address = target.address
        self._is_abandoned = is_abandoned
        self._ends_at = math.inf
        self._too_late: DeviceError = DeviceError("the device took too long")
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
        # libssh closes its descriptor whenever it finds the connection broken, and its number is another connection's
        # by then. So it gets one of its own, and ours is closed by `close` alone, after the last watch.
        self._socket = sock
        self._lent = sock.dup()
        self._is_libsshs = False
        self.session.set_socket(self._lent)
        self.watch = self.new_watch()
        self.is_closed = False

    def new_watch(self) -> greenlets.Watch:
        """For one more greenlet that waits for the device; to be closed before the connection is."""
        return greenlets.Watch(self._socket.fileno())

    @property
    def is_broken(self) -> bool:
        """Whether libssh has found the connection at its end, and says nothing more about it."""
        return self.is_closed or not self.session.is_connected()

    def limit(self, secs: float, error: DeviceError) -> None:
        """Has every wait from now on raise `error` after `secs`."""
        self._ends_at, self._too_late = time.monotonic() + secs, error

    def connect(self) -> None:
        self._wait(read=True)
        try:
            # From here on libssh closes it, at the latest when its session is freed.
            self._lent.detach()
            self._is_libsshs = True
            self.drive(self.session.connect)
        except BaseSSHError as error:
            raise DeviceUnreachable(f"{self._address}: {self._advice(self.why(error))}") from error

    def _remaining_secs(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def _wait(self, *, read: bool = False, write: bool = False) -> None:
        """Waits for the device outside of libssh, so that giving up leaves libssh as it is."""
        happened = False
        while not happened:
            happened = self.watch.wait(read=read, write=write, timeout_secs=min(self._remaining_secs(), _ASK_SECS))
            if self._is_abandoned():
                raise OpeningAbandoned("the client has left")
            if not self._remaining_secs():
                raise self._too_late

    def _advice(self, text: str) -> str:
        if "no match" in text and not self._legacy_algorithms:
            return f"{text}. An old device may need the legacy algorithms, which its entry can allow"
        return text

    def host_key(self) -> HostKey:
        key = self.session.get_server_publickey()
        return HostKey(str(key.key_type()), key.export_pubkey_base64().decode())

    def drive(self, call: Callable[..., int], *arguments: object) -> int:
        """Repeats a non-blocking call until it is done; returns what it says then, or raises libssh's error."""
        while (result := self._step(call, *arguments)) in (SSH_AGAIN, SSH_AUTH_AGAIN):
            flags = self.session.get_poll_flags()
            write = bool(flags & SSH_WRITE_PENDING)
            self._wait(read=bool(flags & SSH_READ_PENDING) or not write, write=write)
        return result

    @staticmethod
    def _step(call: Callable[..., int], *arguments: object) -> int:
        with _COMPUTING:
            try:
                return call(*arguments)
            finally:
                greenlets.sleep(0)

    def why(self, error: Exception) -> str:
        """What went wrong, in libssh's words; its exceptions often have none."""
        for words in (*error.args, self.session.get_error()):
            text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
            if not text.lstrip("-").isdigit() and text:
                return text
        return "no reason was given"

    def close(self) -> None:
        """Ends the connection now. libssh's session is freed with the last greenlet that still has it in hand."""
        if not self.is_closed:
            self.is_closed = True
            self.watch.close()
            with contextlib.suppress(BaseSSHError):
                self.session.disconnect()
            if not self._is_libsshs:
                self._lent.close()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
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
