"""The agent's part in losses, failovers and outages: who is replaced, and what is recorded."""

from dataclasses import replace

import pytest
import structlog

from netstacks.cluster.model import NO_LOAD, Event, Instance, Load
from netstacks.instance.agent import Agent
from netstacks.registry.base import Pulse
from tests.cluster.facts import instance, record
from tests.instance.test_agent import OTHER_SECRETS, TTL_SECS, Clock, Registry, Sessions

INTERVAL_SECS = 5.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry(clock)


def agent_of(me: Instance, registry: Registry, clock: Clock) -> Agent:
    return Agent(me, registry, Sessions(), interval_secs=INTERVAL_SECS, ttl_secs=TTL_SECS, clock=clock)


def events(registry: Registry, kind: str) -> list[Event]:
    return [event for event in registry.events() if event.kind == kind]


def lost_ids(registry: Registry) -> list[str]:
    return [each.id for each in registry.lost()]


def lose(registry: Registry, *names: str) -> None:
    for name in names:
        registry.register(instance(name))
        registry.reap_proven(name, by="other")


def see(agent: Agent, clock: Clock) -> None:
    """Makes the agent judge heartbeats: after a TTL of contact."""
    agent.heartbeat()
    clock.now += TTL_SECS + 1
    agent.heartbeat()


def test_an_instance_that_joins_replaces_the_lost_one_of_its_host(registry: Registry, clock: Clock) -> None:
    lose(registry, "x", "y")
    agent_of(replace(instance("a"), host="host-y"), registry, clock).heartbeat()
    assert lost_ids(registry) == ["x"]
    [joined] = events(registry, "joined")
    assert (joined.instance_id, joined.details) == ("a", {"replaces": "y"})


def test_the_start_is_registered_by_the_registrys_clock(registry: Registry, clock: Clock) -> None:
    agent = agent_of(replace(instance("a"), started_at=clock.now + 90), registry, clock)
    clock.now += 3
    agent.heartbeat()
    registered = registry.instance("a")
    assert registered is not None
    assert registered.started_at == clock.now - 3


def test_each_instance_that_joins_replaces_one(registry: Registry, clock: Clock) -> None:
    lose(registry, "x", "y")
    first, second = (agent_of(instance(name), registry, clock) for name in "ab")
    for _ in range(2):
        first.heartbeat()
    assert lost_ids(registry) == ["y"]
    second.heartbeat()
    assert lost_ids(registry) == []
    assert [event.details for event in events(registry, "joined")] == [{"replaces": "y"}, {"replaces": "x"}]


@pytest.mark.parametrize("failing", ["lost", "replace_lost"])
def test_a_replacement_that_failed_is_repeated(registry: Registry, clock: Clock, failing: str) -> None:
    lose(registry, "x", "y")
    agent = agent_of(instance("a"), registry, clock)
    registry.failing = frozenset({failing})
    agent.heartbeat()
    assert [event.details for event in events(registry, "joined")] == [{}]
    registry.failing = frozenset()
    for _ in range(2):
        agent.heartbeat()
    assert lost_ids(registry) == ["y"]
    assert [(each.instance_id, each.details) for each in events(registry, "replaced")] == [("x", {"by": "a"})]


def test_an_instance_that_comes_back_is_lost_no_more_and_replaces_none(registry: Registry, clock: Clock) -> None:
    agent = agent_of(instance("a"), registry, clock)
    agent.heartbeat()
    lose(registry, "x")
    registry.reap_proven("a", by="other")
    assert lost_ids(registry) == ["x", "a"]
    agent.heartbeat()
    assert lost_ids(registry) == ["x"]
    assert [event.details for event in events(registry, "joined")] == [{}, {}]


def test_an_instance_that_leaves_cleanly_is_not_lost(registry: Registry, clock: Clock) -> None:
    agent = agent_of(instance("a"), registry, clock)
    agent.heartbeat()
    agent.leave()
    assert registry.lost() == []


