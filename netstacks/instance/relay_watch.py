"""The relay watch: disconnects relayed clients from an owner that hangs, so that their sessions can be claimed."""

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
    """Ends the relays to owners with a stale heartbeat that do not answer; their clients reconnect, which claims."""

    def __init__(self, agent: Agent, peers: PeerClient, *, interval_secs: float, ttl_secs: float) -> None:
        self._agent = agent
        self._peers = peers
        self._ttl_secs = ttl_secs
        self.periodic = greenlets.Periodic("relay-watch", self.look, interval_secs)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Dials owners without a fresh heartbeat. An owner that has only lost Valkey answers and keeps its clients."""
        if self._agent.is_blind:
            return
        alive = {each.id for each in living(self._agent.snapshot, self._ttl_secs)}
        checks = [greenlets.spawn("relay-check", self._check, each) for each in relays.owners() if each.id not in alive]
        greenlets.joinall(checks)

    def _check(self, owner: Peer) -> None:
        try:
            answer = self._peers.call(owner, ALIVE_PATH)
        except PeerFailed:
            return  # Any answer shows that the owner is alive.
        if isinstance(answer, NoAnswer):
            log.warning("relays.hung_up", owner=owner.id)
            relays.hang_up(owner)
