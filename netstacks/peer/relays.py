"""The connections that this instance only relays, by the owner that serves them."""

import socket

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.peer.client import Upstream
from netstacks.peer.splice import splice

_active: dict[greenlets.Greenlet, Peer] = {}


def begin(client: socket.socket, upstream: Upstream, unread: bytes) -> None:
    """Relays between a client and the owner that has accepted it; `unread` was read from the client already."""
    relay = greenlets.spawn("relay", splice, client, upstream.socket, to_client=upstream.answer, to_upstream=unread)
    _active[relay] = upstream.owner
    relay.link(_active.pop)


def owners() -> set[Peer]:
    """Whom clients are relayed to now."""
    return set(_active.values())


def hang_up(owner: Peer | None = None) -> None:
    """Cuts the connections to one owner, or all: their clients go on, at the exact byte, by way of others."""
    greenlets.killall([relay for relay, peer in _active.items() if owner in (None, peer)])
