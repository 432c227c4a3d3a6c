"""The registry in Valkey: every change is one Lua script, timed by the server's clock.

It needs one primary, with or without replicas: scripts derive some keys from stored data, which a sharded Valkey
Cluster does not allow. Every command has a time limit of its own: never kill a greenlet in here, and set no deadline.
"""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import resources
from typing import Any, TypeVar, cast
from uuid import UUID

from redis import Redis
from redis.exceptions import ResponseError

from netstacks.cluster.circuits import MAX_OPEN_SECS, Circuit
from netstacks.cluster.model import NO_LOAD, Event, EventKind, Instance, InstanceState, Load, SessionRecord, Snapshot
from netstacks.errors import RegistryUnavailable
from netstacks.greenlets import Background
from netstacks.registry import addresses, hashes, keys
from netstacks.registry.base import Publication, Pulse, RegistryStatus
from netstacks.registry.circuit_breaker import CircuitBreaker
from netstacks.registry.connection import RESERVED_CONNECTIONS, beside, connect, connect_through
from netstacks.registry.damage import Damage
from netstacks.registry.figures import describe
from netstacks.registry.sentinel import Sentinels

MAX_EVENTS = 1000
# The most records in one call: the server is single-threaded, and a larger batch would delay other clients.
BATCH = 500
# Longer than a circuit can stay open without a probe; each probe stores the circuit again.
_CIRCUIT_TTL_SECS = int(2 * MAX_OPEN_SECS)
# Health and the page HA status query the status.
_STATUS_CONNECTIONS = 2


_SCRIPTS = (
    "register",
    "heartbeat",
    "set_state",
    "publish",
    "remove",
    "reap",
    "snapshot",
    "circuits",
    "replace_circuit",
    "record_event",
)

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _guarded(method: _Method) -> _Method:
    @wraps(method)
    def guarded(self: "ValkeyRegistry", *args: Any, **kwargs: Any) -> Any:
        with self.breaker.guard():
            return method(self, *args, **kwargs)

    return cast(_Method, guarded)


def open_registry(url: str | None, sentinel_url: str | None, master_name: str) -> "ValkeyRegistry":
    """The registry behind the Sentinels, or else at `url`; it connects when first used."""
    if sentinel_url is not None:
        sentinels = Sentinels(addresses.parse(sentinel_url), master_name)
        return ValkeyRegistry(connect_through(sentinels, url), sentinels)
    assert url is not None, "there is no registry without an address"
    return ValkeyRegistry(connect(url))


