"""The protocol of registries, which store the living instances and the locations of sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from netstacks.cluster.circuits import Circuit
from netstacks.cluster.health import ValkeyStatus
from netstacks.cluster.model import NO_LOAD, Event, EventKind, Instance, InstanceState, Load, SessionRecord, Snapshot
from netstacks.greenlets import Background

# fenced: another instance owns the session at this epoch or a later one; this copy must close.
# unknown_owner: the owner is not registered, so nothing was stored.
Publication = Literal["published", "fenced", "unknown_owner"]


@dataclass(frozen=True)
class Pulse:
    """The answer to a heartbeat."""

    state: InstanceState | None
    """The state in the registry, which an administrator may have changed; None when the instance is not registered."""
    server: str
    """The run id of the server: a restart or a failover changes it."""
    at: float
    """The time of the heartbeat by the registry's clock."""
    is_first: bool = False
    """Whether this is the first heartbeat of any instance to this run of the server."""


@dataclass(frozen=True)
class RegistryStatus:
    """The status of the registry: `details` are figures of the server by name, `error` says why it is unreachable."""

    connection: ValkeyStatus
    details: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


class Registry(Protocol):
    """Every method except `status` raises RegistryUnavailable when the registry does not answer in time.

    They raise RegistryBusy when this instance has too many calls under way. The absence of an instance has a meaning
    only in a registry that `is_shared`. Unreadable records are left out of results and reported by `unreadable`.
    """

    is_shared: bool

    def reserved(self) -> "Registry":
        """The same registry with connections of its own, which other callers cannot use up."""

    def background(self) -> tuple[Background, ...]:
        """The greenlets that run until the process ends."""

    def register(self, instance: Instance) -> None:
        """Registers the instance with a heartbeat; idempotent."""

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        """Renews the heartbeat and the load of a registered instance; an unknown one must register again."""

    def set_state(self, instance_id: str, state: InstanceState) -> bool:
        """Sets the state, which the instance's next heartbeat returns; False when the instance is unknown."""

    def deregister(self, instance_id: str) -> None:
        """Removes the instance and its sessions."""

    def publish(self, *records: SessionRecord) -> list[Publication]:
        """Stores session locations, and only moves epochs forward; the results are in the order of the records.

        Every record has an owner: a session that was released or has ended must be removed instead.
        """

    def remove(self, owner: str, epochs: Mapping[UUID, int]) -> int:
        """Removes sessions of one owner, except those with another owner or a later epoch; returns how many."""

    def session(self, session_id: UUID) -> SessionRecord | None:
        """The location of the session."""

    def sessions_of(self, instance_id: str) -> list[SessionRecord]:
        """All sessions of one instance."""

    def instance(self, instance_id: str) -> Instance | None:
        """One registered instance. Raises RegistryUnavailable also for an unreadable record: it may be alive."""

    def snapshot(self) -> Snapshot:
        """All registered instances at one moment; its cost does not depend on the number of sessions."""

    def reap(self, ttl_secs: float) -> list[str]:
        """Removes stale instances with their sessions and returns their ids; none while no instance is fresh.

        Several instances may call it at the same time: each stale instance is returned to exactly one of them.
        """

    def record_event(self, kind: EventKind, instance_id: str, **details: str) -> None:
        """Stores an event of the cluster; the oldest events are dropped."""

    def events(self, limit: int = 50) -> list[Event]:
        """The latest events, newest first."""

    def circuits(self) -> tuple[float, dict[str, Circuit]]:
        """The time by the registry's clock, and all circuits by name."""

    def replace_circuit(self, name: str, circuit: Circuit, expected_version: int) -> tuple[float, Circuit | None]:
        """Stores the circuit if the stored one has the expected version; a missing one has version 0.

        Returns the time by the registry's clock, and None on success, else the stored circuit.
        """

    def forget_circuit(self, name: str) -> None:
        """Removes the circuit of a deleted provider."""

    def now(self) -> float:
        """The time by the registry's clock, in seconds since 1970; the clocks of instances may differ."""

    def unreadable(self) -> Mapping[str, str]:
        """The unreadable records of the last minute: the problem of each, by its key."""

    def status(self) -> RegistryStatus:
        """Queries the status of the registry; never raises."""
