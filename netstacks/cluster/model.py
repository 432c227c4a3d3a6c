"""The data model of the cluster: instances, session records, snapshots and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

# refused: it runs with other secrets than the cluster, and accepts no sessions.
InstanceState = Literal["active", "draining", "refused"]
SessionState = Literal["active", "detached", "ended"]
EventKind = Literal["joined", "draining", "left", "reaped", "claimed", "fenced", "failover", "breaker", "clock"]


@dataclass(frozen=True)
class Peer:
    """Another instance: the id that must answer, and the `host:port` of its private listener."""

    id: str
    address: str


@dataclass(frozen=True)
class Instance:
    """One gunicorn worker. The registry sets `sessions`, and `last_heartbeat_at` by its clock.

    `opens_per_sec` is how many terminals the instance can open per second, `waiting` the length of its admission queue;
    each heartbeat renews both.
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
    sessions: int = 0
    last_heartbeat_at: float = 0.0


@dataclass(frozen=True)
class Load:
    """The load that a heartbeat reports: see `Instance`."""

    opens_per_sec: float = 0.0
    waiting: int = 0


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
class Snapshot:
    """The registered instances by id at `taken_at`, by the registry's clock.

    `unreadable` has the problem of each unreadable record, by instance id: these instances may be alive.
    """

    taken_at: float
    instances: Mapping[str, Instance]
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterSummary:
    """Counts over all instances; healthy ones are active and not stale."""

    registered_instances: int
    healthy_instances: int
    total_sessions: int


@dataclass(frozen=True)
class Event:
    """An event of the cluster, timed by the registry's clock; it concerns the instance `instance_id`."""

    at: float
    kind: EventKind
    instance_id: str
    details: Mapping[str, str] = field(default_factory=dict)
