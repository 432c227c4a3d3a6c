"""Connecting to a device: the addresses of its name race for the first TCP connection (RFC 8305, Happy Eyeballs)."""

import errno
import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable, OpeningAbandoned
from netstacks.hosts import shown_address
from netstacks.terminal import lookup
from netstacks.terminal.lookup import Address

# How long an attempt runs alone before the next address is tried beside it (RFC 8305, section 5).
HEAD_START_SECS = 0.25
# How often a dial checks whether its client is still there.
_CHECK_SECS = 0.5
# The most addresses that an error names.
_MAX_NAMED = 8


def dial(host: str, port: int, *, timeout_secs: float, is_abandoned: Callable[[], bool]) -> socket.socket:
    """A connected, non-blocking TCP socket to `host`, which is a name or an address in its canonical form.

    The lookup and the connection may take `timeout_secs` together. `is_abandoned` is called about twice a second.
    Raises DeviceUnreachable, which names each address with the reason of its failure, or OpeningAbandoned. Leaves no
    other socket open.
    """
    deadline = _Deadline(timeout_secs, is_abandoned)
    address = lookup.literal(host)
    addresses = [address] if address is not None else _resolved(host, deadline)
    race = _Race(port, _interleaved(addresses))
    sock = race.run(deadline)
    if sock is None:
        raise DeviceUnreachable(f"{shown_address(host, port)} cannot be reached: {race.reasons(host)}")
    return sock


class _Deadline:
    """The time limit of a dial, which also ends when the client leaves."""

    def __init__(self, timeout_secs: float, is_abandoned: Callable[[], bool]) -> None:
        self.timeout_secs = timeout_secs
        self._ends_at = time.monotonic() + timeout_secs
        self._is_abandoned = is_abandoned

    def remaining_secs(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def wait(self, event: Any, secs: float) -> bool:
        """Waits for an Event or AsyncResult; False when it is not ready after `secs`, or at the deadline.

        Raises OpeningAbandoned.
        """
        until = time.monotonic() + min(secs, self.remaining_secs())
        while not event.ready():
            if self._is_abandoned():
                raise OpeningAbandoned("cancelled")
            left_secs = until - time.monotonic()
            if left_secs <= 0:
                return False
            event.wait(min(left_secs, _CHECK_SECS))
        return True


def _resolved(name: str, deadline: _Deadline) -> list[Address]:
    # At the deadline the caller stops waiting and the lookup goes on: a native thread cannot be cancelled.
    result = lookup.begin(name)
    if not deadline.wait(result, deadline.timeout_secs):
        raise lookup.failed(name, f"the name servers have not answered within {deadline.timeout_secs:g} s")
    try:
        addresses: list[Address] = result.get()
    except OSError as error:
        raise lookup.failed(name, lookup.why(error)) from error
    if not addresses:
        raise lookup.failed(name, "it has no address")
    return addresses


def _interleaved(addresses: list[Address]) -> list[Address]:
    """Alternates the address families, so that an unreachable one costs one head start; keeps the order of RFC 6724."""
    first = [address for address in addresses if address.family == addresses[0].family]
    second = [address for address in addresses if address.family != addresses[0].family]
    pairs = itertools.zip_longest(first, second)
    return [address for pair in pairs for address in pair if address is not None]


class _Race:
    """Connection attempts, each in a greenlet that owns its socket and closes it unless it connects first."""

    def __init__(self, port: int, addresses: list[Address]) -> None:
        self._port = port
        self._addresses = addresses
        # Addresses without an attempt yet.
        self._waiting = list(addresses)
        self._attempts: list[greenlets.Greenlet] = []
        self._watches: set[greenlets.Watch] = set()
        self._failures: dict[Address, str] = {}
        self._attempt_ended = greenlets.Event()
        # Set once, and never after `_is_over`: from then on no caller takes the socket.
        self._winner: socket.socket | None = None
        self._is_over = False

    def run(self, deadline: _Deadline) -> socket.socket | None:
        """The first connection, or None when no attempt connects in time."""
        try:
            while self._is_open() and deadline.remaining_secs():
                if self._waiting:
                    self._start(self._waiting.pop(0))
                self._attempt_ended.clear()
                if self._is_open():
                    deadline.wait(self._attempt_ended, HEAD_START_SECS if self._waiting else deadline.timeout_secs)
        except BaseException:
            # An attempt may have connected while `is_abandoned` ran.
            if self._winner is not None:
                self._winner.close()
            raise
        finally:
            # No yield between the exception and this line: a winner in between would have no owner.
            self._is_over = True
            for watch in self._watches:
                watch.wake()
            greenlets.joinall(self._attempts)
        return self._winner

    def _is_open(self) -> bool:
        """Whether no attempt has connected yet, and one still may."""
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
        # No yield between the check and the assignment: two attempts could win, or one after the end of the race.
        if self._is_over or self._winner is not None:
            sock.close()
        else:
            self._winner = sock

    def _wait_for(self, sock: socket.socket) -> None:
        """Waits until the connection is made or has failed, or the race is over."""
        watch = greenlets.Watch(sock.fileno())
        self._watches.add(watch)
        try:
            watch.wait(write=True)
        finally:
            self._watches.discard(watch)
            watch.close()

    def reasons(self, host: str) -> str:
        """Why each address failed, grouped by reason."""
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
