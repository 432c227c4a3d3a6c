"""The connections that this instance only relays, by the owner that serves them."""

import socket
from dataclasses import dataclass

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.peer.client import Upstream
from netstacks.peer.splice import hang_up as hang_up_sockets
from netstacks.peer.splice import splice


@dataclass(frozen=True)
class _Relay:
    owner: Peer
    client: socket.socket
    upstream: socket.socket


_active: dict[greenlets.Greenlet, _Relay] = {}


def begin(client: socket.socket, upstream: Upstream, unread: bytes) -> None:
    """Relays between a client and the owner that has accepted it; `unread` was read from the client already."""
    relay = greenlets.spawn("relay", splice, client, upstream.socket, to_client=upstream.answer, to_upstream=unread)
    _active[relay] = _Relay(upstream.owner, client, upstream.socket)
    relay.link(_active.pop)


def owners() -> set[Peer]:
    """Whom clients are relayed to now."""
    return {relay.owner for relay in _active.values()}


def hang_up(owner: Peer | None = None) -> None:
    """Cuts the connections to one owner, or all: their clients go on, at the exact byte, by way of others."""
    hung_up = [(greenlet, relay) for greenlet, relay in _active.items() if owner in (None, relay.owner)]
    for _, relay in hung_up:
        hang_up_sockets(relay.client, relay.upstream)
    greenlets.joinall([greenlet for greenlet, _ in hung_up])
