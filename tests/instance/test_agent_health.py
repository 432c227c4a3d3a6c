"""What an agent tells the cluster about its health, and what it knows of a Valkey that refuses its heartbeats."""

from collections.abc import Iterator

import pytest
from redis import Redis

from netstacks import greenlets
from netstacks.cluster.model import HealthStatus, Instance, Load
from netstacks.cluster.overview import overview
from netstacks.instance.agent import Agent
from netstacks.instance.observer import Observer
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.connection import connect
from netstacks.registry.memory import MemoryRegistry
from netstacks.registry.valkey import ValkeyRegistry
from tests.cluster.facts import instance
from tests.instance.test_agent import Sessions
from tests.valkey import ClockedValkey, Valkey
from tests.waits import until

TTL_SECS = 30.0


class Health:
    """The health of the instance, as `load` tells it."""

    def __init__(self) -> None:
        self.status: HealthStatus = "healthy"

    def __call__(self) -> Load:
        return Load(health=self.status, reason="" if self.status == "healthy" else "why")


@pytest.fixture
def health() -> Health:
    return Health()


def seen(registry: MemoryRegistry) -> tuple[str, str]:
    found = registry.instance("a")
    assert found is not None
    return found.health, found.reason


def test_an_instance_joins_with_its_health_and_each_heartbeat_renews_it(health: Health) -> None:
    registry = MemoryRegistry()
    agent = Agent(instance("a"), registry, Sessions(), interval_secs=5.0, ttl_secs=TTL_SECS, load=health)
    health.status = "unhealthy"
    agent.heartbeat()
    assert seen(registry) == ("unhealthy", "why")
    health.status = "healthy"
    agent.heartbeat()
    assert seen(registry) == ("healthy", "")


def test_a_change_of_health_does_not_wait_for_the_next_heartbeat(health: Health) -> None:
    registry = MemoryRegistry()
    agent = Agent(instance("a"), registry, Sessions(), interval_secs=3600.0, ttl_secs=TTL_SECS, load=health)
    agent.start()
    try:
        until(lambda: registry.instance("a"), "the first heartbeat")
        health.status = "degraded"
        agent.report_health()
        until(lambda: seen(registry) == ("degraded", "why"), "the second one")
        at = registry.instance("a")
        agent.report_health()
        greenlets.give_way()
        assert registry.instance("a") == at
    finally:
        agent.leave()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


def agent_at(valkey: Valkey, me: Instance) -> Agent:
    registry = ValkeyRegistry(connect(valkey.url))
    return Agent(me, registry, Sessions(), interval_secs=5.0, ttl_secs=TTL_SECS)


REFUSALS = {
    "replicas": ("min-replicas-to-write 1", "min-replicas-to-write 0", "too few replicas"),
    "memory": ("maxmemory 1", "maxmemory 0", "its memory is full"),
}


@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize(("refuse", "allow", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_valkey_that_refuses_heartbeats_has_its_reason_kept(
    valkey: Valkey, refuse: str, allow: str, words: str, is_new: bool
) -> None:
    agent = agent_at(valkey, instance("a"))
    if not is_new:
        agent.heartbeat()
        assert agent.contact.problem is None
    with Redis(port=valkey.port) as client:
        client.config_set(*refuse.split())
        agent.heartbeat()
        assert not agent.is_leased
        assert words in (agent.contact.problem or "")
        # Questions are answered, so nothing else tells it.
        assert ValkeyRegistry(connect(valkey.url)).status().connection == "connected"
        client.config_set(*allow.split())
    agent.heartbeat()
    assert agent.is_leased
    assert agent.contact.problem is None


def test_a_valkey_that_became_a_replica_is_named(valkey: Valkey) -> None:
    agent = agent_at(valkey, instance("a"))
    agent.heartbeat()
    with Redis(port=valkey.port) as client:
        client.replicaof("127.0.0.1", "1")
        agent.heartbeat()
    assert "VALKEY_URL must name the primary" in (agent.contact.problem or "")


@pytest.mark.parametrize("by_secs", [3600, -3600])
def test_a_view_by_a_clock_that_was_just_set_shows_no_living_instance_as_stale(by_secs: float) -> None:
    valkey = ClockedValkey()
    valkey.start()
    ttl_secs = 4.0
    try:
        agents = [
            Agent(
                instance(name),
                ValkeyRegistry(connect(valkey.url)),
                Sessions(),
                interval_secs=3600.0,
                ttl_secs=ttl_secs,
            )
            for name in "ab"
        ]
        contact = agents[0].contact
        watcher = Observer(ValkeyRegistry(connect(valkey.url)), PeerClocks(), check_clock=contact.check_clock)
        for agent in agents:
            agent.heartbeat()
        until(lambda: not contact.is_blind, "the TTL that an instance needs before it judges others")
        valkey.set_clock(by_secs)
        # Between two heartbeats of all instances.
        view = watcher.look()
        lines = overview(view.snapshot, 5.0, ttl_secs, is_blind=contact.is_blind)
        assert [line.condition for line in lines] == ["late", "late"]
        assert all(line.counts_as_healthy for line in lines)
    finally:
        valkey.destroy()


def test_an_answer_that_took_long_is_no_clock_that_was_set() -> None:
    ours = 1000.0
    registry = MemoryRegistry(lambda: ours)
    agent = Agent(instance("a"), registry, Sessions(), interval_secs=5.0, ttl_secs=TTL_SECS, clock=lambda: ours)
    agent.heartbeat()
    ours += TTL_SECS + 1
    agent.heartbeat()
    asked_at = ours
    ours += TTL_SECS
    # It was told its time at the end, or at the beginning.
    agent.contact.check_clock(asked_at, ours)
    assert not agent.is_blind
    agent.contact.check_clock(asked_at, asked_at)
    assert not agent.is_blind
    agent.contact.check_clock(ours, ours + TTL_SECS)
    assert agent.is_blind
