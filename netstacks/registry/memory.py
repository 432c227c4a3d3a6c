"""The registry of a single instance, in the memory of its process."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from netstacks.cluster.circuits import Circuit
from netstacks.cluster.instance_rows import NO_REGISTRY
from netstacks.cluster.liveness import stale
from netstacks.cluster.model import (
    NO_LOAD,
    Event,
    EventKind,
    Instance,
    InstanceState,
    Load,
    LossProof,
    LostInstance,
    Sample,
    SessionRecord,
    Snapshot,
)
from netstacks.greenlets import Background
from netstacks.registry.base import LOST_SECS, MAX_SAMPLES, SAMPLES_SECS, Publication, Pulse, RegistryStatus

MAX_EVENTS = 1000


class MemoryRegistry:
    """Not shared between processes. `clock` is the registry's clock, in seconds since 1970.

    `why` is the reason, shown to operators, why a configured Valkey is not used.
    """

    is_shared = False

    def __init__(self, clock: Callable[[], float] = time.time, why: str | None = None) -> None:
        self._clock = clock
        self._why = why
        self._instances: dict[str, Instance] = {}
        self._sessions: dict[UUID, SessionRecord] = {}
        self._owned: dict[str, set[UUID]] = {}
        """Invariant: has an entry for every registered instance, and every session is in the entry of its owner."""
        self._lost: dict[str, LostInstance] = {}
        """Ordered by the time of the loss."""
        self._samples: dict[str, deque[Sample]] = {}
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._reported_at: dict[EventKind, float] = {}
        """When the last event was recorded that all instances see at once."""
        self._circuits: dict[str, Circuit] = {}

    def reserved(self) -> "MemoryRegistry":
        return self

    def background(self) -> tuple[Background, ...]:
        return ()

    def register(self, instance: Instance) -> None:
        present = self._instances.get(instance.id)
        replaces = present.replaces if present else ""
        self._instances[instance.id] = replace(instance, last_heartbeat_at=self._clock(), replaces=replaces)
        self._owned.setdefault(instance.id, set())
        self._lost.pop(instance.id, None)

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        instance = self._instances.get(instance_id)
        if instance is None:
            return Pulse(None, "memory", self._clock())
        now = self._clock()
        self._instances[instance_id] = replace(instance, last_heartbeat_at=now, **vars(load))
        return Pulse(instance.state, "memory", now)

    def set_state(self, instance_id: str, state: InstanceState) -> bool:
        instance = self._instances.get(instance_id)
        if instance is None:
            return False
        self._instances[instance_id] = replace(instance, state=state)
        return True

    def deregister(self, instance_id: str) -> None:
        self._instances.pop(instance_id, None)
        for session_id in self._owned.pop(instance_id, ()):
            del self._sessions[session_id]

    def publish(self, *records: SessionRecord) -> list[Publication]:
        return [self._publish(record) for record in records]

    def _publish(self, record: SessionRecord) -> Publication:
        assert record.owner is not None, "a session without an owner is removed, not published"
        present = self._sessions.get(record.id)
        if present is not None and not _supersedes(record, present):
            return "fenced"
        if record.owner not in self._instances:
            return "unknown_owner"
        if present is not None:
            self._remove(present)
        self._sessions[record.id] = record
        self._owned[record.owner].add(record.id)
        return "published"

    def remove(self, owner: str, epochs: Mapping[UUID, int]) -> int:
        present = [self._sessions[session_id] for session_id in epochs if session_id in self._sessions]
        removed = [each for each in present if each.owner == owner and each.epoch <= epochs[each.id]]
        for each in removed:
            self._remove(each)
        return len(removed)

    def _remove(self, record: SessionRecord) -> None:
        assert record.owner is not None
        del self._sessions[record.id]
        self._owned[record.owner].discard(record.id)

    def session(self, session_id: UUID) -> SessionRecord | None:
        return self._sessions.get(session_id)

    def sessions_of(self, instance_id: str) -> list[SessionRecord]:
        return [self._sessions[session_id] for session_id in self._owned.get(instance_id, ())]

    def instance(self, instance_id: str) -> Instance | None:
        instance = self._instances.get(instance_id)
        return replace(instance, sessions=len(self._owned[instance_id])) if instance else None

    def snapshot(self) -> Snapshot:
        counted = {id: replace(each, sessions=len(self._owned[id])) for id, each in self._instances.items()}
        return Snapshot(self._clock(), counted)

    def reap(self, ttl_secs: float, *, by: str) -> list[str]:
        reaped = stale(self.snapshot(), ttl_secs)
        self._lose(reaped, by, "silence")
        return [each.id for each in reaped]

    def reap_proven(self, instance_id: str, *, by: str) -> bool:
        instance = self.instance(instance_id)
        if instance is None:
            return False
        self._lose([instance], by, "refused")
        return True

    def _lose(self, instances: Iterable[Instance], by: str, proof: LossProof) -> None:
        for each in instances:
            self.deregister(each.id)
            self._lost[each.id] = LostInstance(
                id=each.id,
                host=each.host,
                peer_address=each.peer_address,
                version=each.version,
                started_at=each.started_at,
                last_heartbeat_at=each.last_heartbeat_at,
                lost_at=self._clock(),
                sessions=each.sessions,
                reaped_by=by,
                proof=proof,
            )

    def lost(self) -> list[LostInstance]:
        since = self._clock() - LOST_SECS
        self._lost = {id: each for id, each in self._lost.items() if each.lost_at > since}
        return list(self._lost.values())

    def keep_lost(self, lost: LostInstance) -> bool:
        if lost.id in self._instances or lost.id in self._lost or lost.lost_at + LOST_SECS <= self._clock():
            return False
        kept = [*self._lost.values(), lost]
        self._lost = {each.id: each for each in sorted(kept, key=lambda each: each.lost_at)}
        return True

    def dismiss_lost(self, instance_id: str) -> bool:
        return self._lost.pop(instance_id, None) is not None

    def replace_lost(self, instance_id: str, *, by: str) -> bool:
        instance = self._instances.get(by)
        if instance is None or instance.replaces or not self.dismiss_lost(instance_id):
            return False
        self._instances[by] = replace(instance, replaces=instance_id)
        return True

    def add_samples(self, instance_id: str, samples: Sequence[Sample]) -> None:
        self._samples.setdefault(instance_id, deque(maxlen=MAX_SAMPLES)).extend(samples)
        since = self._clock() - SAMPLES_SECS
        self._samples = {id: kept for id, kept in self._samples.items() if kept and kept[-1].at > since}

    def samples(self, after: Mapping[str, float]) -> dict[str, list[Sample]]:
        return {id: [each for each in self._samples.get(id, ()) if each.at > since] for id, since in after.items()}

    def record_event(self, kind: EventKind, instance_id: str, *, once_secs: float = 0.0, **details: str) -> None:
        now = self._clock()
        if once_secs:
            if now - self._reported_at.get(kind, -math.inf) < once_secs:
                return
            self._reported_at[kind] = now
        self._events.append(Event(now, kind, instance_id, details))

    def events(self, limit: int = 50) -> list[Event]:
        return list(self._events)[: -limit - 1 : -1]

    def circuits(self) -> tuple[float, dict[str, Circuit]]:
        return self._clock(), dict(self._circuits)

    def replace_circuit(self, name: str, circuit: Circuit, expected_version: int) -> tuple[float, Circuit | None]:
        present = self._circuits.get(name, Circuit())
        if present.version != expected_version:
            return self._clock(), present
        self._circuits[name] = circuit
        return self._clock(), None

    def forget_circuit(self, name: str) -> None:
        self._circuits.pop(name, None)

    def cluster_id(self, known: str = "") -> str:
        return NO_REGISTRY

    def now(self) -> float:
        return self._clock()

    def unreadable(self) -> Mapping[str, str]:
        return {}

    def status(self) -> RegistryStatus:
        return RegistryStatus("disabled", error=self._why)


def _supersedes(record: SessionRecord, present: SessionRecord) -> bool:
    """Whether the record has a later epoch, or renews the same epoch of the same owner."""
    return record.epoch > present.epoch or (record.epoch == present.epoch and record.owner == present.owner)
