"""Limits on the connections of the public listener: of unknown clients, of logged-in users, and of one address.

At a limit, the connection that has waited for its client for the longest time is closed. A client that holds
connections with incomplete requests or unread answers loses them to new ones; normal requests are complete within
milliseconds. WebSockets do not count.
"""

import math
import time
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import structlog
from flask import g, has_request_context

from netstacks import greenlets
from netstacks.hosts import network
from netstacks.web.listener.client_socket import ClientSocket

log = structlog.get_logger()

# Shares of gunicorn's connections. The rest is for health probes, and for users while all others are busy.
_UNKNOWN_SHARE, _USERS_SHARE = 0.5, 0.4
_LOG_SECS = 10.0


class ConnectionGroup:
    """Connections that share a limit, and those of them that wait for their client, the longest wait first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._waiting: dict[ClientSocket, None] = {}

    def join(self, sock: ClientSocket, *, waits: bool) -> None:
        self.size += 1
        if waits:
            self._waiting[sock] = None

    def leave(self, sock: ClientSocket) -> bool:
        """Removes a connection; True when it was waiting for its client."""
        self.size -= 1
        was_waiting = sock in self._waiting
        self.wait_no_more(sock)
        return was_waiting

    def wait(self, sock: ClientSocket) -> None:
        """Marks a connection as waiting. One that has waited before keeps its position, even if it has sent a byte."""
        self._waiting.setdefault(sock)

    def wait_no_more(self, sock: ClientSocket) -> None:
        self._waiting.pop(sock, None)

    def longest_waiting(self) -> ClientSocket | None:
        return next((each for each in self._waiting if each.is_waiting), None)


class ConnectionLimits:
    """The connections of one worker. Those from `proxies` have no limit per address.

    No method yields: a count could change between a check and the update that relies on it.
    """

    def __init__(self, places: int, per_address: int, proxies: Sequence[str] = ()) -> None:
        self._unknown = ConnectionGroup(max(1, int(places * _UNKNOWN_SHARE)))
        self._users = ConnectionGroup(max(1, int(places * _USERS_SHARE)))
        self._per_address = per_address
        self._proxies = [ip_network(each) for each in proxies]
        self._of_address: dict[str, ConnectionGroup] = {}
        self._closed = self._refused = 0
        self._logged_at = -math.inf

    def admit(self, sock: ClientSocket, address: str | None) -> bool:
        """Counts a new connection; False when its address is at its limit and all its connections are being served.

        An unknown client beyond the limit is counted, too: it may request health, or prove to be a logged-in user.
        """
        name = None if address is None or self._is_proxy(address) else network(address)
        of_address = self._of_address.get(name) if name is not None else None
        if of_address is not None and not self._make_room(of_address):
            self._refused += 1
            self._log(name)
            return False
        self._make_room(self._unknown)
        sock.network, sock.groups = name, (self._unknown,)
        if name is not None:
            # After `_make_room`: that may have closed the last connection of this address and removed its group.
            sock.groups += (self._of_address.setdefault(name, ConnectionGroup(self._per_address)),)
        for group in sock.groups:
            group.join(sock, waits=True)
        return True

    def _is_proxy(self, address: str) -> bool:
        ip = ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in each for each in self._proxies)

    def _make_room(self, group: ConnectionGroup) -> bool:
        if group.size < group.limit:
            return True
        oldest = group.longest_waiting()
        if oldest is None:
            return False
        self._closed += 1
        self._log(oldest.network)
        self.leave(oldest)
        greenlets.shut_down(oldest.fileno())
        return True

    def leave(self, sock: ClientSocket) -> None:
        """Stops counting a connection. Idempotent."""
        for group in sock.groups:
            group.leave(sock)
        sock.groups = ()
        if sock.network is not None and not self._of_address[sock.network].size:
            del self._of_address[sock.network]
        sock.network = None

    def request_began(self, sock: ClientSocket) -> None:
        if sock.is_known and sock.network is None and sock.groups:
            # A proxy reuses a connection for other clients: each request is recognised anew.
            self._move(sock, self._users, self._unknown)
        sock.is_waiting = False
        for group in sock.groups:
            group.wait_no_more(sock)

    def request_ended(self, sock: ClientSocket) -> None:
        sock.is_waiting = True
        for group in sock.groups:
            group.wait_no_more(sock)
            group.wait(sock)

    def wait_began(self, sock: ClientSocket) -> None:
        """Called in the greenlet of a request that waits for its client."""
        if has_request_context() and g.get("identity") is not None:
            self.recognise(sock)
        sock.is_waiting = True
        for group in sock.groups:
            group.wait(sock)

    def wait_ended(self, sock: ClientSocket) -> None:
        sock.is_waiting = False

    def recognise(self, sock: ClientSocket) -> None:
        """Counts a connection as one of a logged-in user."""
        if not sock.is_known and sock.groups:
            self._move(sock, self._unknown, self._users)

    def _move(self, sock: ClientSocket, source: ConnectionGroup, target: ConnectionGroup) -> None:
        sock.is_known = target is self._users
        waits = source.leave(sock)
        self._make_room(target)
        target.join(sock, waits=waits)
        sock.groups = (target, *sock.groups[1:])

    def is_surplus(self, sock: ClientSocket) -> bool:
        """Whether the connection is of an unknown client, and those exceed their limit because none could be closed."""
        return not sock.is_known and self._unknown.size > self._unknown.limit

    def _log(self, name: str | None) -> None:
        if time.monotonic() - self._logged_at < _LOG_SECS:
            return
        log.warning("connections.limited", closed=self._closed, refused=self._refused, network=name)
        self._closed = self._refused = 0
        self._logged_at = time.monotonic()
