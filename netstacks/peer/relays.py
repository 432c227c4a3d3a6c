"""The relays of this instance: connections that it forwards to another instance, the owner of their session."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.peer import metrics
from netstacks.peer.client import Upstream
from netstacks.peer.splice import hang_up as hang_up_sockets
from netstacks.peer.splice import splice


@dataclass(frozen=True, eq=False)
class _Relay:
    owner: Peer | None
    """None for a connection that stays while its session changes owners."""
    hang_up: Callable[[], object]
    splice: greenlets.Greenlet | None = None


# One per process, like the sockets that it tracks: WebSocket routes add relays outside of any request and application
# context, and the drain and the relay watch must reach every one of them.
_active: set[_Relay] = set()


def begin(client: socket.socket, upstream: Upstream, unread: bytes) -> None:
    """Relays between a client and the owner that has accepted it; `unread` are bytes already read from the client."""
    greenlet = greenlets.spawn("relay", _splice, client, upstream, unread)
    relay = _Relay(upstream.owner, partial(hang_up_sockets, client, upstream.socket), greenlet)
    _active.add(relay)
    greenlet.link(lambda _: _active.discard(relay))


def _splice(client: socket.socket, upstream: Upstream, unread: bytes) -> None:
    with metrics.hop("out"):
        splice(client, upstream.socket, to_client=upstream.answer, to_upstream=unread)


@contextlib.contextmanager
def registered(owner: Peer | None, hang_up: Callable[[], object]) -> Iterator[None]:
    """Registers a relay that runs in the caller's greenlet; `hang_up` must end it without waiting.

    `owner` is None for a client's connection that stays while its session changes owners.
    """
    relay = _Relay(owner, hang_up)
    _active.add(relay)
    try:
        with metrics.hop("out") if owner is not None else contextlib.nullcontext():
            yield
    finally:
        _active.discard(relay)


def owners() -> set[Peer]:
    """The owners that clients are relayed to."""
    return {relay.owner for relay in _active if relay.owner is not None}


def hang_up(owner: Peer | None = None) -> None:
    """Ends the relays to one owner, or all, and waits for the splices; the clients reconnect elsewhere."""
    hung_up = [relay for relay in _active if owner in (None, relay.owner)]
    for relay in hung_up:
        relay.hang_up()
    greenlets.joinall([relay.splice for relay in hung_up if relay.splice is not None])
