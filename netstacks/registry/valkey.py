"""The registry in Valkey: every change is one Lua script, timed by the server's clock.

It needs one primary, with or without replicas: scripts derive some keys from stored data, which a sharded Valkey
Cluster does not allow. Every command has a time limit of its own: never kill a greenlet in here, and set no deadline.
"""

import json
from collections.abc import Mapping
from typing import cast
from uuid import UUID

from redis import Redis
from redis.exceptions import ResponseError

from netstacks.cluster.model import NO_LOAD, Instance, InstanceState, Load, SessionRecord, Snapshot
from netstacks.errors import RegistryUnavailable
from netstacks.greenlets import Background
from netstacks.registry import addresses, hashes, keys
from netstacks.registry.base import Publication, Pulse, RegistryStatus
from netstacks.registry.connection import RESERVED_CONNECTIONS, beside, connect, connect_through
from netstacks.registry.damage import Damage
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey_calls import guarded
from netstacks.registry.valkey_losses import BATCH, Losses
from netstacks.registry.valkey_status import StatusReader
from netstacks.registry.valkey_streams import Streams


def open_registry(url: str | None, sentinel_url: str | None, master_name: str) -> "ValkeyRegistry":
    """The registry behind the Sentinels, or else at `url`; it connects when first used."""
    if sentinel_url is not None:
        sentinels = Sentinels(addresses.parse(sentinel_url), master_name)
        return ValkeyRegistry(connect_through(sentinels, url), sentinels)
    assert url is not None, "there is no registry without an address"
    return ValkeyRegistry(connect(url))


class ValkeyRegistry(Losses, Streams):
    """Shared by all instances that use the same Valkey. `sentinels` are those that `client` finds the primary by."""

    is_shared = True

    def __init__(self, client: Redis, sentinels: Sentinels | None = None, damage: Damage | None = None) -> None:
        super().__init__(client, damage or Damage(), sentinels)
        self._status = StatusReader(client, sentinels, self.breaker)
        # A breaker of its own: a call that hung must not make the next heartbeat fail without an attempt.
        self._heartbeat_breaker = self._new_breaker()

    def reserved(self) -> "ValkeyRegistry":
        return ValkeyRegistry(beside(self._client, RESERVED_CONNECTIONS), self._sentinels, self._damage)

    def follow(self) -> None:
        """Subscribes to the failovers that Sentinels announce; call it after the fork."""
        if self._sentinels is not None:
            self._sentinels.follow()

    def background(self) -> tuple[Background, ...]:
        return (self._sentinels.watch,) if self._sentinels is not None else ()

    @guarded
    def register(self, instance: Instance) -> None:
        id = instance.id
        touched = [keys.INSTANCES, keys.instance(id), keys.owned(id), keys.LOST, keys.lost(id)]
        self._run("register", touched, id, *hashes.to_hash(instance))

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        touched = [keys.INSTANCES, keys.instance(instance_id), keys.SERVER]
        with self._heartbeat_breaker.guard():
            state, server, is_first, secs, microsecs = self._run(
                "heartbeat", touched, instance_id, *hashes.to_hash(load)
            )
        # The repairs that follow this heartbeat must not fail at once.
        self.breaker.reset()
        return Pulse(state, server, hashes.time(secs, microsecs), bool(is_first), self._status.address)

    @guarded
    def set_state(self, instance_id: str, state: InstanceState) -> bool:
        return bool(self._run("set_state", [keys.instance(instance_id)], state))

    @guarded
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

    @guarded
    def remove(self, owner: str, epochs: Mapping[UUID, int]) -> int:
        removed, ids = 0, list(epochs)
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            touched = [keys.owned(owner), keys.instance(owner), *map(keys.session, batch)]
            latest = [part for session_id in batch for part in (str(session_id), epochs[session_id])]
            removed += self._run("remove", touched, owner, *latest)
        return removed

    @guarded
    def session(self, session_id: UUID) -> SessionRecord | None:
        with self._damage.noted(keys.session(session_id)):
            stored = self._client.hgetall(keys.session(session_id))
            return hashes.session(session_id, cast(dict[str, str], stored)) if stored else None
        return None

    @guarded
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

    @guarded
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

    @guarded
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

    @guarded
    def now(self) -> float:
        return hashes.time(*self._client.time())

    def unreadable(self) -> Mapping[str, str]:
        return self._damage.problems

    def status(self) -> RegistryStatus:
        return self._status.read()
