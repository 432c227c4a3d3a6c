"""Dials once, in a patched process as a worker's is: `python -m tests.peer.dialling ADDRESS OWNER PATH SECRET`."""
# ruff: noqa: E402 - what is imported before the patch would keep sockets that block.

from gevent import monkey

monkey.patch_all()

import sys

from netstacks.cluster.model import Peer
from netstacks.peer.client import NoAnswer, PeerClient, Upgrade
from netstacks.peer.token import PeerTokens

address, owner, path, secret = sys.argv[1:]
answer = PeerClient(PeerTokens(secret)).upgrade(Peer(owner, address), path, {"epoch": 3}, Upgrade("a key", "cols=80"))
print(answer.outcome if isinstance(answer, NoAnswer) else answer.answer.decode())
