"""An instance whose record in Valkey was damaged goes on, and repairs it; the others go on as well."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from netstacks.instance.agent import Agent
from netstacks.instance.observer import Observer
from netstacks.peer.clocks import PeerClocks
from netstacks.registry import keys
from netstacks.registry.connection import connect
from netstacks.registry.valkey import ValkeyRegistry
from tests.cluster.facts import SESSION, instance, record
from tests.instance.test_agent import Sessions
from tests.registry.records import TYPES, plant
from tests.valkey import Valkey


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    connect(server.url).flushall()
    return server


def make_agent(name: str, valkey: Valkey, sessions: Sessions) -> Agent:
    return Agent(instance(name), ValkeyRegistry(connect(valkey.url)), sessions, interval_secs=5.0, ttl_secs=30.0)


@pytest.mark.parametrize("field", ["peer_address", "started_at", "state", "pid", "sessions"])
def test_a_damaged_instance_is_whole_after_two_heartbeats(valkey: Valkey, field: str) -> None:
    a, b = make_agent("a", valkey, Sessions(record("a"))), make_agent("b", valkey, Sessions())
    for agent in (a, b):
        agent.heartbeat()
    client = connect(valkey.url)
    client.hset(keys.instance("a"), field, "\x00 none")
    for agent in (a, b, a, b):
        agent.heartbeat()
        assert agent.is_leased
    assert b.snapshot.instances.keys() == {"a", "b"}
    assert replace(b.snapshot.instances["a"], last_heartbeat_at=0.0) == replace(a.me, sessions=1)


@pytest.mark.parametrize("kind", TYPES)
def test_a_session_that_was_replaced_by_something_else_is_published_again(valkey: Valkey, kind: str) -> None:
    a = make_agent("a", valkey, Sessions(record("a")))
    a.heartbeat()
    plant(connect(valkey.url), keys.session(SESSION), kind)
    a.publish(record("a"))
    assert ValkeyRegistry(connect(valkey.url)).session(SESSION) == record("a")


def test_the_observer_shows_what_is_whole_and_names_the_rest(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netstacks.instance.observer.FRESH_SECS", 0)
    make_agent("a", valkey, Sessions()).heartbeat()
    client = connect(valkey.url)
    client.hset(keys.instance("bad"), "host", "x")
    client.zadd(keys.INSTANCES, {"bad": 5.0})
    client.xadd(keys.EVENTS, {"without": "a kind"}, id="18446744073709551614-1")
    observer = Observer(ValkeyRegistry(client), PeerClocks())
    for _ in range(2):
        view = observer.look()
        assert view.registry.connection == "connected"
        assert view.snapshot.instances.keys() == {"a"}
        assert [event.kind for event in view.events] == ["joined"]
        assert view.unreadable.keys() == {keys.instance("bad"), f"{keys.EVENTS} 18446744073709551614-1"}


def test_an_observer_that_fails_says_so(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ValkeyRegistry(connect(valkey.url))
    observer = Observer(registry, PeerClocks())
    monkeypatch.setattr(registry, "events", lambda: 1 // 0)
    for _ in range(2):
        assert observer.look().registry.connection == "disconnected"
        assert "see the log" in (observer.look().registry.error or "")
