"""What this instance relays: connections that it serves by way of another instance, the owner of their session."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.peer.client import Upstream
from netstacks.peer.splice import hang_up as hang_up_sockets
from netstacks.peer.splice import splice


@dataclass(frozen=True, eq=False)
class _Relay:
    owner: Peer | None
    """None for a connection that changes its owner."""
    hang_up: Callable[[], object]
    splice: greenlets.Greenlet | None = None


_active: set[_Relay] = set()


def begin(client: socket.socket, upstream: Upstream, unread: bytes) -> None:
    """Relays between a client and the owner that has accepted it; `unread` was read from the client already."""
    greenlet = greenlets.spawn("relay", splice, client, upstream.socket, to_client=upstream.answer, to_upstream=unread)
    relay = _Relay(upstream.owner, partial(hang_up_sockets, client, upstream.socket), greenlet)
    _active.add(relay)
    greenlet.link(lambda _: _active.discard(relay))


@contextlib.contextmanager
def registered(owner: Peer | None, hang_up: Callable[[], object]) -> Iterator[None]:
    """Around a relay that runs in the caller's greenlet. `hang_up` ends it and does not wait.

    Without an owner it is a client's connection, which stays while its owners change.
    """
    relay = _Relay(owner, hang_up)
    _active.add(relay)
    try:
        yield
    finally:
        _active.discard(relay)


def owners() -> set[Peer]:
    """Whom clients are relayed to now."""
    return {relay.owner for relay in _active if relay.owner is not None}


def hang_up(owner: Peer | None = None) -> None:
    """Ends the relays to one owner, or all, and waits for the splices: their clients go on by way of others."""
    hung_up = [relay for relay in _active if owner in (None, relay.owner)]
    for relay in hung_up:
        relay.hang_up()
    greenlets.joinall([relay.splice for relay in hung_up if relay.splice is not None])
