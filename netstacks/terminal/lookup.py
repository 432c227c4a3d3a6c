"""The addresses of a host name, looked up in threads of their own: silent name servers hold up nothing else."""

import _socket
import contextlib
import ipaddress
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable
from netstacks.store.addresses import shown_host

# A silent name server holds a thread for up to 30 s, whatever the caller does meanwhile.
_MAX_LOOKUPS = 32
_REASONS = {
    socket.EAI_NONAME: "there is no such name",
    socket.EAI_NODATA: "it has no address",
    socket.EAI_AGAIN: "the name servers do not answer, or have failed themselves",
}

_threads = greenlets.Threads(_MAX_LOOKUPS)
_running: dict[str, greenlets.AsyncResult] = {}
"""The lookups that have not ended, by name."""


@dataclass(frozen=True)
class Address:
    """One address of a host, numeric; an IPv6 address has the number of its zone, or 0."""

    family: socket.AddressFamily
    text: str
    zone: int = 0

    def at(self, port: int) -> tuple[Any, ...]:
        """As `connect` takes it."""
        if self.family == socket.AF_INET:
            return (self.text, port)
        return (self.text.partition("%")[0], port, 0, self.zone)


def literal(host: str) -> Address | None:
    """The address that `host` is, None for a name. Raises DeviceUnreachable for a zone that is not of this machine."""
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
    """The lookup of `name`, begun now or by another caller. Its `get` returns a list of Address, or raises gaierror.

    Raises DeviceUnreachable when too many other lookups have not ended.
    """
    # No yield here: the name would be looked up twice.
    if name not in _running:
        if len(_running) >= _MAX_LOOKUPS:
            raise failed(name, f"the name servers have not answered {_MAX_LOOKUPS} other lookups yet: connect again")
        _running[name] = lookup = _threads.begin(_addresses, name)
        lookup.rawlink(partial(_forget, name))
    return _running[name]


def _forget(name: str, _: greenlets.AsyncResult) -> None:
    del _running[name]


def failed(name: str, reason: str) -> DeviceUnreachable:
    """What a user reads about a name that leads nowhere: in the user's letters, and as the name servers know it."""
    shown = shown_host(name)
    return DeviceUnreachable(f"the name {name if shown == name else f'{shown} ({name})'} cannot be resolved: {reason}")


def why(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def _addresses(name: str) -> list[Address]:
    """Runs in a native thread: the C function, because gevent's may not be called there."""
    found: dict[Address, None] = {}
    for family, _, _, _, place in _socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
        with contextlib.suppress(ValueError):
            found[_address(socket.AddressFamily(family), place)] = None
    return list(found)


def _address(family: socket.AddressFamily, place: tuple[Any, ...]) -> Address:
    if family == socket.AF_INET:
        return Address(family, place[0])
    if family == socket.AF_INET6:
        return Address(family, place[0], place[3])
    raise ValueError(f"address family {family} has no ports")
