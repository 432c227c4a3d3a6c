"""The death watch: declares peers dead whose process is proven to be gone, without waiting for a claim or the TTL."""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from netstacks import greenlets
from netstacks.cluster import dials
from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Outcome
from netstacks.errors import PeerFailed, RegistryUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.lookup import WitnessReader
from netstacks.instance.relay_watch import ALIVE_PATH
from netstacks.peer.client import ANSWER_SECS, CONNECT_SECS, NoAnswer, PeerClient
from netstacks.registry.base import Registry

log = structlog.get_logger()


def dial_all(peers: PeerClient, others: Iterable[Peer]) -> Mapping[str, Outcome]:
    """Asks all of them at once whether they are alive; returns the outcomes by instance id."""
    asked = {other.id: greenlets.spawn("alive-check", _ask, peers, other) for other in others}
    greenlets.joinall(list(asked.values()))
    return {peer_id: each.get() for peer_id, each in asked.items()}


def _ask(peers: PeerClient, other: Peer) -> Outcome:
    try:
        answer = peers.call(other, ALIVE_PATH)
    except PeerFailed:
        # Every answer shows that the instance is alive, an error as well.
        return "declined"
    return answer.outcome if isinstance(answer, NoAnswer) else "confirmed"


class DeathWatch:
    """A death is proven when no process of the instance listens at its address and its witness lock is free.

    That proves nothing of a frozen instance or one that is cut off: for them the TTL decides. An instance that leaves
    in order unregisters before it frees its lock, so it is never declared dead.
    """

    def __init__(
        self, agent: Agent, peers: PeerClient, registry: Registry, witness: WitnessReader, *, interval_secs: float
    ) -> None:
        self._agent = agent
        self._peers = peers
        self._registry = registry
        self._witness = witness
        self._interval_secs = interval_secs
        # Not more often than a frozen instance can be dialled.
        self.periodic = greenlets.Periodic("death-watch", self.look, max(interval_secs, CONNECT_SECS + ANSWER_SECS))

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Dials the peers whose heartbeat is overdue, and judges those that do not listen."""
        late = dials.overdue(self._agent.snapshot, self._agent.me.id, self._interval_secs)
        self.judge(dials.absent(dial_all(self._peers, late)))

    def suspect(self, peer_ids: Sequence[str]) -> None:
        """Calls `judge` in the background."""
        if peer_ids:
            greenlets.spawn("death-check", self.judge, peer_ids)

    def judge(self, peer_ids: Sequence[str]) -> None:
        """Reaps those of the peers that hold no witness lock. None of them may listen at its address."""
        # Without Valkey no instance can be reaped, whatever PostgreSQL says.
        if not peer_ids or not self._agent.contact.is_kept:
            return
        witnesses = self._witness.of_all(peer_ids)
        for peer_id in peer_ids:
            if witnesses[peer_id] == "free":
                self._reap(peer_id)

    def _reap(self, peer_id: str) -> None:
        try:
            # Of several instances that find the same death, one gets True.
            if self._registry.reap_proven(peer_id, by=self._agent.me.id):
                self._agent.report_loss(peer_id, "refused")
        except RegistryUnavailable as error:
            log.info("instance.not_reaped", instance_id=peer_id, error=str(error))
