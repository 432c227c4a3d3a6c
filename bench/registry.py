"""The registry's real scripts in a real Valkey: operations per second, what they cost the server, and for how long."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis

from bench.report import Results, Row, at_most
from netstacks.cluster.model import Instance, SessionRecord
from netstacks.instance.agent import Agent
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.sampler import Sampler
from netstacks.registry.base import MAX_SAMPLES
from netstacks.registry.connection import connect
from netstacks.registry.valkey import ValkeyRegistry
from tests.valkey import Valkey

INSTANCES = 50
_CALLS = 2000
_SLOWLOG = 10_000
ROWS = (
    Row("sessions published", "1/s"),
    Row("session looked up", "1/s"),
    Row("heartbeats", "1/s"),
    Row("snapshots", "1/s"),
    Row("reaping a whole instance", "ms of Valkey", (at_most(200),)),
    Row("reaping, longest command", "ms", (at_most(20),)),
    Row("a sample of figures stored", "ms of Valkey", (at_most(1),)),
    Row("a sample of figures taken and stored", "ms of one core", (at_most(5),)),
    Row("samples of an hour of one instance read", "ms of Valkey", (at_most(10),)),
)


@dataclass(frozen=True)
class Cost:
    """The cost of commands at the server."""

    calls: int
    secs: float
    longest_secs: float


class Populated:
    """A registry full of instances and their sessions."""

    def __init__(self, valkey: Valkey) -> None:
        self.registry = ValkeyRegistry(connect(valkey.url))
        self.server: Redis = Redis.from_url(valkey.url, decode_responses=True)
        self.server.config_set("slowlog-max-len", _SLOWLOG)
        # A rewrite of the file would compete for the core; that is another question.
        self.server.config_set("appendonly", "no")
        self.instances: list[Instance] = []

    def add_instances(self, count: int) -> None:
        for number in range(count):
            instance = Instance(
                id=f"ctrl-{number:08x}",
                host=f"host-{number}",
                peer_address=f"10.0.{number // 250}.{number % 250}:40000",
                started_at=time.time(),
                version="1.0.0",
                state="active",
                secrets_fingerprint="0" * 64,
                pid=1,
            )
            self.registry.register(instance)
            self.instances.append(instance)

    def add_sessions(self, owner: Instance, count: int) -> list[uuid.UUID]:
        records = [_record(owner.id) for _ in range(count)]
        answers = self.registry.publish(*records)
        if set(answers) != {"published"}:
            raise RuntimeError(f"not published: {set(answers)}")
        return [record.id for record in records]

    def cost_of(self, action: Callable[[], Any]) -> Cost:
        """The server's time for scripts, or else for look-ups, while `action` runs; it has no other client."""
        self.server.config_resetstat()
        self.server.config_set("slowlog-log-slower-than", 0)
        action()
        self.server.config_set("slowlog-log-slower-than", -1)
        stats = self.server.info("commandstats")
        # A script's own time includes the commands that it calls.
        used = next(stats[name] for name in ("cmdstat_evalsha", "cmdstat_hgetall", "cmdstat_xrange") if name in stats)
        longest = max(each["duration"] for each in self.server.slowlog_get(_SLOWLOG))
        self.server.slowlog_reset()
        return Cost(used["calls"], used["usec"] / 1e6, longest / 1e6)

    def memory_bytes(self) -> int:
        return int(self.server.info("memory")["used_memory"])


def _record(owner: str) -> SessionRecord:
    return SessionRecord(uuid.uuid4(), owner, 1, "core-router-1", "ana", time.time(), "active", 120, 40)


@contextmanager
def populated() -> Iterator[Populated]:
    """An empty Valkey to fill."""
    valkey = Valkey().start()
    try:
        yield Populated(valkey)
    finally:
        valkey.destroy()


def measure(sessions: int, reaped: int) -> Results:
    """With `sessions` on INSTANCES instances, and one more that holds `reaped` sessions and is reaped."""
    results = Results("netstacks")
    with populated() as full:
        registry = full.registry
        full.add_instances(INSTANCES)
        started_at = time.monotonic()
        ids = [id for instance in full.instances for id in full.add_sessions(instance, sessions // INSTANCES)]
        results.add("sessions published", "netstacks", len(ids) / (time.monotonic() - started_at))
        for row, call in (
            ("session looked up", lambda number: registry.session(ids[number * 37 % len(ids)])),
            ("heartbeats", lambda number: registry.heartbeat(full.instances[number % INSTANCES].id)),
            ("snapshots", lambda _: registry.snapshot()),
        ):
            started_at = time.monotonic()
            for number in range(_CALLS):
                call(number)
            results.add(row, "netstacks", _CALLS / (time.monotonic() - started_at))
        victim = full.instances[0]
        full.add_sessions(victim, reaped - sessions // INSTANCES)
        full.server.zadd("netstacks:instances", {victim.id: 0})
        cost = full.cost_of(lambda: registry.reap(30, by=full.instances[1].id))
        if registry.sessions_of(victim.id):
            raise RuntimeError("the instance was not reaped")
        results.add("reaping a whole instance", "netstacks", cost.secs * 1000)
        results.add("reaping, longest command", "netstacks", cost.longest_secs * 1000)
        _measure_samples(full, results)
    return results


class _NoSessions:
    """What the agent asks of an instance's sessions, when it holds none."""

    def records(self) -> list[SessionRecord]:
        return []

    def fence(self, session_ids: object) -> None:
        pass

    def recheck(self) -> None:
        pass

    def expire_detached(self) -> None:
        pass


def _measure_samples(full: Populated, results: Results) -> None:
    """The cost of the history of an instance: of one sample in ten seconds, and of reading an hour of samples."""
    me = full.instances[1]
    agent = Agent(me, full.registry, _NoSessions(), interval_secs=5, ttl_secs=30)
    agent.heartbeat()
    sampler = Sampler(agent, full.registry, [], LoopWatch(2.0))
    sampler.sample()

    def take_an_hour() -> None:
        for _ in range(MAX_SAMPLES):
            sampler.sample()

    began_at = time.process_time()
    cost = full.cost_of(take_an_hour)
    core_secs = time.process_time() - began_at
    results.add("a sample of figures stored", "netstacks", cost.secs / cost.calls * 1000)
    results.add("a sample of figures taken and stored", "netstacks", core_secs / MAX_SAMPLES * 1000)
    cost = full.cost_of(lambda: full.registry.samples({me.id: 0.0}))
    results.add("samples of an hour of one instance read", "netstacks", cost.secs * 1000)