class ValkeyRegistry:
    """Shared by all instances that use the same Valkey. `sentinels` are those that `client` finds the primary by."""

    is_shared = True

    def __init__(self, client: Redis, sentinels: Sentinels | None = None, damage: Damage | None = None) -> None:
        self._client = client
        self._sentinels = sentinels
        self._damage = damage or Damage()
        # Connections of its own: with the others in use, health must not report Valkey as unreachable.
        self._status_client = beside(client, _STATUS_CONNECTIONS)
        self.breaker = CircuitBreaker()
        # A breaker of its own: a call that hung must not make the next heartbeat fail without an attempt.
        self._heartbeat_breaker = CircuitBreaker()
        folder = resources.files("netstacks.registry") / "lua"
        shared = (folder / "shared.lua").read_text()
        self._scripts = {
            name: client.register_script(shared + (folder / f"{name}.lua").read_text()) for name in _SCRIPTS
        }

    def reserved(self) -> "ValkeyRegistry":
        return ValkeyRegistry(beside(self._client, RESERVED_CONNECTIONS), self._sentinels, self._damage)

    def follow(self) -> None:
        """Subscribes to the failovers that Sentinels announce; call it after the fork."""
        if self._sentinels is not None:
            self._sentinels.follow()

    def background(self) -> tuple[Background, ...]:
        return (self._sentinels.watch,) if self._sentinels is not None else ()

    def _run(self, script: str, touched: list[str], *arguments: Any) -> Any:
        return self._scripts[script](keys=touched, args=arguments)

    @_guarded
    def register(self, instance: Instance) -> None:
        touched = [keys.INSTANCES, keys.instance(instance.id), keys.owned(instance.id)]
        self._run("register", touched, instance.id, *hashes.to_hash(instance))

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        touched = [keys.INSTANCES, keys.instance(instance_id), keys.SERVER]
        with self._heartbeat_breaker.guard():
            state, server, is_first, secs, microsecs = self._run(
                "heartbeat", touched, instance_id, *hashes.to_hash(load)
            )
        # The repairs that follow this heartbeat must not fail at once.
        self.breaker.reset()
        return Pulse(state, server, hashes.time(secs, microsecs), bool(is_first))

    @_guarded
    def set_state(self, instance_id: str, state: InstanceState) -> bool:
        return bool(self._run("set_state", [keys.instance(instance_id)], state))

    @_guarded
    def deregister(self, instance_id: str) -> None:
        self._remove(0, instance_id)

    @_guarded
    def publish(self, *records: SessionRecord) -> list[Publication]:
        publications: list[Publication] = []
        for start in range(0, len(records), BATCH):
            # No transaction: each script is atomic by itself, and other clients may run between two of them.
            pipeline = self._client.pipeline(transaction=False)
            for record in records[start : start + BATCH]:
                assert record.owner is not None, "a session without an owner is removed, not published"
                self._scripts["publish"](
                    keys=[keys.session(record.id), keys.owned(record.owner), keys.instance(record.owner)],
                    args=[str(record.id), record.owner, record.epoch, *hashes.to_hash(record)],
                    client=pipeline,
                )
            publications += pipeline.execute()
        return publications

    @_guarded
    def remove(self, owner: str, epochs: Mapping[UUID, int]) -> int:
        removed, ids = 0, list(epochs)
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            touched = [keys.owned(owner), keys.instance(owner), *map(keys.session, batch)]
            latest = [part for session_id in batch for part in (str(session_id), epochs[session_id])]
            removed += self._run("remove", touched, owner, *latest)
        return removed

    @_guarded
    def session(self, session_id: UUID) -> SessionRecord | None:
        with self._damage.noted(keys.session(session_id)):
            stored = self._client.hgetall(keys.session(session_id))
            return hashes.session(session_id, cast(dict[str, str], stored)) if stored else None
        return None

    @_guarded
    def sessions_of(self, instance_id: str) -> list[SessionRecord]:
        ids = self._owned(instance_id)
        found: list[SessionRecord] = []
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            pipeline = self._client.pipeline(transaction=False)
            for session_id in batch:
                pipeline.hgetall(keys.session(session_id))
            for session_id, stored in zip(batch, pipeline.execute(raise_on_error=False), strict=True):
                with self._damage.noted(keys.session(session_id)):
                    if isinstance(stored, ResponseError):
                        raise stored
                    if stored:
                        found.append(hashes.session(session_id, stored))
        return found

    def _owned(self, instance_id: str) -> list[UUID]:
        key, ids = keys.owned(instance_id), list[UUID]()
        with self._damage.noted(key):
            for member in cast(set[str], self._client.smembers(key)):
                with self._damage.noted(f"{key} {member}"):
                    ids.append(UUID(member))
        return ids

    @_guarded
    def instance(self, instance_id: str) -> Instance | None:
        key = keys.instance(instance_id)
        with self._damage.noted(key):
            # A transaction: between two separate reads the instance could be reaped.
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hgetall(key)
            pipeline.zscore(keys.INSTANCES, instance_id)
            stored, heartbeat_at = pipeline.execute()
            is_known = stored and heartbeat_at is not None
            return hashes.instance(instance_id, heartbeat_at, stored) if is_known else None
        raise RegistryUnavailable(f"the record of instance {instance_id} in Valkey cannot be read")

    @_guarded
    def snapshot(self) -> Snapshot:
        secs, microsecs, *found = json.loads(self._run("snapshot", [keys.INSTANCES]))
        instances: dict[str, Instance] = {}
        unreadable: dict[str, str] = {}
        for id, heartbeat_at, stored in found:
            try:
                instances[id] = hashes.instance(id, float(heartbeat_at), hashes.from_hash(stored))
            except ValueError as error:
                unreadable[id] = str(error)
                self._damage.note(keys.instance(id), str(error))
        return Snapshot(hashes.time(secs, microsecs), instances, unreadable)

    @_guarded
    def reap(self, ttl_secs: float) -> list[str]:
        return self._remove(ttl_secs)

    def _remove(self, ttl_secs: float, only: str = "") -> list[str]:
        removed: list[str] = []
        some_left = True
        while some_left:
            some_left, *ids = self._run("reap", [keys.INSTANCES], ttl_secs, BATCH, only)
            removed += ids
        return removed

    @_guarded
    def record_event(self, kind: EventKind, instance_id: str, **details: str) -> None:
        entry = {**details, "kind": kind, "instance_id": instance_id}
        self._run("record_event", [keys.EVENTS], MAX_EVENTS, *(part for item in entry.items() for part in item))

    @_guarded
    def events(self, limit: int = 50) -> list[Event]:
        found: list[Event] = []
        with self._damage.noted(keys.EVENTS):
            for id, entry in cast(Any, self._client.xrevrange(keys.EVENTS, count=limit)):
                with self._damage.noted(f"{keys.EVENTS} {id}"):
                    found.append(hashes.event(id, entry))
        return found

    @_guarded
    def circuits(self) -> tuple[float, dict[str, Circuit]]:
        secs, microsecs, *found = json.loads(self._run("circuits", [keys.BREAKERS]))
        circuits: dict[str, Circuit] = {}
        for name, stored in found:
            with self._damage.noted(keys.breaker(name)):
                circuits[name] = hashes.circuit(hashes.from_hash(stored))
        return hashes.time(secs, microsecs), circuits

    @_guarded
    def replace_circuit(self, name: str, circuit: Circuit, expected_version: int) -> tuple[float, Circuit | None]:
        touched = [keys.breaker(name), keys.BREAKERS]
        arguments = (name, expected_version, _CIRCUIT_TTL_SECS, *hashes.to_hash(circuit))
        secs, microsecs, is_stored, *present = self._run("replace_circuit", touched, *arguments)
        now = hashes.time(secs, microsecs)
        if is_stored:
            return now, None
        try:
            return now, hashes.circuit(hashes.from_hash(present)) if present else Circuit()
        except ValueError:
            # A record that this program did not write: drop it, so that the caller can replace it.
            self._drop_circuit(name)
            return now, Circuit()

    @_guarded
    def forget_circuit(self, name: str) -> None:
        self._drop_circuit(name)

    def _drop_circuit(self, name: str) -> None:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(keys.breaker(name))
        pipeline.srem(keys.BREAKERS, name)
        pipeline.execute()

    @_guarded
    def now(self) -> float:
        return hashes.time(*self._client.time())

    def unreadable(self) -> Mapping[str, str]:
        return self._damage.problems

    def status(self) -> RegistryStatus:
        try:
            with self.breaker.guard():
                info = self._status_client.info()
        except RegistryUnavailable as error:
            return RegistryStatus("disconnected", self._route(), error=str(error))
        return RegistryStatus("connected", self._route() | describe(info))

    def _route(self) -> dict[str, str]:
        if self._sentinels is None:
            return {"mode": "plain"}
        address = ":".join(map(str, self._sentinels.primary or ())) or "not known"
        return {"mode": "sentinel", "sentinel master": self._sentinels.master_name, "address": address}
