"""The relay watch: nobody waits behind an owner that stands still, while the session could go on elsewhere."""

import structlog

from netstacks import greenlets
from netstacks.cluster.liveness import living
from netstacks.cluster.model import Peer
from netstacks.errors import PeerFailed
from netstacks.instance.agent import Agent
from netstacks.peer import relays
from netstacks.peer.client import NoAnswer, PeerClient

log = structlog.get_logger()

ALIVE_PATH = "/peer/alive"


class RelayWatch:
    """Hangs up on owners whose heartbeat is stale and who do not answer either; their clients come back and claim."""

    def __init__(self, agent: Agent, peers: PeerClient, *, interval_secs: float, ttl_secs: float) -> None:
        self._agent = agent
        self._peers = peers
        self._ttl_secs = ttl_secs
        self._periodic = greenlets.Periodic("relay-watch", self.look, interval_secs)

    def start(self) -> None:
        self._periodic.start()

    def look(self) -> None:
        """Asks the owners that do not seem to live. An owner that only lost Valkey answers, and keeps its clients."""
        if self._agent.is_blind:
            return
        alive = {each.id for each in living(self._agent.snapshot, self._ttl_secs)}
        asked = [greenlets.spawn("relay-check", self._check, each) for each in relays.owners() if each.id not in alive]
        greenlets.joinall(asked)

    def _check(self, owner: Peer) -> None:
        try:
            answer = self._peers.call(owner, ALIVE_PATH)
        except PeerFailed:
            return  # An answer is a sign of life, whatever it says.
        if isinstance(answer, NoAnswer):
            log.warning("relays.hung_up", owner=owner.id)
            relays.hang_up(owner)
