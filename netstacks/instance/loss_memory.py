"""The memory of losses: a Valkey that comes back without its data must not make a lost instance vanish."""

from collections.abc import Iterable

import structlog

from netstacks import greenlets
from netstacks.cluster import dials, losses
from netstacks.cluster.model import Instance, LostInstance, Peer, Snapshot
from netstacks.errors import StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.death_watch import dial_all
from netstacks.instance.failures import FailureLog
from netstacks.instance.lookup import WitnessReader
from netstacks.instance.replacements import find_successor
from netstacks.peer.client import PeerClient
from netstacks.registry.base import Registry
from netstacks.store import instance_settings
from netstacks.store.pool import Database

log = structlog.get_logger()

# A look waits no longer for PostgreSQL.
_LOOK_SECS = 3.0
# As many as the registry keeps: the claims after an outage must not hide that an instance left.
_MAX_EVENTS = 1000


class LossMemory:
    """Remembers the instances and the losses from before an outage of the registry, and looks after them meanwhile.

    When this instance may judge again, it gives the registry the losses that it lacks: those that were known before,
    and the instances that died meanwhile. Silence alone is not a death: the witness lock of such an instance is free,
    no process of it listens, and it has not removed its row in PostgreSQL, as an instance does that leaves in order.
    """

    def __init__(
        self,
        agent: Agent,
        registry: Registry,
        database: Database,
        witness: WitnessReader,
        peers: PeerClient,
        *,
        interval_secs: float,
    ) -> None:
        self._agent = agent
        self._registry = registry
        self._database = database
        self._witness = witness
        self._peers = peers
        self._interval_secs = interval_secs
        self._failures = FailureLog()
        self._instances: dict[str, Instance] = {}
        """Those registered before the outage; during it, without those that have left in order."""
        self._lost: dict[str, LostInstance] = {}
        """Those lost before the outage, by the last two looks: the last one may have found a registry just emptied."""
        self._last_lost: dict[str, LostInstance] = {}
        """Those lost by the last look."""
        self._ended: set[str] = set()
        """The instances of `_instances` whose process was found to be gone, with its row still in PostgreSQL."""
        self._dead: set[str] = set()
        """Those for which this was so at two looks: a process that leaves in order removes its row at its very end."""
        self._was_blind = False
        # A look at every heartbeat: no outage falls between two looks, since the registry is blind for a TTL after it.
        self.periodic = greenlets.Periodic("loss-memory", self.look, interval_secs)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Looks after the remembered instances during an outage; after it, restores losses; else remembers."""
        if self._agent.is_blind:
            self._was_blind = True
            self._look_for_deaths()
            return
        with self._failures.tolerate("keep_lost"):
            # The remembered ones stay until the registry has answered to everything.
            lost = self._restore() if self._was_blind and (self._lost or self._dead) else self._registry.lost()
            self._remember(self._agent.snapshot, lost)

    def _remember(self, snapshot: Snapshot, lost: Iterable[LostInstance]) -> None:
        found = {each.id: each for each in lost}
        self._lost, self._last_lost = self._last_lost | found, found
        self._instances = {id: each for id, each in snapshot.instances.items() if id != self._agent.me.id}
        self._ended, self._dead = set(), set()
        self._was_blind = False

    def _look_for_deaths(self) -> None:
        registered = self._agent.snapshot.instances.keys() if self._agent.is_leased else frozenset[str]()
        missing = sorted(self._instances.keys() - registered - self._dead)
        witnesses = self._witness.of_all(missing) if missing else {}
        free = [self._instances[each] for each in missing if witnesses[each] == "free"]
        # A witness lock is free for a moment when PostgreSQL was restarted; its instance answers then.
        outcomes = dial_all(self._peers, [Peer(each.id, each.peer_address) for each in free if each.peer_address])
        ended = set(dials.unanswered(outcomes))
        if not ended:
            self._ended = ended
            return
        try:
            with self._database.transaction(timeout_secs=_LOOK_SECS) as tx:
                with_row = {each.id for each in instance_settings.read_all(tx)}
        except StoreUnavailable:
            return
        for left in ended - with_row:
            del self._instances[left]
        self._dead |= self._ended & ended & with_row
        self._ended = ended & with_row

    def _restore(self) -> list[LostInstance]:
        """Gives the registry the losses that it lacks; returns those that it has then."""
        snapshot, lost, events = self._registry.snapshot(), self._registry.lost(), self._registry.events(_MAX_EVENTS)
        known = losses.accounted_for(snapshot, lost, events)
        me = self._agent.me.id
        for each in [self._lost[id] for id in self._lost.keys() - known]:
            if self._registry.keep_lost(each):
                log.warning("loss.restored", instance_id=each.id)
                self._pair(each)
        for id in self._dead - known:
            if self._registry.keep_lost(losses.forgotten(self._instances[id], snapshot.taken_at, me)):
                self._agent.report_loss(id, "refused")
        return self._registry.lost()

    def _pair(self, lost: LostInstance) -> None:
        """A process that was started after the loss found an empty registry, and so has replaced none yet."""
        successor = find_successor(self._registry, lost, self._interval_secs)
        if successor is not None:
            self._agent.record_event("replaced", lost.id, by=successor)
