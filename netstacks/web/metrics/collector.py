"""The collector: reads at each scrape what the parts of this instance know already."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

import structlog
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from netstacks import __version__, greenlets
from netstacks.cluster.model import HealthStatus, InstanceState
from netstacks.cluster.overview import expected_number
from netstacks.instance.observer import View
from netstacks.instance.shared_query import SharedQuery
from netstacks.registry.connection import connection_counts
from netstacks.registry.figures import failover_problem
from netstacks.terminal.attachment import Kind
from netstacks.terminal.session_facts import State
from netstacks.web.metrics.families import gauge, gauges, states

if TYPE_CHECKING:
    from netstacks.web.context import Services

log = structlog.get_logger()

_DEPENDENCIES = ("valkey", "lease", "database", "witness", "disk", "consistency")
# A step of a loop over sessions takes less than a millisecond.
_SESSIONS_STEP = 500
# How old the view of the cluster may be when a scrape begins to read it again.
_VIEW_SECS = 5.0


class InstanceCollector(Collector):
    """All metrics of this instance: those of the process's registry, then those that are read from `services`.

    A scrape waits for neither PostgreSQL nor Valkey, and other greenlets run between its steps. A part that fails is
    logged and left out.
    """

    def __init__(self, services: "Services") -> None:
        self._services = services
        self._view: View | None = None
        """The last view of the cluster; None before the first one."""
        self._look = SharedQuery("metrics-look", self._read_view)

    def collect(self) -> Iterator[Metric]:
        # In the background. Its result is mostly there by the time that `_valkey` uses it, else at the next scrape.
        self._look.refresh(_VIEW_SECS, 0.0)
        parts = (
            REGISTRY.collect,
            self._instance,
            self._health,
            self._sessions,
            self._heartbeat,
            self._connections,
            self._recordings,
            self._admission,
            self._language_models,
            self._valkey,
            self._backup,
            self._cluster,
            self._sessions_of_cluster,
            self._consistency,
            self._peers,
        )
        for part in parts:
            try:
                for family in part():
                    yield family
                    greenlets.give_way()
            except Exception:
                log.exception("metrics.failed", part=part.__name__)

    def _read_view(self) -> None:
        self._view = self._services.observer.look()

    def _instance(self) -> Iterator[Metric]:
        me = self._services.agent.me
        yield gauges(
            "build_info",
            "The version and the id of this instance; always 1",
            ("version", "instance_id"),
            [((__version__, me.id), 1.0)],
        )
        text = "1 for the state of this instance in the cluster, 0 for the others"
        yield states("instance_state", text, "state", get_args(InstanceState), (me.state,))
        yield gauge("greenlets", "Greenlets of this instance, not counting those of HTTP requests", greenlets.running())

    def _health(self) -> Iterator[Metric]:
        report = self._services.health.report()
        status = report.status if report else "unhealthy"
        text = "1 for the health of this instance, 0 for the others; unhealthy while it starts"
        yield states("health_status", text, "status", get_args(HealthStatus), (status,))
        if report is None:
            return
        facts = report.facts
        text = "1 for each dependency that this instance lacks, so that it is degraded; 0 for the others"
        yield states("health_degraded", text, "dependency", _DEPENDENCIES, report.degraded)
        yield gauge("database_up", "Whether PostgreSQL answers this instance (1) or not (0)", facts.database)
        if facts.valkey != "disabled":
            text = "Whether Valkey answers this instance (1) or not (0); absent without Valkey"
            yield gauge("valkey_up", text, facts.valkey == "connected")

    def _sessions(self) -> Iterator[Metric]:
        active = detached = controls = viewers = 0
        for number, session in enumerate(self._services.hub, 1):
            # By identity: hashing an enumeration's member, or reading its value, would take most of the loop's time.
            state = session.state
            active += state is State.ACTIVE
            detached += state is State.DETACHED
            for attachment in session.attachments:
                is_control = attachment.kind is Kind.CONTROL
                controls += is_control
                viewers += not is_control
            if number % _SESSIONS_STEP == 0:
                greenlets.give_way()
        text = "Sessions of this instance, with their user attached (active) or without (detached)"
        yield gauges("sessions", text, ("state",), [(("active",), active), (("detached",), detached)])
        text = "Open terminals of the sessions of this instance: the users' own (control), and viewers of shares"
        yield gauges("attachments", text, ("kind",), [(("control",), controls), (("viewer",), viewers)])

    def _heartbeat(self) -> Iterator[Metric]:
        age_secs = self._services.agent.heartbeat_age_secs
        yield gauge("heartbeat_age_seconds", "Time since the last successful heartbeat of this instance", age_secs)
        text = "HA_STALE_INSTANCE_TTL_SECS: an instance whose heartbeat is older is declared dead"
        yield gauge("stale_instance_ttl_seconds", text, self._services.settings.ha_stale_instance_ttl_secs)

    def _connections(self) -> Iterator[Metric]:
        counts = {}
        for pool, in_use, idle in self._services.database.contact.connection_counts():
            counts[pool, "in_use"], counts[pool, "idle"] = float(in_use), float(idle)
        text = "Connections to PostgreSQL, by pool: for pages, for finding and opening sessions (routing), and for"
        text += " recordings, audit and health (vital)"
        yield gauges("database_connections", text, ("pool", "state"), counts.items())
        in_use, idle = connection_counts()
        values = [(("in_use",), float(in_use)), (("idle",), float(idle))]
        yield gauges(
            "registry_connections", "Connections to Valkey, those to Sentinels not counted", ("state",), values
        )

    def _recordings(self) -> Iterator[Metric]:
        text = "Memory that recordings use until they are stored in PostgreSQL"
        yield gauge("recorder_backlog_bytes", text, self._services.recorder.waiting_bytes)
        disk = self._services.disk_watch
        if disk is not None and disk.free_bytes is not None and disk.spool_files is not None:
            yield gauge("disk_free_bytes", "Free space on the disk of SPOOL_DIR", disk.free_bytes)
            text = "Files of recordings in SPOOL_DIR that are not stored yet, or that PostgreSQL has refused"
            yield gauge("spool_files", text, disk.spool_files)

    def _admission(self) -> Iterator[Metric]:
        yield gauge(
            "admission_waiting", "Clients in the admission queue of this instance", len(self._services.admission)
        )

    def _language_models(self) -> Iterator[Metric]:
        llm = self._services.llm
        open_circuits = {
            (provider.name, model): float(not llm.circuits.circuit_for(provider, model).is_closed)
            for provider in llm.directory.configured()
            for model in provider.models
        }
        text = "Whether calls to this provider and model are paused (1) or made (0)"
        yield gauges("llm_circuit_open", text, ("provider", "model"), open_circuits.items())

    def _valkey(self) -> Iterator[Metric]:
        if self._view is None:
            return
        figures, sentinels = self._view.registry.figures, self._view.registry.sentinels
        if figures is not None:
            yield gauge("valkey_memory_used_bytes", "Memory that Valkey uses", figures.memory_used_bytes)
            text = "Memory that Valkey may use at most (maxmemory); 0 without a limit"
            yield gauge("valkey_memory_limit_bytes", text, figures.memory_limit_bytes)
            yield gauge("valkey_replicas", "Replicas that are connected to Valkey's primary", len(figures.replicas))
            text = "0 while Valkey fails to write to its disk, else 1; also 1 without persistence"
            yield gauge("valkey_persistence_ok", text, figures.persistence_problem is None)
            text = "Records in Valkey that cannot be read, and are left out"
            yield gauge("valkey_unreadable_records", text, len(self._view.unreadable))
        if sentinels is not None:
            text = "Whether the Sentinels could replace a failed primary (1) or not (0); absent without Sentinels"
            yield gauge("valkey_failover_possible", text, failover_problem(figures, sentinels) is None)

    def _backup(self) -> Iterator[Metric]:
        if self._view is not None and self._view.database.backup is not None:
            text = "When it was last proven that a backup can be restored, in seconds since 1970; absent before"
            yield gauge("backup_proven_timestamp_seconds", text, self._view.database.backup.proven_at.timestamp())

    def _cluster(self) -> Iterator[Metric]:
        report = self._services.health.report()
        if report is None:
            return
        summary = report.facts.cluster
        text = "Instances that are registered in the cluster, as this instance sees it"
        yield gauge("cluster_registered_instances", text, summary.registered_instances)
        text = "Instances of the cluster that send heartbeats and serve"
        yield gauge("cluster_healthy_instances", text, summary.healthy_instances)
        if self._view is None or self._view.seen_at is None:
            return
        lost = len(self._view.lost)
        yield gauge("cluster_lost_instances", "Instances that were lost and neither replaced nor dismissed", lost)
        setting = self._services.settings.ha_expected_instances
        expected = expected_number(setting, summary, lost)
        text = "Instances that should be there: HA_EXPECTED_INSTANCES, or else the lost and all that do not drain"
        yield gauge("cluster_expected_instances", text, expected)

    def _sessions_of_cluster(self) -> Iterator[Metric]:
        report = self._services.health.report()
        if report is not None:
            text = "Sessions of all registered instances, by the registry"
            yield gauge("cluster_sessions", text, report.facts.cluster.total_sessions)
        # Right after an outage, instances that have not registered again yet would count as gone.
        if self._view is None or self._view.database.unowned is None or self._services.agent.is_blind:
            return
        text = "Sessions that belong to no registered instance: they wait for their users; absent while that is unknown"
        yield gauge("cluster_sessions_without_owner", text, self._view.database.unowned)

    def _consistency(self) -> Iterator[Metric]:
        text = "Disagreements between the instances on this database, such as settings that differ"
        yield gauge("cluster_inconsistencies", text, len(self._services.consistency.problems()))

    def _peers(self) -> Iterator[Metric]:
        skews = self._services.peers.clocks.skews
        if skews:
            text = "The largest difference between the clock of this host and those of its peers; absent without peers"
            yield gauge("clock_skew_seconds", text, max(map(abs, skews.values())))
