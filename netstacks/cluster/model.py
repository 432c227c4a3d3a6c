"""The words of the cluster as facts: instances, where sessions live, what was seen at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

# refused: it runs, but with other secrets than the cluster, and takes no sessions.
InstanceState = Literal["active", "draining", "refused"]
SessionState = Literal["active", "detached", "ended"]
EventKind = Literal["joined", "draining", "left", "reaped", "claimed", "fenced", "failover", "breaker", "clock"]


@dataclass(frozen=True)
class Peer:
    """Where another instance is reached: the `host:port` of its private listener, and who must answer there."""

    id: str
    address: str


@dataclass(frozen=True)
class Instance:
    """One gunicorn worker. `sessions` and `last_heartbeat_at` are the registry's to fill, by its clock.

    `opens_per_sec` is how many terminals it can open a second, `waiting` how many clients wait there for their turn;
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
    """What a heartbeat tells of an instance: see `Instance`."""

    opens_per_sec: float = 0.0
    waiting: int = 0


NO_LOAD = Load()


@dataclass(frozen=True)
class SessionRecord:
    """Where a session lives: `owner` holds its SSH connection at `epoch`; None when it was released or has ended."""

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
    """The registered instances by id, as the registry had them at `taken_at` of its clock.

    `unreadable` are those whose record cannot be read, by id, and what is wrong with it: they may live.
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
    """Something that happened to the cluster, by the registry's clock; `instance_id` is whom it concerns."""

    at: float
    kind: EventKind
    instance_id: str
    details: Mapping[str, str] = field(default_factory=dict)
