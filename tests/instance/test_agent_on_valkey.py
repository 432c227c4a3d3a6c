"""Two agents on a real Valkey that dies, comes back, and forgets."""

from collections.abc import Iterator

import pytest

from netstacks.instance.agent import Agent
from netstacks.registry.connection import connect
from netstacks.registry.valkey import ValkeyRegistry
from tests.cluster.facts import SESSION, instance, record
from tests.instance.test_agent import Sessions
from tests.valkey import Valkey

TTL_SECS = 30.0


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


def kinds(valkey: Valkey) -> list[str]:
    return [event.kind for event in ValkeyRegistry(connect(valkey.url)).events()]


def make_agent(name: str, valkey: Valkey, sessions: Sessions) -> Agent:
    return Agent(instance(name), ValkeyRegistry(connect(valkey.url)), sessions, interval_secs=5.0, ttl_secs=TTL_SECS)


@pytest.mark.parametrize("empty", [False, True])
def test_a_cluster_is_whole_again_after_one_heartbeat_each(valkey: Valkey, empty: bool) -> None:
    a = make_agent("a", valkey, Sessions(record("a")))
    b = make_agent("b", valkey, Sessions())
    for agent in (a, b):
        agent.heartbeat()
    valkey.kill()
    for agent in (a, b):
        agent.heartbeat()
        assert not agent.is_leased
    if empty:
        valkey.wipe()
    valkey.start()
    for agent in (a, b):
        agent.heartbeat()
        assert agent.is_leased
        assert agent.is_blind
    seen = b.snapshot.instances
    assert {each.id: each.sessions for each in seen.values()} == {"a": 1, "b": 0}
    assert ValkeyRegistry(connect(valkey.url)).session(SESSION) == record("a")
    assert kinds(valkey).count("failover") == 1


def test_a_drained_cluster_leaves_only_its_history(valkey: Valkey) -> None:
    agents = [make_agent("a", valkey, Sessions(record("a"))), make_agent("b", valkey, Sessions())]
    for agent in agents:
        agent.heartbeat()
    for agent in agents:
        agent.drain()
        agent.leave()
    assert sorted(connect(valkey.url).keys("*")) == ["netstacks:events", "netstacks:server"]
