"""DNS lookups of device names, in dedicated threads: unresponsive name servers delay nothing else."""

import _socket
import contextlib
import ipaddress
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable
from netstacks.hosts import shown_host

# An unresponsive name server occupies a thread for up to 30 s, even when the caller has given up.
_MAX_LOOKUPS = 32
_REASONS = {
    socket.EAI_NONAME: "there is no such name",
    socket.EAI_NODATA: "it has no address",
    socket.EAI_AGAIN: "the name servers do not answer, or have failed themselves",
}

_threads = greenlets.Threads(_MAX_LOOKUPS)
_running: dict[str, greenlets.AsyncResult] = {}
"""The unfinished lookups by name: concurrent callers share one."""


@dataclass(frozen=True)
class Address:
    """One numeric address of a host; `zone` is the zone index of an IPv6 address (RFC 4007), or 0."""

    family: socket.AddressFamily
    text: str
    zone: int = 0

    def at(self, port: int) -> tuple[Any, ...]:
        """The socket address for `connect`."""
        if self.family == socket.AF_INET:
            return (self.text, port)
        return (self.text.partition("%")[0], port, 0, self.zone)


def literal(host: str) -> Address | None:
    """The address if `host` is one, None for a name. Raises DeviceUnreachable for a zone that this machine lacks."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return Address(socket.AF_INET, host)
    return Address(socket.AF_INET6, host, _number(ip.scope_id) if ip.scope_id else 0)


def _number(zone: str) -> int:
    if zone.isdigit():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError as error:
        raise DeviceUnreachable(
            f"the zone {zone} is not an interface of this instance's machine: a link-local address can be reached from"
            " its own network alone"
        ) from error


def begin(name: str) -> greenlets.AsyncResult:
    """Starts the lookup of `name`, or joins a running one. Its `get` returns a list of Address, or raises gaierror.

    Raises DeviceUnreachable when too many other lookups are unfinished.
    """
    # No yield between the check and the insert: the name would be looked up twice.
    if name not in _running:
        if len(_running) >= _MAX_LOOKUPS:
            raise failed(name, f"the name servers have not answered {_MAX_LOOKUPS} other lookups yet: connect again")
        _running[name] = lookup = _threads.begin(_addresses, name)
        lookup.rawlink(partial(_forget, name))
    return _running[name]


def _forget(name: str, _: greenlets.AsyncResult) -> None:
    del _running[name]


def failed(name: str, reason: str) -> DeviceUnreachable:
    """The error for an unresolvable name: in the user's script, and in the form sent to the name servers (IDNA)."""
    shown = shown_host(name)
    return DeviceUnreachable(f"the name {name if shown == name else f'{shown} ({name})'} cannot be resolved: {reason}")


def why(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def _addresses(name: str) -> list[Address]:
    """Runs in a native thread, where gevent's `getaddrinfo` must not be called: hence the C function."""
    found: dict[Address, None] = {}
    for family, _, _, _, sockaddr in _socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
        with contextlib.suppress(ValueError):
            found[_address(socket.AddressFamily(family), sockaddr)] = None
    return list(found)


def _address(family: socket.AddressFamily, sockaddr: tuple[Any, ...]) -> Address:
    if family == socket.AF_INET:
        return Address(family, sockaddr[0])
    if family == socket.AF_INET6:
        return Address(family, sockaddr[0], sockaddr[3])
    raise ValueError(f"address family {family} has no ports")
