"""The data model of the cluster: instances, session records, snapshots and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

# refused: it runs with other secrets than the cluster, and accepts no sessions.
InstanceState = Literal["active", "draining", "refused"]
SessionState = Literal["active", "detached", "ended"]
HealthStatus = Literal["healthy", "degraded", "draining", "unhealthy"]
# "" comes from a version that does not report its health.
ReportedHealth = Literal["", HealthStatus]
# The longest reason that a heartbeat reports, in characters.
MAX_REASON = 500
EventKind = Literal[
    "joined",
    "draining",
    "drain_cancelled",
    "left",
    "reaped",
    "replaced",
    "dismissed",
    "claimed",
    "moved",
    "fenced",
    "failover",
    "valkey_lost",
    "valkey_back",
    "database_lost",
    "database_back",
    "disk_low",
    "breaker",
    "clock",
    "licence",
    "inconsistent",
]
# silence: it sent no heartbeat for the TTL. refused: its process is proven to be gone.
LossProof = Literal["silence", "refused"]


@dataclass(frozen=True)
class Peer:
    """Another instance: the id that must answer, and the `host:port` of its private listener."""

    id: str
    address: str


@dataclass(frozen=True)
class Instance:
    """One gunicorn worker. The registry sets `sessions`, and `last_heartbeat_at` by its clock.

    `started_at` is by the registry's clock, too, as soon as the instance is registered; by the host's until then.
    `opens_per_sec` is how many terminals the instance can open per second, `waiting` the length of its admission queue,
    and `health` what its /api/v1/health says, with the `reason`: each heartbeat renews them.
    """

    id: str
    host: str
    peer_address: str
    started_at: float
    version: str
    state: InstanceState
    secrets_fingerprint: str
    pid: int
    opens_per_sec: float = 0.0
    waiting: int = 0
    health: ReportedHealth = ""
    reason: str = ""
    sessions: int = 0
    last_heartbeat_at: float = 0.0
    replaces: str = ""
    """The lost instance that it has replaced; set by the registry, at most once."""

    @property
    def takes_sessions(self) -> bool:
        """Whether it says that it can take sessions; its heartbeat is judged elsewhere."""
        return self.state == "active" and self.health != "unhealthy"


@dataclass(frozen=True)
class Load:
    """The load and the health that a heartbeat reports: see `Instance`."""

    opens_per_sec: float = 0.0
    waiting: int = 0
    health: ReportedHealth = ""
    reason: str = ""


NO_LOAD = Load()


@dataclass(frozen=True)
class SessionRecord:
    """A session's location: `owner` holds its SSH connection at `epoch`. None after its release or its end."""

    id: UUID
    owner: str | None
    epoch: int
    device: str
    user: str
    started_at: float
    state: SessionState
    cols: int
    rows: int


@dataclass(frozen=True)
class LostInstance:
    """An instance that was reaped and not replaced yet. Times are by the registry's clock, in seconds since 1970.

    `sessions` is how many sessions the registry had of it when it was lost, `reaped_by` the instance that declared it
    dead.
    """

    id: str
    host: str
    peer_address: str
    version: str
    started_at: float
    last_heartbeat_at: float
    lost_at: float
    sessions: int
    reaped_by: str
    proof: LossProof


@dataclass(frozen=True)
class Sample:
    """Figures of one instance at one moment, `at`, by the registry's clock.

    `loop_lag_secs` is the largest lag of the event loop since the last sample, `valkey_latency_secs` the duration of
    the last successful heartbeat, and `memory_bytes` the resident set of the process.
    """

    at: float
    sessions: int
    heartbeat_age_secs: float
    loop_lag_secs: float
    valkey_latency_secs: float
    memory_bytes: int


@dataclass(frozen=True)
class Snapshot:
    """The registered instances by id at `taken_at`, by the registry's clock.

    `unreadable` has the problem of each unreadable record, by instance id: these instances may be alive.
    """

    taken_at: float
    instances: Mapping[str, Instance]
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterSummary:
    """Counts over all instances; which ones count as healthy is up to `overview`."""

    registered_instances: int
    healthy_instances: int
    total_sessions: int
    draining_instances: int = 0


@dataclass(frozen=True)
class Event:
    """An event of the cluster, timed by the registry's clock; it concerns the instance `instance_id`."""

    at: float
    kind: EventKind
    instance_id: str
    details: Mapping[str, str] = field(default_factory=dict)
