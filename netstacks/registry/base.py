"""The protocol of registries, which store the living instances and the locations of sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from netstacks.cluster.circuits import Circuit
from netstacks.cluster.health import ValkeyStatus
from netstacks.cluster.model import (
    NO_LOAD,
    Event,
    EventKind,
    Instance,
    InstanceState,
    Load,
    LostInstance,
    Sample,
    SessionRecord,
    Snapshot,
)
from netstacks.greenlets import Background
from netstacks.registry.figures import SentinelFigures, ValkeyFigures

# fenced: another instance owns the session at this epoch or a later one; this copy must close.
# unknown_owner: the owner is not registered, so nothing was stored.
Publication = Literal["published", "fenced", "unknown_owner"]
# none: without Valkey. plain: VALKEY_URL names the server. sentinel: Sentinels name it.
Mode = Literal["none", "plain", "sentinel"]
# A lost instance is forgotten after this time.
LOST_SECS = 86_400.0
# The samples that are kept of an instance: at one every ten seconds an hour, until two hours after the last one.
MAX_SAMPLES, SAMPLES_SECS = 360, 7200.0


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
    address: str = ""
    """The `host:port` of the server; empty for a registry in memory."""


@dataclass(frozen=True)
class RegistryStatus:
    """The status of the registry. `error` says why it is unreachable, or why a configured Valkey is not used.

    `figures` is None while it is unreachable; `sentinels` has the last views of the Sentinels, None in other modes.
    """

    connection: ValkeyStatus
    mode: Mode = "none"
    figures: ValkeyFigures | None = None
    sentinels: SentinelFigures | None = None
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
        """Registers the instance with a heartbeat; idempotent. It is no longer lost, if it was."""

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        """Renews the heartbeat and the load of a registered instance; an unknown one must register again."""

    def set_state(self, instance_id: str, state: InstanceState) -> bool:
        """Sets the state, which the instance's next heartbeat returns; False when the instance is unknown."""

    def deregister(self, instance_id: str) -> None:
        """Removes the instance and its sessions: it leaves cleanly, and is not lost."""

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

    def reap(self, ttl_secs: float, *, by: str) -> list[str]:
        """Removes stale instances with their sessions and returns their ids; none while no instance is fresh.

        Keeps each as lost. Several instances may call it at the same time: each stale instance is returned to exactly
        one of them. `by` is the calling instance.
        """

    def reap_proven(self, instance_id: str, *, by: str) -> bool:
        """Removes an instance that is proven dead, with its sessions, and keeps it as lost.

        False when it was not registered. Of several callers at the same time, exactly one gets True.
        """

    def lost(self) -> list[LostInstance]:
        """The instances that were reaped within LOST_SECS and neither replaced nor dismissed, oldest loss first."""

    def keep_lost(self, lost: LostInstance) -> bool:
        """Keeps an instance as lost that this registry has forgotten, until LOST_SECS after its loss.

        False when it is registered or lost already, or when its loss is that long ago; of several callers at the same
        time, exactly one gets True.
        """

    def dismiss_lost(self, instance_id: str) -> bool:
        """Forgets a lost instance; True to exactly one of several callers."""

    def replace_lost(self, instance_id: str, *, by: str) -> bool:
        """Forgets a lost instance because `by`, a registered one, has taken its place.

        False when it is not lost (any more), or when `by` is not registered or has replaced another one already.
        """

    def add_samples(self, instance_id: str, samples: Sequence[Sample]) -> None:
        """Stores samples of an instance, oldest first; about MAX_SAMPLES of each instance are kept."""

    def samples(self, after: Mapping[str, float]) -> dict[str, list[Sample]]:
        """By instance id, the samples that are later than the time given for that id (0 for all), oldest first.

        Has an entry for each id that was given.
        """

    def record_event(self, kind: EventKind, instance_id: str, *, once_secs: float = 0.0, **details: str) -> None:
        """Stores an event of the cluster; the oldest events are dropped.

        With `once_secs`, drops the event when one of its kind was recorded like this within that time: all instances
        see an outage of Valkey at once.
        """

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

    def cluster_id(self, known: str = "") -> str:
        """The random id of this registry, by which instances find out whether they use the same one.

        A registry that has lost its id, or never had one, gets `known`, the id that the caller saw before, else a new
        one.
        """

    def now(self) -> float:
        """The time by the registry's clock, in seconds since 1970; the clocks of instances may differ."""

    def unreadable(self) -> Mapping[str, str]:
        """The unreadable records of the last minute: the problem of each, by its key."""

    def status(self) -> RegistryStatus:
        """Queries the status of the registry; never raises."""
