"""The facts that the health of one instance is judged by, gathered from its parts."""

from collections.abc import Iterable

from netstacks import __version__, greenlets
from netstacks.cluster import overview
from netstacks.cluster.consistency import of_health
from netstacks.cluster.health import Facts
from netstacks.cluster.model import ClusterSummary
from netstacks.errors import StoreUnavailable, VaultLocked
from netstacks.instance.admission import Admission
from netstacks.instance.agent import Agent
from netstacks.instance.consistency_watch import ConsistencyWatch
from netstacks.instance.disk_watch import DiskWatch
from netstacks.instance.load_meter import LoadMeter
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.startup import Startup
from netstacks.registry.base import Registry
from netstacks.store.checkup import Checkup
from netstacks.store.vault import Vault
from netstacks.store.witness import Witness
from netstacks.terminal.hub import Hub

_VAULT_CHECK_SECS = 5.0


class VaultCheck:
    """Checks periodically that the master key of this process still opens the vault; `problem` says why it does not."""

    def __init__(self, vault: Vault, startup: Startup) -> None:
        self._vault = vault
        self._startup = startup
        self.problem: str | None = None
        # In a greenlet of its own: the health facts must not wait for a table that is locked.
        self.periodic = greenlets.Periodic("vault-check", self._check, _VAULT_CHECK_SECS)

    def start(self) -> None:
        self.periodic.start()

    def _check(self) -> None:
        try:
            if self._startup.ready:
                # A rotation during the life of this instance can retire the key that opened the vault at the start.
                self._vault.unlock()
            self.problem = None
        except VaultLocked as error:
            self.problem = str(error)
        except StoreUnavailable:
            # The database facts report this; the last result of the vault check stands.
            pass


class HealthFacts:
    """Gathers the facts; `started_at` is by the monotonic clock."""

    def __init__(
        self,
        *,
        started_at: float,
        interval_secs: float,
        ttl_secs: float,
        agent: Agent,
        registry: Registry,
        hub: Hub,
        admission: Admission,
        checkup: Checkup,
        startup: Startup,
        vault_check: VaultCheck,
        witness: Witness,
        disk_watch: DiskWatch,
        consistency: ConsistencyWatch,
        loop: LoopWatch,
        load_meter: LoadMeter,
    ) -> None:
        self._started_at = started_at
        self._interval_secs = interval_secs
        self._ttl_secs = ttl_secs
        self._agent = agent
        self._registry = registry
        self._hub = hub
        self._admission = admission
        self._checkup = checkup
        self._startup = startup
        self._vault_check = vault_check
        self._witness = witness
        self._disk_watch = disk_watch
        self._consistency = consistency
        self._loop = loop
        self._load_meter = load_meter
        self._backgrounds: tuple[greenlets.Background, ...] = ()

    def watch(self, backgrounds: Iterable[greenlets.Background]) -> None:
        """Sets the greenlets whose death makes this instance unhealthy.

        Called when the instance starts and not at construction: the last of these parts, the waiting room, is made
        by the web application, which is built around the finished health monitor.
        """
        self._backgrounds = tuple(backgrounds)

    def gather(self, now: float) -> Facts:
        """Asks all parts; waits for PostgreSQL and for the registry. `now` is the time by the monotonic clock."""
        # Both at once: when both hang, the facts must not become as old as those of a blocked event loop.
        registry = greenlets.spawn("health-registry", self._registry.status)
        database = self._checkup.check()
        valkey = registry.get()
        return Facts(
            instance_id=self._agent.me.id,
            version=__version__,
            started_at=self._started_at,
            taken_at=now,
            database=database.answers,
            database_problem=database.problem,
            disk_problem=self._disk_watch.problem,
            inconsistencies=of_health(
                self._consistency.problems(), self._agent.me.id, is_refused=bool(self._agent.differing_secrets)
            ),
            valkey=valkey.connection,
            valkey_problem=valkey.error if valkey.connection == "disconnected" else None,
            lease_problem=self._agent.contact.problem,
            cluster=self._cluster(),
            local_sessions=len(self._hub),
            cpu_share=self._load_meter.cpu_share(),
            waiting=len(self._admission),
            starting=not self._startup.ready and self._startup.problem is None,
            leased=self._agent.is_leased,
            differing_secrets=self._agent.differing_secrets,
            schema_problem=self._startup.problem or self._vault_check.problem,
            witness_held=self._witness.is_held,
            died=tuple(each.name for each in self._backgrounds if each.has_died),
            hub_blocked=self._loop.is_blocked,
        )

    def _cluster(self) -> ClusterSummary:
        agent = self._agent
        is_blind = agent.is_blind
        return overview.summarize(
            overview.overview(agent.snapshot, self._interval_secs, self._ttl_secs, is_blind=is_blind)
        )
