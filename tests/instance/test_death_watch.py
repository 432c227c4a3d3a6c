"""The death watch: which peers it declares dead, by which proofs, and how often."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Outcome, Witness
from netstacks.errors import PeerFailed
from netstacks.instance.clock_watch import ClockWatch
from netstacks.instance.death_watch import DeathWatch
from netstacks.peer.client import NoAnswer, Reply
from netstacks.peer.clocks import PeerClocks
from tests.cluster.facts import instance
from tests.instance.test_agent import Clock, Registry
from tests.waits import until

INTERVAL_SECS = 5.0


class World:
    """Instance `a`, its view of `b`, which is killed unless told otherwise, and of `c`, which lives."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock)
        for name in "abc":
            self.registry.register(instance(name))
        self.outcomes: dict[str, Outcome] = {"b": "refused"}
        self.witnesses: dict[str, Witness] = {"b": "free"}
        self.asked: list[str] = []
        """The instances whose witness was asked for."""
        self.reported: list[tuple[str, str]] = []
        self.clocks = PeerClocks()
        self.tls_problems: dict[str, str] = {}
        self.agent = SimpleNamespace(
            me=instance("a"),
            contact=SimpleNamespace(is_kept=True),
            report_loss=lambda instance_id, proof: self.reported.append((instance_id, proof)),
        )
        self.see()
        parts = cast(Any, (self.agent, self, self.registry, self))
        self.watch = DeathWatch(*parts, interval_secs=INTERVAL_SECS)

    def call(self, peer: Peer, path: str, **claims: Any) -> Reply | NoAnswer:
        outcome = self.outcomes.get(peer.id, "confirmed")
        if outcome == "declined":
            raise PeerFailed("403")
        return Reply(None) if outcome == "confirmed" else NoAnswer(outcome)

    def of_all(self, ids: list[str]) -> dict[str, Witness]:
        self.asked += ids
        return {each: self.witnesses.get(each, "held") for each in ids}

    def see(self) -> None:
        """The agent's heartbeat."""
        self.agent.snapshot = self.registry.snapshot()

    def silence(self, *names: str, secs: float = 13.0) -> None:
        """These send no heartbeats for a while; the others do."""
        self.clock.now += secs
        for name in set("abc") - set(names):
            self.registry.heartbeat(name)
        self.see()

    def lost(self) -> list[tuple[str, str]]:
        return [(each.id, each.proof) for each in self.registry.lost()]


@pytest.fixture
def world() -> World:
    return World()


def test_an_instance_whose_heartbeat_is_overdue_and_whose_process_is_gone_is_lost(world: World) -> None:
    world.silence("b")
    world.watch.look()
    assert world.lost() == [("b", "refused")]
    assert world.reported == [("b", "refused")]


def test_it_is_reported_once(world: World) -> None:
    world.silence("b")
    for _ in range(2):
        world.watch.look()
    assert world.asked == ["b", "b"]
    assert world.reported == [("b", "refused")]


def test_heartbeats_in_time_need_no_dial(world: World) -> None:
    world.silence("b", secs=12.0)
    world.watch.look()
    assert world.lost() == []


@pytest.mark.parametrize("outcome", ["timed_out", "confirmed", "declined", "denied"])
def test_only_an_absent_listener_is_a_proof(world: World, outcome: Outcome) -> None:
    world.outcomes["b"] = outcome
    world.silence("b")
    world.watch.look()
    assert (world.lost(), world.asked) == ([], [])


@pytest.mark.parametrize("witness", ["held", "silent", "unknown"])
def test_only_a_free_witness_lock_is_a_proof(world: World, witness: Witness) -> None:
    world.witnesses["b"] = witness
    world.silence("b")
    world.watch.look()
    assert (world.lost(), world.asked) == ([], ["b"])


def test_another_process_at_its_address_is_a_proof_too(world: World) -> None:
    world.outcomes["b"] = "other_id"
    world.silence("b")
    world.watch.look()
    assert world.lost() == [("b", "refused")]


def test_one_that_has_left_in_order_is_not_lost(world: World) -> None:
    world.silence("b")
    world.registry.deregister("b")
    world.watch.look()
    assert (world.lost(), world.reported) == ([], [])


def test_without_contact_nothing_is_judged(world: World) -> None:
    world.silence("b")
    world.agent.contact.is_kept = False
    world.watch.look()
    assert (world.lost(), world.asked) == ([], [])


def test_a_call_that_fails_is_repeated_at_the_next_look(world: World) -> None:
    world.silence("b")
    world.registry.failing = frozenset(["reap_proven"])
    world.watch.look()
    assert world.reported == []
    world.registry.failing = frozenset()
    world.watch.look()
    assert world.reported == [("b", "refused")]


def test_the_dials_of_the_clock_watch_find_a_death_before_a_heartbeat_is_overdue(world: World) -> None:
    parts = cast(Any, (world.agent, world, world.registry))
    watch = ClockWatch(*parts, heartbeat_secs=INTERVAL_SECS, ttl_secs=30.0, on_suspects=world.watch.suspect)
    world.silence("b", secs=1.0)
    watch.look()
    until(lambda: world.lost() == [("b", "refused")], "the loss")
    assert world.asked == ["b"]