def test_an_instance_with_other_secrets_replaces_none(registry: Registry, clock: Clock) -> None:
    registry.register(instance("b"))
    lose(registry, "x")
    agent = agent_of(replace(instance("a"), secrets_fingerprint=OTHER_SECRETS), registry, clock)
    agent.heartbeat()
    assert agent.me.state == "refused"
    assert lost_ids(registry) == ["x"]


def test_different_secrets_are_logged_when_they_are_found_and_not_at_every_heartbeat(
    registry: Registry, clock: Clock
) -> None:
    registry.register(instance("b"))
    agent = agent_of(replace(instance("a"), secrets_fingerprint=OTHER_SECRETS), registry, clock)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            agent.heartbeat()
        registry.register(replace(instance("b"), secrets_fingerprint="vault:2 jwt:3"))
        for _ in range(2):
            agent.heartbeat()
    told = [each["settings"] for each in logged if each["event"] == "secrets.differ"]
    assert told == [("VAULT_MASTER_KEY",), ("JWT_SECRET",)]


def test_a_reaped_instance_is_recorded_with_its_sessions_and_stays_lost(registry: Registry, clock: Clock) -> None:
    agent = agent_of(instance("a"), registry, clock)
    registry.register(instance("b"))
    registry.publish(record("b"))
    see(agent, clock)
    agent.reap()
    agent.heartbeat()
    [reaped] = events(registry, "reaped")
    assert (reaped.instance_id, reaped.details) == ("b", {"by": "a", "proof": "silence", "sessions": "1"})
    assert lost_ids(registry) == ["b"]
    assert events(registry, "replaced") == []


def test_a_process_restarted_before_its_loss_was_known_has_replaced_it(registry: Registry, clock: Clock) -> None:
    agent = agent_of(instance("a"), registry, clock)
    registry.register(replace(instance("b"), host="h"))
    clock.now += 1
    registry.register(replace(instance("c"), host="h", started_at=clock.now))
    agent.heartbeat()
    clock.now += TTL_SECS
    registry.heartbeat("c")
    agent.heartbeat()
    clock.now += 1
    agent.reap()
    agent.heartbeat()
    assert registry.lost() == []
    assert registry.snapshot().instances["c"].replaces == "b"
    [replaced] = events(registry, "replaced")
    assert (replaced.instance_id, replaced.details) == ("b", {"by": "c"})


def test_an_outage_is_recorded_once_when_it_is_over(registry: Registry, clock: Clock) -> None:
    agents = [agent_of(instance(name), registry, clock) for name in "ab"]
    for agent in agents:
        agent.heartbeat()
    registry.away = True
    for agent in agents:
        agent.heartbeat()
        agent.heartbeat()
    clock.now += 12
    registry.away = False
    for agent in agents:
        agent.heartbeat()
    assert [event.details for event in events(registry, "valkey_lost")] == [{"error": "no answer", "away_secs": "12"}]
    assert [event.details for event in events(registry, "valkey_back")] == [{"away_secs": "12"}]


def test_an_instance_that_starts_during_an_outage_reports_none(registry: Registry, clock: Clock) -> None:
    agent = agent_of(instance("a"), registry, clock)
    registry.away = True
    agent.heartbeat()
    registry.away = False
    agent.heartbeat()
    assert [event.kind for event in registry.events()] == ["joined"]


class Moving(Registry):
    """A registry at an address that a failover changes."""

    address = "10.0.0.1:6379"

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        return replace(super().heartbeat(instance_id, load), address=self.address)


def test_a_failover_is_recorded_with_both_addresses(clock: Clock) -> None:
    registry = Moving(clock)
    agent = agent_of(instance("a"), registry, clock)
    agent.heartbeat()
    registry.run, registry.address = 2, "10.0.0.2:6379"
    agent.heartbeat()
    [failover] = events(registry, "failover")
    assert failover.details == {"sessions": "0", "former": "10.0.0.1:6379", "address": "10.0.0.2:6379"}


def test_a_join_that_cannot_ask_for_losses_is_a_join(registry: Registry, clock: Clock) -> None:
    lose(registry, "x")
    registry.failing = frozenset(["lost"])
    agent = agent_of(instance("a"), registry, clock)
    agent.heartbeat()
    assert agent.is_leased
    assert [event.details for event in events(registry, "joined")] == [{}]
