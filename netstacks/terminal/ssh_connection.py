"""SSH to devices, on libssh in non-blocking mode: the hub waits, never the process."""

import contextlib
import math
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ssh import options
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import BaseSSHError
from ssh.session import SSH_AUTH_AGAIN, SSH_READ_PENDING, SSH_WRITE_PENDING, Session

from netstacks import greenlets
from netstacks.errors import DeviceError, DeviceUnreachable
from netstacks.store.addresses import shown_address
from netstacks.terminal import algorithms, libssh, ssh_channel, ssh_reasons
from netstacks.terminal.algorithms import Level
from netstacks.terminal.dialling import dial
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.hostkeys import HostKey
from netstacks.terminal.shell import Shell
from netstacks.terminal.ssh_login import Login

CONNECT_SECS = 20.0
# How long a device may take for each step of a log-in, unless its entry says otherwise: AAA servers are slow.
PATIENCE_SECS = 60.0
# A host that is gone is noticed by the kernel after about this long, typing or not.
DEAD_HOST_SECS = 90
# The kernel's word for a connection that neither side has closed (tcp_states.h).
_ESTABLISHED = 1
# How often an opening looks whether its client is still there.
_ASK_SECS = 0.5
# Key exchange computes for tens of milliseconds in C. One step at a time, with a turn of the loop behind each, leaves
# the loop to others. Nothing is waited for inside: a device that stalls must not keep others from their log-ins.
_COMPUTING = greenlets.BoundedSemaphore(1)


@dataclass(frozen=True)
class SshTarget:
    """What to dial, how to log in, and the terminal to ask for.

    `encoding` is the character set of the device's texts; `patience_secs` is how long each step of the log-in may take.
    """

    host: str
    port: int
    username: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    algorithms: Level = "modern"
    encoding: str = "utf-8"
    patience_secs: float = PATIENCE_SECS
    term: str = "xterm-256color"
    cols: int = 80
    rows: int = 24

    @property
    def address(self) -> str:
        return shown_address(self.host, self.port)


@dataclass(frozen=True)
class Hooks:
    """What a log-in needs of its caller.

    `check_host_key` raises HostKeyRejected to refuse, and may wait for a person: no time limit runs meanwhile.
    `before_secret` is called before a stored secret is sent. `secret_refused` is called with the reason when the device
    has refused the stored secret and the log-in goes on. `thinking` is entered while the user is asked something.
    `on_wait` is called about twice a second while the device is waited for. `on_new_password` gets the password that
    the device has had its user choose.
    """

    check_host_key: Callable[[HostKey], None]
    before_secret: Callable[[], None] = lambda: None
    secret_refused: Callable[[str], None] = lambda reason: None
    thinking: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    on_wait: Callable[[], None] = lambda: None
    on_new_password: Callable[[str], None] = lambda password: None


def open_shell(target: SshTarget, hooks: Hooks, dialogue: Dialogue | None = None) -> Shell:
    """Connects, has the host key checked, logs in and opens a shell; what it raises, it leaves nothing behind.

    The user takes part through `dialogue`, and gives up there. Raises DeviceUnreachable, DeviceLoginRefused,
    OpeningAbandoned or DeviceError, all in words for the user.
    """
    connection = Connection(target, hooks, dialogue or Dialogue())
    try:
        connection.connect()
        hooks.check_host_key(connection.host_key())
        new_password = Login(connection, target).run()
        if new_password is not None:
            hooks.on_new_password(new_password)
        channel, is_confirmed = ssh_channel.open_channel(connection, target)
        return Shell(connection, channel, is_confirmed=is_confirmed)
    except BaseException:
        connection.close()
        raise


