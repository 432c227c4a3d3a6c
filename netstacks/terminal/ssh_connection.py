"""An SSH connection to a device, on libssh in non-blocking mode: only greenlets wait, never the process."""

import contextlib
import math
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ssh import options
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import BaseSSHError
from ssh.session import SSH_AUTH_AGAIN, SSH_READ_PENDING, SSH_WRITE_PENDING, Session

from netstacks import greenlets
from netstacks.errors import DeviceError, DeviceUnreachable
from netstacks.terminal import algorithms, libssh, ssh_reasons
from netstacks.terminal.dialling import dial
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.host_key import HostKey
from netstacks.terminal.ssh_target import SshTarget

CONNECT_SECS = 20.0
# The kernel reports a dead host after about this long, with or without input.
DEAD_HOST_SECS = 90
# TCP_ESTABLISHED of the kernel (tcp_states.h): neither side has closed the connection.
_ESTABLISHED = 1
# How often an opening checks whether its client is still there.
_CHECK_SECS = 0.5
# A step of key exchange computes for tens of milliseconds in C. One step at a time, each followed by a turn of the
# event loop, keeps the loop responsive. No step waits for the device: a stalled device must not delay other log-ins.
_COMPUTE_SLOT = greenlets.BoundedSemaphore(1)


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a log-in.

    `check_host_key` raises HostKeyRejected to refuse, and may wait for a user: no time limit runs meanwhile.
    `before_secret` is called before a stored secret is sent. `secret_refused` is called with the reason when the device
    has refused the stored secret and the log-in continues. `thinking` is entered while the user answers a question.
    `on_wait` is called about twice a second during a wait for the device. `on_new_password` gets the password that the
    user has chosen at the device's request.
    """

    check_host_key: Callable[[HostKey], None]
    before_secret: Callable[[], None] = lambda: None
    secret_refused: Callable[[str], None] = lambda reason: None
    thinking: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    on_wait: Callable[[], None] = lambda: None
    on_new_password: Callable[[str], None] = lambda password: None


class Connection:
    """A libssh session and its socket. Every call of libssh returns at once; waits are here."""

    def __init__(self, target: SshTarget, hooks: Hooks, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.hooks = hooks
        self._address = target.address
        self._level = target.algorithms
        self._patience_secs = target.patience_secs
        self._step_name = ""
        self._began_at = 0.0
        self._ends_at = math.inf
        self._last_banner = b""
        connect_secs = min(CONNECT_SECS, target.patience_secs)
        with self.step("the device to accept the connection", connect_secs):
            sock = dial(target.host, target.port, timeout_secs=connect_secs, is_abandoned=self._show_progress)
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
        # libssh requires a host name without using it, as the socket is connected, and rejects some valid names.
        self.session.options_set(options.HOST, "device")
        try:
            self.session.options_set(options.USER, target.username)
        except BaseSSHError as error:
            sock.close()
            raise DeviceError(
                f"this controller's SSH library does not accept the user name {target.username!r}: it must not begin"
                " with a dash or contain quotes, semicolons, backquotes or pipes"
            ) from error
        # ~/.ssh/config and known hosts of this account must not affect connections to devices.
        self.session.options_set_int_val(options.PROCESS_CONFIG, 0)
        for option, names in algorithms.added_options(target.algorithms):
            self.session.options_set(option, names)
        if target.algorithms == "antique":
            libssh.allow_short_rsa(self.session)
        self.session.set_blocking(0)
        # libssh closes its descriptor when it finds the connection broken, and the kernel reuses the number at once
        # (docs/design-notes.md, 11). So libssh gets a duplicate, and only `close` closes `_socket`, after all watches.
        self._socket = sock
        self._libssh_socket = sock.dup()
        # Whether libssh closes its descriptor itself: from the first step of `connect` on.
        self._is_adopted = False
        self.session.set_socket(self._libssh_socket)
        self.watch = self.new_watch()
        self.is_closed = False

    def new_watch(self) -> greenlets.Watch:
        """A watch for one more greenlet that waits for the device; to be closed before the connection is closed."""
        return greenlets.Watch(self._socket.fileno())

    @property
    def is_broken(self) -> bool:
        """Whether libssh has found the connection broken, or it is closed."""
        return self.is_closed or not self.session.is_connected()

    def has_hung_up(self) -> bool:
        """Whether the device has closed its side, even if unread output is left."""
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED

    @contextlib.contextmanager
    def step(self, what: str, patience_secs: float | None = None) -> Iterator[None]:
        """Names what the waits in the block are for, for progress and errors, and limits their total time."""
        self._step_name, self._began_at = what, time.monotonic()
        self._ends_at = self._began_at + (patience_secs or self._patience_secs)
        try:
            yield
        finally:
            self.dialogue.progress(None)

    def connect(self) -> None:
        """Exchanges versions and keys (RFC 4253, sections 4 and 7). Raises DeviceUnreachable."""
        short_key = libssh.LogWatch(b"is not allowed by RSA_MIN_SIZE")
        with self.step("the device to introduce itself and agree on keys"):
            self.wait(read=True)
            try:
                # From here on libssh closes the descriptor, at the latest when its session is freed.
                self._libssh_socket.detach()
                self._is_adopted = True
                self.drive(short_key.call, self.session.connect)
            except BaseSSHError as error:
                why = self._why_not_connected(error, short_key.line)
                raise DeviceUnreachable(f"{self._address}: {why}") from error

    def _why_not_connected(self, error: BaseSSHError, short_key: bytes) -> str:
        if size := re.search(rb"of size (\d+)", short_key):
            bits = int(size[1])
            advice = "set the device's algorithms to antique" if bits >= libssh.MIN_RSA_BITS else "no level helps"
            return f"the device's RSA host key has {bits} bits, which the level {self._level} does not allow: {advice}"
        version = ssh_reasons.text_of(self.session.get_serverbanner())
        if version.startswith("SSH-1.") and not version.startswith("SSH-1.99"):
            return (
                f"the device speaks SSH version 1 only ({version}): this controller's SSH library does not support it"
            )
        return algorithms.advise(self.explain(error), self._level)

    def wait(self, *, read: bool = False, write: bool = False) -> None:
        """Waits for the device outside of libssh, so that an exception leaves libssh in a consistent state.

        Raises DeviceUnreachable when the step takes too long, OpeningAbandoned when the user cancels.
        """
        happened = False
        while not happened:
            secs = min(max(0.0, self._ends_at - time.monotonic()), _CHECK_SECS)
            happened = self.watch.wait(read=read, write=write, timeout_secs=secs)
            self._show_progress()
            self.dialogue.check()
            if time.monotonic() >= self._ends_at:
                took_secs = self._ends_at - self._began_at
                raise DeviceUnreachable(f"{self._address}: {took_secs:.0f} s were not enough for {self._step_name}")

    def _show_progress(self) -> bool:
        """Shows the user the progress; true when the user has cancelled."""
        self.hooks.on_wait()
        self.dialogue.wait(self._step_name, time.monotonic() - self._began_at)
        return self.dialogue.is_given_up

    def host_key(self) -> HostKey:
        """The device's host key, proven by the key exchange. Raises DeviceUnreachable when the connection is lost."""
        try:
            key = self.session.get_server_publickey()
            return HostKey(str(key.key_type()), key.export_pubkey_base64().decode())
        except BaseSSHError as error:
            raise DeviceUnreachable(f"{self._address}: {self.explain(error)}") from error

    def drive(self, call: Callable[..., int], *arguments: object) -> int:
        """Repeats a non-blocking call until it is done; returns its result, or raises libssh's error."""
        while (result := self.advance(call, *arguments)) in (SSH_AGAIN, SSH_AUTH_AGAIN):
            self.wait_for_progress()
        return result

    def wait_for_progress(self) -> None:
        """Waits for the socket events that libssh needs."""
        flags = self.session.get_poll_flags()
        write = bool(flags & SSH_WRITE_PENDING)
        self.wait(read=bool(flags & SSH_READ_PENDING) or not write, write=write)

    @staticmethod
    def advance(call: Callable[..., int], *arguments: object) -> int:
        """One step of a non-blocking call, then one turn of the event loop."""
        with _COMPUTE_SLOT:
            try:
                return call(*arguments)
            finally:
                greenlets.sleep(0)

    def new_banner(self) -> bytes:
        """The device's banner (RFC 4252, section 5.4), if it has changed since the last call; else b""."""
        banner = b"" if self.is_broken else self.session.get_issue_banner() or b""
        if banner == self._last_banner:
            return b""
        self._last_banner = banner
        return banner

    def why(self, error: Exception) -> str:
        """libssh's text for the error."""
        return ssh_reasons.words_of(error, self.session.get_error())

    def explain(self, error: Exception) -> str:
        """The device's text for the error where it has sent one, else libssh's."""
        return ssh_reasons.explain(self.why(error))

    def has_refused_by_disconnect(self) -> bool:
        """Whether the device has disconnected in answer to the log-in."""
        return ssh_reasons.is_refusal(ssh_reasons.text_of(self.session.get_error()))

    def close(self) -> None:
        """Closes the connection now. libssh's session is freed when the last greenlet drops its reference."""
        if not self.is_closed:
            self.is_closed = True
            self.watch.close()
            with contextlib.suppress(BaseSSHError):
                self.session.disconnect()
            if not self._is_adopted:
                self._libssh_socket.close()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self.counter.stop()
            del self.session
