"""The clock watch: measures the clock skew of the peers, and reports a skew that is too large."""

import contextlib

import structlog

from netstacks import greenlets
from netstacks.cluster import clocks
from netstacks.cluster.liveness import living
from netstacks.cluster.model import Peer
from netstacks.errors import PeerFailed, RegistryUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.relay_watch import ALIVE_PATH
from netstacks.peer.client import PeerClient
from netstacks.registry.base import Registry

log = structlog.get_logger()

INTERVAL_SECS = 10.0
# An alarm is repeated when the difference has changed by this much.
_CHANGE_SECS = 5.0


class ClockWatch:
    """Asks every living peer periodically. A change is one line in the log and one event of the cluster."""

    def __init__(self, agent: Agent, peers: PeerClient, registry: Registry, *, ttl_secs: float) -> None:
        self._agent = agent
        self._peers = peers
        self._registry = registry
        self._ttl_secs = ttl_secs
        self._reported: dict[str, float] = {}
        """The peers with an alarm, and the skew in seconds that was last reported for each."""
        self.periodic = greenlets.Periodic("clock-watch", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Measures all clocks now and reports changes."""
        others = [each for each in living(self._agent.snapshot, self._ttl_secs) if each.id != self._agent.me.id]
        peers = [Peer(each.id, each.peer_address) for each in others if each.peer_address]
        greenlets.joinall([greenlets.spawn("clock-check", self._ask, each) for each in peers])
        self._peers.clocks.keep_only([each.id for each in others])
        self._report()

    def _ask(self, peer: Peer) -> None:
        # Every answer has the time in a header, an error as well.
        with contextlib.suppress(PeerFailed):
            self._peers.call(peer, ALIVE_PATH)

    def _report(self) -> None:
        skews = self._peers.clocks.skews
        for gone in self._reported.keys() - skews.keys():
            del self._reported[gone]
        for peer_id, skew_secs in skews.items():
            reported_secs = self._reported.get(peer_id)
            if clocks.is_alarming(skew_secs, was_alarming=reported_secs is not None):
                if reported_secs is None or abs(skew_secs - reported_secs) >= _CHANGE_SECS:
                    self._reported[peer_id] = skew_secs
                    log.warning("clock.differs", peer=peer_id, skew_secs=round(skew_secs, 1), advice=clocks.ADVICE)
                    self._record_event(peer_id, clocks.in_words(skew_secs))
            elif reported_secs is not None:
                del self._reported[peer_id]
                log.info("clock.agrees", peer=peer_id, skew_secs=round(skew_secs, 1))
                self._record_event(peer_id, "right again")

    def _record_event(self, peer_id: str, clock: str) -> None:
        with contextlib.suppress(RegistryUnavailable):
            self._registry.record_event("clock", peer_id, clock=clock, seen_by=self._agent.me.id)
