"""What one instance watches: its stores, its vault, its peers, and the facts that its health is judged by."""

from netstacks import membership
from netstacks.health_facts import HealthFacts, VaultCheck
from netstacks.instance.admission import Admission
from netstacks.instance.agent import Agent
from netstacks.instance.consistency_watch import ConsistencyWatch
from netstacks.instance.load_meter import LoadMeter
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.other_databases import OtherDatabases
from netstacks.instance.peer_watches import PeerWatches
from netstacks.instance.startup import Startup
from netstacks.peer.client import PeerClient
from netstacks.registry.base import Registry
from netstacks.settings import Settings
from netstacks.store.checkup import Checkup
from netstacks.stores import Stores
from netstacks.terminal.hub import Hub


class Watches:
    """`started_at` is when the instance started, by the monotonic clock."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        *,
        started_at: float,
        agent: Agent,
        registry: Registry,
        hub: Hub,
        admission: Admission,
        startup: Startup,
        loop: LoopWatch,
        peers: PeerClient,
    ) -> None:
        interval_secs, ttl_secs = settings.ha_heartbeat_interval_secs, settings.ha_stale_instance_ttl_secs
        self.loop = loop
        self.vault_check = VaultCheck(stores.vault, startup)
        self.peers = PeerWatches(
            agent,
            peers,
            registry,
            stores.vital_database,
            stores.witness,
            interval_secs=interval_secs,
            ttl_secs=ttl_secs,
        )
        self.consistency = ConsistencyWatch(
            agent,
            registry,
            stores.vital_database,
            stores.witness,
            self.peers.clocks,
            OtherDatabases(agent, registry, peers, heartbeat_secs=interval_secs),
            settings=membership.agreeing_settings(settings),
            heartbeat_secs=interval_secs,
        )
        self.health_facts = HealthFacts(
            started_at=started_at,
            interval_secs=interval_secs,
            ttl_secs=ttl_secs,
            agent=agent,
            registry=registry,
            hub=hub,
            admission=admission,
            checkup=Checkup(stores.vital_database),
            startup=startup,
            vault_check=self.vault_check,
            witness=stores.witness,
            disk_watch=stores.disk_watch,
            consistency=self.consistency,
            loop=loop,
            load_meter=LoadMeter(),
        )
