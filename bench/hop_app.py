"""The proxy hop of a terminal alone: an application whose one route relays to the peer at HOP_ORIGIN."""

import os

from flask import Flask, request

from bench.origin import NAME, SECRET
from netstacks.cluster.model import Peer
from netstacks.peer.client import NoAnswer, PeerClient, Upgrade, Upstream
from netstacks.peer.token import PeerTokens
from netstacks.web.ws.routes import Sock, WebSocket

app = Flask(__name__)
sock = Sock(app)
peers = PeerClient(PeerTokens(SECRET))


def _dial() -> Upstream:
    upgrade = Upgrade(request.headers["Sec-WebSocket-Key"], request.query_string.decode())
    answer = peers.upgrade(Peer(NAME, os.environ["HOP_ORIGIN"]), "/", {}, upgrade)
    if isinstance(answer, NoAnswer):
        raise RuntimeError(f"the origin: {answer.outcome}")
    return answer


@sock.route("/", authorise=_dial)
def relay(_ws: WebSocket, _context: object) -> None:
    raise AssertionError("the connection is relayed, not served")
