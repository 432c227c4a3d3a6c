"""How many connections the public listener has room for: of strangers, of users who are logged in, of one address.

Where there is no room, the connection that has kept this instance waiting for the longest time is closed. A client
that holds connections with half a request, or with an answer that it does not read, loses them to the next ones; an
honest request is complete within milliseconds. A terminal is not among them: gunicorn lets go of a WebSocket.
"""

import math
import time
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import structlog
from flask import g, has_request_context

from netstacks import greenlets
from netstacks.store.failed_logins import network
from netstacks.web.listener.client_socket import ClientSocket

log = structlog.get_logger()

# Shares of gunicorn's places. Those that remain are for health, and for users when all others are being served.
_STRANGERS_SHARE, _USERS_SHARE = 0.5, 0.4
_LOG_SECS = 10.0


class Crowd:
    """Connections that count together, and those of them that wait for their client, the first one the longest."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._waiting: dict[ClientSocket, None] = {}

    def join(self, sock: ClientSocket, *, waits: bool) -> None:
        self.size += 1
        if waits:
            self._waiting[sock] = None

    def leave(self, sock: ClientSocket) -> bool:
        """Whether it was one of those that wait."""
        self.size -= 1
        was_waiting = sock in self._waiting
        self.wait_no_more(sock)
        return was_waiting

    def wait(self, sock: ClientSocket) -> None:
        """Keeps the place of one that has waited before: a byte now and then makes no connection young."""
        self._waiting.setdefault(sock)

    def wait_no_more(self, sock: ClientSocket) -> None:
        self._waiting.pop(sock, None)

    def longest_waiting(self) -> ClientSocket | None:
        return next((each for each in self._waiting if each.is_waiting), None)


class ConnectionLimits:
    """The connections of one worker. Those that come from `proxies` are not limited by their address.

    No method yields: the numbers would change between a question and what follows from it.
    """

    def __init__(self, places: int, per_address: int, proxies: Sequence[str] = ()) -> None:
        self._strangers = Crowd(max(1, int(places * _STRANGERS_SHARE)))
        self._users = Crowd(max(1, int(places * _USERS_SHARE)))
        self._per_address = per_address
        self._proxies = [ip_network(each) for each in proxies]
        self._of_address: dict[str, Crowd] = {}
        self._closed = self._refused = 0
        self._logged_at = -math.inf

    def admit(self, sock: ClientSocket, address: str | None) -> bool:
        """Counts a new connection; False when its address has as many as it may, and all of them are being served.

        A stranger for whom there is no room counts all the same: it may ask for health, or turn out to be a user.
        """
        name = None if address is None or self._is_proxy(address) else network(address)
        of_address = self._of_address.get(name) if name is not None else None
        if of_address is not None and not self._make_room(of_address):
            self._refused += 1
            self._log(name)
            return False
        self._make_room(self._strangers)
        sock.network, sock.crowds = name, (self._strangers,)
        if name is not None:
            # Not before: a crowd whose last connection was closed for this one is no longer there.
            sock.crowds += (self._of_address.setdefault(name, Crowd(self._per_address)),)
        for crowd in sock.crowds:
            crowd.join(sock, waits=True)
        return True

    def _is_proxy(self, address: str) -> bool:
        ip = ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in each for each in self._proxies)

    def _make_room(self, crowd: Crowd) -> bool:
        if crowd.size < crowd.limit:
            return True
        oldest = crowd.longest_waiting()
        if oldest is None:
            return False
        self._closed += 1
        self._log(oldest.network)
        self.leave(oldest)
        greenlets.shut_down(oldest.fileno())
        return True

    def leave(self, sock: ClientSocket) -> None:
        """Counts a connection no more. It may have left before."""
        for crowd in sock.crowds:
            crowd.leave(sock)
        sock.crowds = ()
        if sock.network is not None and not self._of_address[sock.network].size:
            del self._of_address[sock.network]
        sock.network = None

    def request_began(self, sock: ClientSocket) -> None:
        if sock.is_known and sock.network is None and sock.crowds:
            # A proxy's connection carries one client after another.
            self._move(sock, self._users, self._strangers)
        sock.is_waiting = False
        for crowd in sock.crowds:
            crowd.wait_no_more(sock)

    def request_ended(self, sock: ClientSocket) -> None:
        sock.is_waiting = True
        for crowd in sock.crowds:
            crowd.wait_no_more(sock)
            crowd.wait(sock)

    def wait_began(self, sock: ClientSocket) -> None:
        """A request waits for its client, in the greenlet of the request."""
        if has_request_context() and g.get("identity") is not None:
            self.recognise(sock)
        sock.is_waiting = True
        for crowd in sock.crowds:
            crowd.wait(sock)

    def wait_ended(self, sock: ClientSocket) -> None:
        sock.is_waiting = False

    def recognise(self, sock: ClientSocket) -> None:
        """A user who is logged in has used the connection."""
        if not sock.is_known and sock.crowds:
            self._move(sock, self._strangers, self._users)

    def _move(self, sock: ClientSocket, source: Crowd, target: Crowd) -> None:
        sock.is_known = target is self._users
        waits = source.leave(sock)
        self._make_room(target)
        target.join(sock, waits=waits)
        sock.crowds = (target, *sock.crowds[1:])

    def is_surplus(self, sock: ClientSocket) -> bool:
        """Whether a connection is one of more strangers than there is room for, none of whom could be closed."""
        return not sock.is_known and self._strangers.size > self._strangers.limit

    def _log(self, name: str | None) -> None:
        if time.monotonic() - self._logged_at < _LOG_SECS:
            return
        log.warning("connections.limited", closed=self._closed, refused=self._refused, network=name)
        self._closed = self._refused = 0
        self._logged_at = time.monotonic()