class Connection:
    """A libssh session and the hub's view of its socket."""

    def __init__(self, target: SshTarget, hooks: Hooks, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.hooks = hooks
        self._address = target.address
        self._level = target.algorithms
        self._patience_secs = target.patience_secs
        self._what = ""
        self._began_at = 0.0
        self._ends_at = math.inf
        self._heard_banner = b""
        connect_secs = min(CONNECT_SECS, target.patience_secs)
        with self.step("the device to accept the connection", connect_secs):
            sock = dial(target.host, target.port, timeout_secs=connect_secs, is_abandoned=self._look)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_HOST_SECS * 1000)
        sock.setblocking(False)
        self.session = Session()
        self.counter = libssh.Counter()
        self.counter.count(self.session)
        # libssh wants a name and does nothing with it: the connection is made. It knows fewer names than networks do.
        self.session.options_set(options.HOST, "device")
        try:
            self.session.options_set(options.USER, target.username)
        except BaseSSHError as error:
            sock.close()
            raise DeviceError(
                f"the user name {target.username!r} is none that this controller's SSH library takes: it must not begin"
                " with a dash or hold quotes, semicolons, backquotes or pipes"
            ) from error
        # Neither this account's ~/.ssh/config nor its known hosts are the device's business.
        self.session.options_set_int_val(options.PROCESS_CONFIG, 0)
        for option, names in algorithms.wishes(target.algorithms):
            self.session.options_set(option, names)
        if target.algorithms == "antique":
            libssh.allow_short_rsa(self.session)
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

    def has_hung_up(self) -> bool:
        """Whether the device has closed its side, whatever is still to be read from it."""
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED

    @contextlib.contextmanager
    def step(self, what: str, patience_secs: float | None = None) -> Iterator[None]:
        """Every wait in the block is for `what`, which the user is told of, and ends after the device's patience."""
        self._what, self._began_at = what, time.monotonic()
        self._ends_at = self._began_at + (patience_secs or self._patience_secs)
        try:
            yield
        finally:
            self.dialogue.progress(None)

    def connect(self) -> None:
        """Has both sides introduce themselves and agree on keys. Raises DeviceUnreachable."""
        short_key = libssh.Heard(b"is not allowed by RSA_MIN_SIZE")
        with self.step("the device to introduce itself and agree on keys"):
            self.wait(read=True)
            try:
                # From here on libssh closes it, at the latest when its session is freed.
                self._lent.detach()
                self._is_libsshs = True
                self.drive(short_key.call, self.session.connect)
            except BaseSSHError as error:
                why = self._why_not_connected(error, short_key.line)
                raise DeviceUnreachable(f"{self._address}: {why}") from error

    def _why_not_connected(self, error: BaseSSHError, short_key: bytes) -> str:
        if size := re.search(rb"of size (\d+)", short_key):
            bits = int(size[1])
            advice = "set the device's algorithms to antique" if bits >= libssh.SHORTEST_RSA_BITS else "no level helps"
            return f"the device's RSA host key has {bits} bits, which the level {self._level} does not allow: {advice}"
        version = ssh_reasons.text_of(self.session.get_serverbanner())
        if version.startswith("SSH-1.") and not version.startswith("SSH-1.99"):
            return (
                f"the device speaks SSH version 1 only ({version}), which this controller's SSH library does not know"
            )
        return algorithms.advise(self.explain(error), self._level)

    def wait(self, *, read: bool = False, write: bool = False) -> None:
        """Waits for the device outside of libssh, so that giving up leaves libssh as it is.

        Raises DeviceError when the step takes too long, OpeningAbandoned when the user gives up.
        """
        happened = False
        while not happened:
            secs = min(max(0.0, self._ends_at - time.monotonic()), _ASK_SECS)
            happened = self.watch.wait(read=read, write=write, timeout_secs=secs)
            self._look()
            self.dialogue.check()
            if time.monotonic() >= self._ends_at:
                took_secs = self._ends_at - self._began_at
                raise DeviceUnreachable(f"{self._address}: {took_secs:.0f} s were not enough for {self._what}")

    def _look(self) -> bool:
        """Tells the user what is waited for; true when they have given up."""
        self.hooks.on_wait()
        self.dialogue.wait(self._what, time.monotonic() - self._began_at)
        return self.dialogue.is_given_up

    def host_key(self) -> HostKey:
        """What the device has proven itself with. Raises DeviceUnreachable when it is gone again."""
        try:
            key = self.session.get_server_publickey()
            return HostKey(str(key.key_type()), key.export_pubkey_base64().decode())
        except BaseSSHError as error:
            raise DeviceUnreachable(f"{self._address}: {self.explain(error)}") from error

    def drive(self, call: Callable[..., int], *arguments: object) -> int:
        """Repeats a non-blocking call until it is done; returns what it says then, or raises libssh's error."""
        while (result := self.advance(call, *arguments)) in (SSH_AGAIN, SSH_AUTH_AGAIN):
            self.wait_for_progress()
        return result

    def wait_for_progress(self) -> None:
        """Waits for what libssh waits for."""
        flags = self.session.get_poll_flags()
        write = bool(flags & SSH_WRITE_PENDING)
        self.wait(read=bool(flags & SSH_READ_PENDING) or not write, write=write)

    @staticmethod
    def advance(call: Callable[..., int], *arguments: object) -> int:
        """One step of a non-blocking call."""
        with _COMPUTING:
            try:
                return call(*arguments)
            finally:
                greenlets.sleep(0)

    def new_banner(self) -> bytes:
        """What the device has said before the log-in has ended and was not asked for before (RFC 4252, section 5.4)."""
        banner = b"" if self.is_broken else self.session.get_issue_banner() or b""
        if banner == self._heard_banner:
            return b""
        self._heard_banner = banner
        return banner

    def why(self, error: Exception) -> str:
        """What went wrong, in libssh's words."""
        return ssh_reasons.words_of(error, self.session.get_error())

    def explain(self, error: Exception) -> str:
        """What went wrong: the device's words where it has sent some, else libssh's."""
        return ssh_reasons.explain(self.why(error))

    def has_refused_by_disconnect(self) -> bool:
        """Whether the device has ended the connection as its answer to a log-in."""
        return ssh_reasons.is_refusal(ssh_reasons.text_of(self.session.get_error()))

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
            self.counter.stop()
            del self.session
