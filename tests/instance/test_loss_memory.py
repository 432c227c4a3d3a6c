"""The memory of losses, on a real PostgreSQL: what an emptied registry gets back, and what it does not."""

from dataclasses import replace
from typing import Any, cast

import pytest

from netstacks.cluster.instance_rows import InstanceRow
from netstacks.cluster.model import Instance, Peer
from netstacks.cluster.routing import Outcome, Witness
from netstacks.instance.agent import Agent
from netstacks.instance.loss_memory import LossMemory
from netstacks.peer.client import NoAnswer, Reply
from netstacks.store import instance_settings
from netstacks.store.pool import Database
from tests.cluster.facts import instance, record
from tests.instance.test_agent import TTL_SECS, Clock, Registry, Sessions

INTERVAL_SECS = 5.0


class World:
    """Instance `a` and what it sees of `b` and `c`: their rows in PostgreSQL, their witnesses and their listeners."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.outcomes: dict[str, Outcome] = {}
        self.witnesses: dict[str, Witness] = {}
        self.agent = self.started(instance("a"))
        self.memory = LossMemory(
            *cast(Any, (self.agent, self.registry, database, self, self)), interval_secs=INTERVAL_SECS
        )
        for name in "abc":
            self.registry.register(instance(name))
            with database.transaction() as tx:
                instance_settings.put(tx, InstanceRow(name, "h", "h:1", "1", "V"))
        self.settle()
        self.memory.look()

    def started(self, me: Instance) -> Agent:
        return Agent(me, self.registry, Sessions(), interval_secs=INTERVAL_SECS, ttl_secs=TTL_SECS, clock=self.clock)

    def of_all(self, ids: list[str]) -> dict[str, Witness]:
        return {each: self.witnesses.get(each, "held") for each in ids}

    def call(self, peer: Peer, path: str, **claims: Any) -> Reply | NoAnswer:
        outcome = self.outcomes.get(peer.id, "confirmed")
        return Reply(None) if outcome == "confirmed" else NoAnswer(outcome)

    def settle(self) -> None:
        """Contact for longer than a TTL, with heartbeats of all that are registered."""
        self.agent.heartbeat()
        for _ in range(2):
            self.clock.now += TTL_SECS / 2 + 1
            for name in self.registry.snapshot().instances:
                self.registry.heartbeat(name)
            self.agent.heartbeat()

    def go_away(self) -> None:
        self.registry.away = True
        self.agent.heartbeat()

    def kill(self, name: str, outcome: Outcome = "refused") -> None:
        self.outcomes[name], self.witnesses[name] = outcome, "free"

    def leave(self, name: str) -> None:
        """In order, except that the registry does not learn of it."""
        self.kill(name)
        with self.database.transaction() as tx:
            instance_settings.remove(tx, name)

    def looks(self, count: int = 2) -> None:
        for _ in range(count):
            self.clock.now += INTERVAL_SECS
            self.memory.look()

    def empty(self) -> None:
        for each in (self.registry._instances, self.registry._owned, self.registry._lost, self.registry._events):
            cast(Any, each).clear()

    def come_back(self, *names: str, empty: bool = True) -> None:
        """The registry is back, empty or not, and these register again; then a TTL passes."""
        self.registry.away = False
        if empty:
            self.empty()
            self.registry.run += 1
        for name in names:
            self.registry.register(instance(name))
        self.agent.heartbeat()
        self.looks()
        self.settle()
        self.looks(1)

    def lost(self) -> list[tuple[str, str]]:
        return [(each.id, each.proof) for each in self.registry.lost()]

    def reaped(self) -> list[str]:
        self.agent.heartbeat()
        return [each.instance_id for each in self.registry.events() if each.kind == "reaped"]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_an_instance_that_dies_while_valkey_loses_its_data_is_lost(world: World) -> None:
    world.registry.publish(record("b"))
    world.settle()
    world.memory.look()
    world.go_away()
    world.kill("b")
    world.looks()
    world.come_back("c")
    [lost] = world.registry.lost()
    assert (lost.id, lost.proof, lost.sessions, lost.reaped_by) == ("b", "refused", 1, "a")
    assert world.reaped() == ["b"]


def test_one_that_dies_after_the_return_before_it_has_registered_is_lost_too(world: World) -> None:
    world.go_away()
    world.looks()
    world.kill("b", "timed_out")
    world.come_back("c")
    assert world.lost() == [("b", "refused")]


def test_a_registry_emptied_between_two_heartbeats_forgets_no_loss(world: World) -> None:
    world.registry.reap_proven("b", by="c")
    world.agent.heartbeat()
    world.memory.look()
    world.come_back("c")
    assert world.lost() == [("b", "refused")]
    assert world.reaped() == []


def test_a_look_at_an_emptied_registry_before_the_next_heartbeat_forgets_no_loss(world: World) -> None:
    world.registry.reap_proven("b", by="c")
    world.agent.heartbeat()
    world.memory.look()
    world.empty()
    world.memory.look()
    world.come_back("c")
    assert world.lost() == [("b", "refused")]


def test_a_loss_seen_as_silence_stays_one_with_its_facts(world: World) -> None:
    world.clock.now += TTL_SECS + 1
    world.registry.heartbeat("c")
    world.agent.heartbeat()
    world.agent.reap()
    world.agent.heartbeat()
    world.memory.look()
    [former] = world.registry.lost()
    assert former.proof == "silence"
    world.go_away()
    world.looks()
    world.come_back("c")
    assert world.registry.lost() == [former]


def test_silence_alone_is_no_death(world: World) -> None:
    world.go_away()
    world.outcomes["b"] = "timed_out"
    world.looks()
    world.come_back("c")
    assert world.lost() == []


def test_a_free_lock_alone_is_no_death(world: World) -> None:
    world.go_away()
    world.witnesses["b"] = "free"
    world.looks()
    world.come_back("c")
    assert world.lost() == []


def test_one_look_is_no_death(world: World) -> None:
    world.go_away()
    world.kill("b")
    world.looks(1)
    world.leave("b")
    world.looks()
    world.come_back("c")
    assert world.lost() == []


def test_one_that_left_in_order_during_the_outage_is_not_lost(world: World) -> None:
    world.go_away()
    world.leave("b")
    world.looks()
    world.come_back("c")
    assert world.lost() == []


def test_one_that_left_in_order_after_the_return_is_not_lost(world: World) -> None:
    world.go_away()
    world.kill("b")
    world.looks()
    world.registry.away = False
    world.registry.record_event("left", "b")
    world.registry.deregister("b")
    world.come_back("c", empty=False)
    assert world.lost() == []


def test_one_that_was_taken_for_dead_and_registers_is_not_lost(world: World) -> None:
    world.go_away()
    world.kill("b")
    world.looks()
    world.come_back("b", "c")
    assert world.lost() == []


def test_a_loss_that_was_dismissed_or_replaced_does_not_come_back(world: World) -> None:
    for name in "bc":
        world.registry.reap_proven(name, by="a")
    world.memory.look()
    world.go_away()
    world.looks()
    world.registry.away = False
    world.registry.dismiss_lost("b")
    world.registry.record_event("dismissed", "b", by="lee")
    world.registry.register(instance("d"))
    world.registry.replace_lost("c", by="d")
    world.come_back(empty=False)
    assert world.lost() == []


def test_an_instance_that_joined_an_emptied_registry_has_replaced_the_lost_one(world: World) -> None:
    world.registry.reap_proven("b", by="c")
    world.memory.look()
    world.go_away()
    world.looks()
    world.come_back("c")
    assert world.lost() == [("b", "refused")]
    world.go_away()
    world.looks()
    world.registry.away = False
    world.registry._lost.clear()
    world.registry._events.clear()
    world.registry.register(replace(instance("d"), started_at=world.clock.now))
    world.come_back(empty=False)
    assert world.lost() == []
    assert world.registry.snapshot().instances["d"].replaces == "b"


def test_what_is_remembered_stays_until_the_registry_has_answered(world: World) -> None:
    world.go_away()
    world.kill("b")
    world.looks()
    world.registry.away = False
    world.registry.deregister("b")
    world.registry._events.clear()
    world.agent.heartbeat()
    world.settle()
    world.registry.failing = frozenset(["keep_lost"])
    world.looks(1)
    assert world.lost() == []
    world.registry.failing = frozenset()
    world.looks(1)
    assert world.lost() == [("b", "refused")]
    assert world.reaped() == ["b"]
