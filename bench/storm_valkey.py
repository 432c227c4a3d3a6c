"""What Valkey sees of a storm: the registry's real calls for every session that changes hands."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.registry import Populated, populated
from bench.storm_timeline import Storm
from netstacks.cluster.model import SessionRecord

# What a survivor publishes together, of those whose log-ins end at about the same time.
_TOGETHER = 5


@dataclass(frozen=True)
class Seen:
    """Commands that clients send, and seconds of the server's core."""

    commands: int
    cpu_secs: float
    beat_cpu_secs: float
    """A heartbeat and a look at all instances."""


def measure(storm: Storm) -> Seen:
    """Every lost session is claimed by a survivor at random; those of the survivors are left out: none of it moves."""
    some = random.Random(1)
    with populated() as full:
        full.add_instances(storm.instances)
        dead, alive = full.instances[: storm.lost], full.instances[storm.lost :]
        claims: dict[str, list[tuple[uuid.UUID, str]]] = {}
        for owner in dead:
            for id in full.add_sessions(owner, storm.sessions // storm.instances):
                claims.setdefault(some.choice(alive).id, []).append((id, owner.id))
        commands = 0

        def take_over() -> None:
            nonlocal commands
            commands = sum(_take_over(full, survivor, each) for survivor, each in claims.items())

        cpu_secs = _cpu_of(full, take_over)
        beats = 200

        def beat() -> None:
            for _ in range(beats):
                full.registry.heartbeat(some.choice(alive).id)
                full.registry.snapshot()

        return Seen(commands, cpu_secs, _cpu_of(full, beat) / beats)


def _take_over(full: Populated, survivor: str, claims: list[tuple[uuid.UUID, str]]) -> int:
    """Returns the number of commands."""
    registry, commands = full.registry, 0
    for owner in {owner for _, owner in claims}:
        # A survivor finds out by itself that an owner is dead, and whether another has told the registry already.
        commands += 4
        if registry.instance(owner) is not None:
            registry.deregister(owner)
            registry.record_event("reaped", owner, by=survivor)
            commands += 2
    for start in range(0, len(claims), _TOGETHER):
        records = [_claimed(id, survivor) for id, _ in claims[start : start + _TOGETHER]]
        if set(registry.publish(*records)) != {"published"}:
            raise RuntimeError("a claimed session was not published")
        for record in records:
            registry.record_event("claimed", survivor, session=str(record.id), device=record.device)
        commands += 2 * len(records)
    return commands


def _claimed(id: uuid.UUID, owner: str) -> SessionRecord:
    return replace(_ANY, id=id, owner=owner)


_ANY = SessionRecord(uuid.UUID(int=0), "", 2, "core-router-1", "ana", 1.8e9, "active", 120, 40)


def _cpu_of(full: Populated, action: Callable[[], None]) -> float:
    """Processor time of the server, which has no other client."""
    before = _cpu_secs(full)
    action()
    return _cpu_secs(full) - before


def _cpu_secs(full: Populated) -> float:
    used = full.server.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])
