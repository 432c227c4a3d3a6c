"""The clock watch: dials all living peers, which measures their clock skew and finds the unreachable ones."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import structlog

from netstacks import greenlets
from netstacks.cluster import clocks
from netstacks.cluster.dials import FailedDials
from netstacks.cluster.instance_rows import TLS_FAILS, look_secs
from netstacks.cluster.liveness import living
from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Outcome
from netstacks.errors import RegistryUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.death_watch import dial_all
from netstacks.peer.client import PeerClient
from netstacks.registry.base import Registry

log = structlog.get_logger()

# An alarm is repeated when the difference has changed by this much.
_CHANGE_SECS = 5.0


class ClockWatch:
    """Asks every living peer periodically. A change is one line in the log and one event of the cluster.

    `on_suspects` gets the ids of the peers that may be dead after each look; it must return at once.
    """

    def __init__(
        self,
        agent: Agent,
        peers: PeerClient,
        registry: Registry,
        *,
        heartbeat_secs: float,
        ttl_secs: float,
        on_suspects: Callable[[Sequence[str]], object] = lambda _: None,
    ) -> None:
        self._agent = agent
        self._peers = peers
        self._registry = registry
        self._ttl_secs = ttl_secs
        self._on_suspects = on_suspects
        self._reported: dict[str, float] = {}
        """The peers with an alarm, and the skew in seconds that was last reported for each."""
        self._failed_dials = FailedDials()
        self.reached = 0
        """How many peers answered the last dials."""
        self.periodic = greenlets.Periodic("clock-watch", self.look, look_secs(heartbeat_secs))

    @property
    def unreachable(self) -> Mapping[str, str]:
        """The living peers that this instance cannot reach at their addresses: how the dials failed, by instance id."""
        failed = self._failed_dials.unreachable(self._agent.snapshot)
        problems = self._peers.tls_problems
        return {id: f"{TLS_FAILS}{problems[id]}" if id in problems else how for id, how in failed.items()}

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Measures all clocks now and reports changes."""
        others = [each for each in living(self._agent.snapshot, self._ttl_secs) if each.id != self._agent.me.id]
        peers = [Peer(each.id, each.peer_address) for each in others if each.peer_address]
        # Every answer has the time in a header and shows that the address is right, an error as well.
        self._note(dial_all(self._peers, peers))
        self._peers.clocks.keep_only([each.id for each in others])
        for gone in self._peers.tls_problems.keys() - {each.id for each in others}:
            del self._peers.tls_problems[gone]
        self._report()

    def _note(self, outcomes: Mapping[str, Outcome]) -> None:
        # Without the registry's time, the dials cannot be compared with heartbeats.
        with contextlib.suppress(RegistryUnavailable):
            self.reached = self._failed_dials.note(outcomes, self._agent.snapshot, self._registry.now())
            self._on_suspects(self._failed_dials.suspects(self._agent.snapshot))

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
