"""What every registry promises: who is alive, where each session lives. Memory and Valkey keep the same promises."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from netstacks.cluster.circuits import Circuit
from netstacks.cluster.health import ValkeyStatus
from netstacks.cluster.model import NO_LOAD, Event, EventKind, Instance, InstanceState, Load, SessionRecord, Snapshot
from netstacks.greenlets import Background

# fenced: another instance owns the session at this epoch or a later one; this copy must close.
# unknown_owner: the owner is not registered (any more), so nothing was stored.
Publication = Literal["published", "fenced", "unknown_owner"]


@dataclass(frozen=True)
class Pulse:
    """The answer to a heartbeat."""

    state: InstanceState | None
    """As the registry has it, where an administrator may have changed it. None: the instance is unknown there."""
    server: str
    """Which run of which server answered: it changes with a restart and with a failover."""
    at: float
    """The moment of the heartbeat by the registry's clock."""
    is_first: bool = False
    """Whether nobody's heartbeat had come to that run before."""


@dataclass(frozen=True)
class RegistryStatus:
    """How the registry itself fares. `details` are the server's figures by name, `error` says why it is away."""

    connection: ValkeyStatus
    details: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


class Registry(Protocol):
    """Every method but `status` raises RegistryUnavailable when the registry does not answer in time.

    And RegistryBusy when this instance asks too much of it at once.
    Only in a registry that `is_shared` does the absence of an instance say anything about it.

    A record that cannot be read is left out of what is returned, and is named by `unreadable`.
    """

    is_shared: bool

    def reserved(self) -> "Registry":
        """The same registry for one user, by connections that others cannot use up."""

    def background(self) -> tuple[Background, ...]:
        """The greenlets that it runs for as long as the process lives."""

    def register(self, instance: Instance) -> None:
        """Makes the instance known, with a heartbeat of now. Repeating it is harmless."""

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        """Says that the instance lives, and what it can take. An unknown one stays unknown and must register again."""

    def set_state(self, instance_id: str, state: InstanceState) -> bool:
        """Changes what the instance is told at its next heartbeat; False when it is unknown."""

    def deregister(self, instance_id: str) -> None:
        """Forgets the instance and the sessions it still has there."""

    def publish(self, *records: SessionRecord) -> list[Publication]:
        """Stores where sessions live, only ever moving their epochs forward; the answers are in order.

        Every record has an owner: a session that is released or has ended is removed instead.
        """

    def remove(self, owner: str, epochs: Mapping[UUID, int]) -> int:
        """Forgets sessions of one owner, each unless another owner or a later epoch has it; how many were forgotten."""

    def session(self, session_id: UUID) -> SessionRecord | None:
        """Where the session lives."""

    def sessions_of(self, instance_id: str) -> list[SessionRecord]:
        """All sessions of one instance."""

    def instance(self, instance_id: str) -> Instance | None:
        """One registered instance. Raises RegistryUnavailable, too, when its record cannot be read: it may live."""

    def snapshot(self) -> Snapshot:
        """All registered instances at one moment; the cost does not grow with the sessions."""

    def reap(self, ttl_secs: float) -> list[str]:
        """Forgets the stale instances with their sessions and returns their ids; nobody while nobody seems to live.

        Any number of instances may call it at the same time: each stale one is returned to exactly one of them.
        """

    def record_event(self, kind: EventKind, instance_id: str, **details: str) -> None:
        """Keeps something that happened for whoever looks at the cluster; the oldest fall out."""

    def events(self, limit: int = 50) -> list[Event]:
        """The newest events, newest first."""

    def circuits(self) -> tuple[float, dict[str, Circuit]]:
        """The moment by the registry's clock, and all circuits by name."""

    def replace_circuit(self, name: str, circuit: Circuit, expected_version: int) -> tuple[float, Circuit | None]:
        """Stores the circuit if the present one has the expected version; one that is not there has version 0.

        The moment by the registry's clock, and None when it was stored, else the present circuit.
        """

    def forget_circuit(self, name: str) -> None:
        """Forgets the circuit of a provider that was deleted."""

    def now(self) -> float:
        """The registry's clock, in seconds since 1970: instances may disagree on the time."""

    def unreadable(self) -> Mapping[str, str]:
        """The records that readers have left out within the last minute: what is wrong with each, by its key."""

    def status(self) -> RegistryStatus:
        """Asks how the registry fares; never raises."""
