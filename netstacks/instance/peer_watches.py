"""The watches of one instance over its peers: their answers, their clocks, their deaths and their losses."""

from collections.abc import Iterator

from netstacks import greenlets
from netstacks.instance.agent import Agent
from netstacks.instance.clock_watch import ClockWatch
from netstacks.instance.death_watch import DeathWatch
from netstacks.instance.lookup import WitnessReader
from netstacks.instance.loss_memory import LossMemory
from netstacks.instance.relay_watch import RelayWatch
from netstacks.peer.client import PeerClient
from netstacks.registry.base import Registry
from netstacks.store.pool import Database


class PeerWatches:
    """Started in a cluster only. `interval_secs` is the time between two heartbeats."""

    def __init__(
        self,
        agent: Agent,
        peers: PeerClient,
        registry: Registry,
        database: Database,
        witness: WitnessReader,
        *,
        interval_secs: float,
        ttl_secs: float,
    ) -> None:
        self._relays = RelayWatch(agent, peers, interval_secs=interval_secs, ttl_secs=ttl_secs)
        self._deaths = DeathWatch(agent, peers, registry, witness, interval_secs=interval_secs)
        self.clocks = ClockWatch(
            agent,
            peers,
            registry,
            heartbeat_secs=interval_secs,
            ttl_secs=ttl_secs,
            on_suspects=self._deaths.suspect,
        )
        self._losses = LossMemory(agent, registry, database, witness, peers, interval_secs=interval_secs)

    def start(self) -> None:
        for each in (self._relays, self._deaths, self.clocks, self._losses):
            each.start()

    def background(self) -> Iterator[greenlets.Background]:
        """The greenlets that run until the process ends."""
        for each in (self._relays, self._deaths, self.clocks, self._losses):
            yield each.periodic
