"""Dials once, in a patched process as a worker is. SECS is the patience with the peer.

`python -m tests.peer.dialling dial|call|clock ADDRESS OWNER PATH KEY SECS`
"""
# ruff: noqa: E402 - what is imported before the patch would keep sockets that block.

from gevent import monkey

monkey.patch_all()

import contextlib
import sys

from netstacks.cluster.model import Peer
from netstacks.errors import PeerFailed
from netstacks.peer import client as peer_client
from netstacks.peer import clocks
from netstacks.peer.client import NoAnswer, PeerClient, Upgrade
from netstacks.peer.token import PeerTokens

what, address, owner, path, secret, secs = sys.argv[1:]
peer_client.CONNECT_SECS = peer_client.ANSWER_SECS = clocks._QUICK_ANSWER_SECS = float(secs)
client, peer = PeerClient(PeerTokens(secret)), Peer(owner, address)
if what == "dial":
    answer = client.upgrade(peer, path, {"epoch": 3}, Upgrade("a key", "cols=80"))
    print(answer.outcome if isinstance(answer, NoAnswer) else answer.answer.decode())
elif what == "clock":
    with contextlib.suppress(PeerFailed):
        client.call(peer, path, epoch=3)
    print(client.clocks.skews)
else:
    try:
        reply = client.call(peer, path, epoch=3)
    except PeerFailed as error:
        print("PeerFailed", error)
    else:
        print("NoAnswer", reply.outcome) if isinstance(reply, NoAnswer) else print("Reply", reply.body)
