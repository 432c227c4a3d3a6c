"""Dialling a device: all addresses of its name race for the first connection (RFC 8305, "happy eyeballs")."""

import errno
import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable, OpeningAbandoned
from netstacks.store.addresses import shown_address
from netstacks.terminal import lookup
from netstacks.terminal.lookup import Address

# How long an address has for its answer before the next one is tried beside it.
HEAD_START_SECS = 0.25
# How often a dial looks whether its client is still there.
_ASK_SECS = 0.5
# How many addresses an error names.
_MAX_NAMED = 8


def dial(host: str, port: int, *, timeout_secs: float, is_abandoned: Callable[[], bool]) -> socket.socket:
    """A connected, non-blocking TCP socket to `host`, which is a name or an address in its normal form.

    Looking up the name and connecting may take `timeout_secs` together. `is_abandoned` is asked about twice a second.
    Raises DeviceUnreachable, which names each address and why it failed, or OpeningAbandoned. A dial that returns or
    raises leaves no other socket open.
    """
    patience = _Patience(timeout_secs, is_abandoned)
    address = lookup.literal(host)
    addresses = [address] if address is not None else _resolved(host, patience)
    race = _Race(port, _interleaved(addresses))
    sock = race.run(patience)
    if sock is None:
        raise DeviceUnreachable(f"{shown_address(host, port)} cannot be reached: {race.reasons(host)}")
    return sock


class _Patience:
    """How long the client waits, and whether it still does."""

    def __init__(self, timeout_secs: float, is_abandoned: Callable[[], bool]) -> None:
        self.timeout_secs = timeout_secs
        self._ends_at = time.monotonic() + timeout_secs
        self._is_abandoned = is_abandoned

    def remaining_secs(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def wait(self, happening: Any, secs: float) -> bool:
        """Waits for an Event or AsyncResult; False when it has not come after `secs`, or when the time is up."""
        until = time.monotonic() + min(secs, self.remaining_secs())
        while not happening.ready():
            if self._is_abandoned():
                raise OpeningAbandoned("cancelled")
            left_secs = until - time.monotonic()
            if left_secs <= 0:
                return False
            happening.wait(min(left_secs, _ASK_SECS))
        return True


def _resolved(name: str, patience: _Patience) -> list[Address]:
    # The caller stops waiting, the lookup does not: nothing reaches into a native thread.
    asked = lookup.begin(name)
    if not patience.wait(asked, patience.timeout_secs):
        raise lookup.failed(name, f"the name servers have not answered within {patience.timeout_secs:g} s")
    try:
        addresses: list[Address] = asked.get()
    except OSError as error:
        raise lookup.failed(name, lookup.why(error)) from error
    if not addresses:
        raise lookup.failed(name, "it has no address")
    return addresses


def _interleaved(addresses: list[Address]) -> list[Address]:
    """Families by turns, so that one that leads nowhere costs one head start; else in the system's order (RFC 6724)."""
    first = [address for address in addresses if address.family == addresses[0].family]
    second = [address for address in addresses if address.family != addresses[0].family]
    pairs = itertools.zip_longest(first, second)
    return [address for pair in pairs for address in pair if address is not None]


class _Race:
    """Attempts to connect, each in a greenlet that owns its socket and closes it unless it is the first to connect."""

    def __init__(self, port: int, addresses: list[Address]) -> None:
        self._port = port
        self._addresses = addresses
        self._waiting = list(addresses)
        self._attempts: list[greenlets.Greenlet] = []
        self._watches: set[greenlets.Watch] = set()
        self._failures: dict[Address, str] = {}
        self._attempt_ended = greenlets.Event()
        self._winner: socket.socket | None = None
        self._is_over = False

    def run(self, patience: _Patience) -> socket.socket | None:
        """The first connection, or None when no address gives one in time."""
        try:
            while self._is_open() and patience.remaining_secs():
                if self._waiting:
                    self._start(self._waiting.pop(0))
                self._attempt_ended.clear()
                if self._is_open():
                    patience.wait(self._attempt_ended, HEAD_START_SECS if self._waiting else patience.timeout_secs)
        except BaseException:
            # An attempt may have won while the client was asked whether it had left.
            if self._winner is not None:
                self._winner.close()
            raise
        finally:
            # No yield here since the exception: a winner after it would have no owner.
            self._is_over = True
            for watch in self._watches:
                watch.wake()
            greenlets.joinall(self._attempts)
        return self._winner

    def _is_open(self) -> bool:
        """Whether there is no winner, and an address is left that may become one."""
        return self._winner is None and len(self._failures) < len(self._addresses)

    def _start(self, address: Address) -> None:
        self._attempts.append(greenlets.spawn(f"dial-{address.text}", self._attempt, address))

    def _attempt(self, address: Address) -> None:
        try:
            self._connect(address)
        except OSError as error:
            if not self._is_over:
                self._failures[address] = _reason(address, error)
        self._attempt_ended.set()

    def _connect(self, address: Address) -> None:
        if self._is_over:
            return
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            code = sock.connect_ex(address.at(self._port))
            if code == errno.EINPROGRESS:
                self._wait_for(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
        except BaseException:
            sock.close()
            raise
        # No yield here: two attempts would win, or one without a caller that waits for it.
        if self._is_over or self._winner is not None:
            sock.close()
        else:
            self._winner = sock

    def _wait_for(self, sock: socket.socket) -> None:
        """Until the connection has been made or has failed, or the race is over."""
        watch = greenlets.Watch(sock.fileno())
        self._watches.add(watch)
        try:
            watch.wait(write=True)
        finally:
            self._watches.discard(watch)
            watch.close()

    def reasons(self, host: str) -> str:
        """Why each address failed; addresses with the same reason stand together."""
        by_reason: dict[str, list[str]] = {}
        for address in self._addresses[:_MAX_NAMED]:
            untried = "was not tried" if address in self._waiting else "no answer"
            by_reason.setdefault(self._failures.get(address, untried), []).append(address.text)
        if list(by_reason.values()) == [[host]]:
            return next(iter(by_reason))
        more = len(self._addresses) - _MAX_NAMED
        texts = [f"{reason} ({', '.join(names)})" for reason, names in by_reason.items()]
        return "; ".join(texts) + (f"; and {more} more addresses" if more > 0 else "")


def _reason(address: Address, error: OSError) -> str:
    if error.errno == errno.EINVAL and address.text.startswith("fe80:") and not address.zone:
        return "a link-local address needs its zone, as in fe80::1%eth0"
    return error.strerror or str(error)
