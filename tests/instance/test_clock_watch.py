"""The clock watch asks all living peers and tells of changes once."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog.testing

from netstacks.cluster.model import Peer, Snapshot
from netstacks.errors import PeerFailed
from netstacks.instance.clock_watch import ClockWatch
from netstacks.peer.client import NoAnswer, Reply
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.memory import MemoryRegistry
from tests.cluster.facts import instance

NOW = 1_700_000_000.0


class Peers:
    """Peers whose clocks are ahead by `ahead_secs`; those without one there do not answer."""

    def __init__(self) -> None:
        self.clocks = PeerClocks()
        self.ahead_secs: dict[str, float] = {}
        self.refuses = False
        self.tls_problems: dict[str, str] = {}

    def call(self, peer: Peer, path: str, **claims: Any) -> Reply | NoAnswer:
        if peer.id not in self.ahead_secs:
            return NoAnswer("timed_out")
        self.clocks.note(peer.id, str(NOW + self.ahead_secs[peer.id]), 0.0)
        if self.refuses:
            raise PeerFailed("403")
        return Reply(None)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Peers:
    monkeypatch.setattr("netstacks.peer.clocks.time", SimpleNamespace(time=lambda: NOW))
    return Peers()


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def agent() -> SimpleNamespace:
    there = {name: instance(name) for name in ("ctrl-a", "ctrl-b", "ctrl-c")}
    return SimpleNamespace(me=there["ctrl-a"], snapshot=Snapshot(0.0, there))


@pytest.fixture
def watch(agent: SimpleNamespace, peers: Peers, registry: MemoryRegistry) -> ClockWatch:
    return ClockWatch(cast(Any, agent), cast(Any, peers), registry, heartbeat_secs=5, ttl_secs=30)


def look(watch: ClockWatch) -> list[tuple[str, str]]:
    """The lines logged at one look."""
    with structlog.testing.capture_logs() as logged:
        watch.look()
    # Greenlets of earlier tests may log beside it.
    return [(each["event"], each["peer"]) for each in logged if each["event"].startswith("clock.")]


@pytest.mark.parametrize("refuses", [False, True])
def test_a_change_is_told_once(watch: ClockWatch, peers: Peers, registry: MemoryRegistry, refuses: bool) -> None:
    peers.refuses = refuses
    peers.ahead_secs = {"ctrl-b": 40.0, "ctrl-c": 0.0}
    assert look(watch) == [("clock.differs", "ctrl-b")]
    assert look(watch) == []
    peers.ahead_secs["ctrl-b"] = 60.0
    assert look(watch) == [("clock.differs", "ctrl-b")]
    peers.ahead_secs["ctrl-b"] = 0.0
    assert look(watch) == [("clock.agrees", "ctrl-b")]
    assert look(watch) == []
    told = [(each.kind, each.instance_id, each.details) for each in registry.events()]
    assert told == [
        ("clock", "ctrl-b", {"clock": "right again", "seen_by": "ctrl-a"}),
        ("clock", "ctrl-b", {"clock": "60 s ahead", "seen_by": "ctrl-a"}),
        ("clock", "ctrl-b", {"clock": "40 s ahead", "seen_by": "ctrl-a"}),
    ]


def beat(agent: SimpleNamespace, at: float) -> None:
    """Every instance sends a heartbeat."""
    agent.snapshot = Snapshot(
        at, {id: replace(each, last_heartbeat_at=at) for id, each in agent.snapshot.instances.items()}
    )


@pytest.mark.parametrize("refuses", [False, True])
def test_a_living_peer_that_does_not_answer_twice_is_unreachable(
    agent: SimpleNamespace, peers: Peers, refuses: bool
) -> None:
    now = [0.0]
    registry = MemoryRegistry(clock=lambda: now[0])
    watch = ClockWatch(cast(Any, agent), cast(Any, peers), registry, heartbeat_secs=5, ttl_secs=30)
    peers.ahead_secs = {"ctrl-c": 0.0}
    # An answer with an error status is an answer.
    peers.refuses = refuses
    for at in (10.0, 20.0):
        now[0] = at
        look(watch)
        assert watch.unreachable == {}
        beat(agent, at + 1)
    assert watch.unreachable == {"ctrl-b": "no answer"}
    assert watch.reached == 1
    peers.tls_problems = {"ctrl-b": "certificate has expired", "ctrl-gone": "certificate has expired"}
    look(watch)
    beat(agent, at + 2)
    assert watch.unreachable == {"ctrl-b": "TLS fails: certificate has expired"}
    assert list(peers.tls_problems) == ["ctrl-b"]
    peers.ahead_secs["ctrl-b"] = 0.0
    look(watch)
    assert watch.unreachable == {}
    assert watch.reached == 2


def test_one_that_does_not_answer_keeps_what_was_measured_until_it_has_left(
    watch: ClockWatch, peers: Peers, agent: SimpleNamespace
) -> None:
    peers.ahead_secs = {"ctrl-b": 40.0}
    look(watch)
    peers.ahead_secs = {}
    assert look(watch) == []
    assert list(peers.clocks.skews) == ["ctrl-b"]
    agent.snapshot = Snapshot(0.0, {"ctrl-a": agent.me})
    assert look(watch) == []
    assert peers.clocks.skews == {}
