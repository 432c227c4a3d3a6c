"""Agents on a real Valkey that dies, comes back, and forgets, or that is asked very much at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
import structlog

from netstacks import greenlets
from netstacks.cluster.model import SessionRecord
from netstacks.instance.agent import Agent
from netstacks.registry.connection import MAX_CONNECTIONS, connect
from netstacks.registry.valkey import ValkeyRegistry, open_registry
from tests.cluster.facts import SESSION, instance, record
from tests.instance.test_agent import Sessions
from tests.patched import patched
from tests.patience import wait_patiently
from tests.valkey import SentinelCluster, Valkey
from tests.waits import until

TTL_SECS = 30.0
MANY = 2000


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


def registry_of(valkey: Valkey) -> ValkeyRegistry:
    return ValkeyRegistry(connect(valkey.url))


def kinds(valkey: Valkey) -> list[str]:
    return [event.kind for event in registry_of(valkey).events()]


def make_agent(name: str, valkey: Valkey, sessions: Sessions) -> Agent:
    return Agent(instance(name), registry_of(valkey), sessions, interval_secs=5.0, ttl_secs=TTL_SECS)


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
    recorded = kinds(valkey)
    assert [recorded.count(kind) for kind in ("failover", "valkey_lost", "valkey_back")] == [1, 1, 1]


# A Sentinel that was paused for 2 s takes no part in a failover for the next 30 s.
@pytest.mark.timeout(300)
def test_a_failover_by_sentinels_is_recorded_once_with_both_nodes() -> None:
    with SentinelCluster() as sentinels:
        agents = [
            Agent(
                instance(name),
                open_registry(None, sentinels.url, SentinelCluster.MASTER_NAME),
                Sessions(),
                interval_secs=5.0,
                ttl_secs=TTL_SECS,
            )
            for name in "ab"
        ]
        for agent in agents:
            agent.heartbeat()
        former = sentinels.primary()
        former.kill()

        def is_back() -> bool:
            for agent in agents:
                agent.heartbeat()
            return all(agent.is_leased for agent in agents)

        until(is_back, "the new primary", 120)
        sentinels.keep_primary()
        new = sentinels.primary()
        [failover] = [event for event in registry_of(new).events() if event.kind == "failover"]
        addresses = (failover.details["former"], failover.details["address"])
        assert addresses == (f"127.0.0.1:{former.port}", f"127.0.0.1:{new.port}")
        assert kinds(new).count("valkey_back") == 1


def test_a_drained_cluster_leaves_only_its_history(valkey: Valkey) -> None:
    agents = [make_agent("a", valkey, Sessions(record("a"))), make_agent("b", valkey, Sessions())]
    for agent in agents:
        agent.heartbeat()
    for agent in agents:
        agent.drain()
        agent.leave()
    assert sorted(connect(valkey.url).keys("*")) == ["netstacks:events", "netstacks:server"]


@contextmanager
def a_valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    try:
        yield server
    finally:
        server.destroy()


def many_records() -> list[SessionRecord]:
    return [record("a", session_id=UUID(int=number)) for number in range(1, MANY + 1)]


@patched
def test_very_many_sessions_that_begin_and_end_at_once_are_all_told_and_contact_is_kept() -> None:
    wait_patiently(pytest.MonkeyPatch())
    with a_valkey() as valkey, structlog.testing.capture_logs() as logs:
        sessions = Sessions()
        agent = make_agent("a", valkey, sessions)
        agent.heartbeat()
        others = ValkeyRegistry(connect(valkey.url))

        sessions.held = many_records()
        publishing = [greenlets.spawn("publish", agent.publish, each) for each in sessions.held]
        greenlets.sleep(0)
        agent.beat_anew()
        greenlets.joinall(publishing, timeout=30)
        assert {each.id for each in others.sessions_of("a")} == {each.id for each in sessions.held}

        ended, sessions.held = sessions.held, []
        for each in ended:
            greenlets.spawn("session-forget", agent.withdraw, each.id, each.epoch)
        for _ in range(10):
            agent.beat_anew()
            assert agent.is_leased
            greenlets.sleep(0.01)
        agent.heartbeat()
        assert others.sessions_of("a") == []
        assert others.snapshot().instances["a"].sessions == 0
        assert not connect(valkey.url).keys("netstacks:session:*")
    assert [each["event"] for each in logs] == ["instance.joined"]


@patched
def test_connections_that_are_all_in_use_neither_lose_contact_nor_delay_a_heartbeat() -> None:
    wait_patiently(pytest.MonkeyPatch())
    with a_valkey() as valkey, structlog.testing.capture_logs() as logs:
        client = connect(valkey.url)
        sessions = Sessions(record("a"))
        agent = Agent(instance("a"), ValkeyRegistry(client), sessions, interval_secs=5.0, ttl_secs=TTL_SECS)
        held = [client.connection_pool.get_connection() for _ in range(MAX_CONNECTIONS)]
        # Nothing of what follows waits in the queue for those in use.
        client.connection_pool.get_connection = None
        for work in (agent.heartbeat, agent.reap, lambda: agent.publish(record("a", 2)), agent.drain, agent.heartbeat):
            work()
            assert agent.is_leased
        assert len(held) == MAX_CONNECTIONS
        assert [each["event"] for each in logs] == ["instance.joined"]
        assert ValkeyRegistry(connect(valkey.url)).session(SESSION) == record("a", 2)


@patched
def test_many_callers_of_a_new_heartbeat_at_once_cost_the_server_two() -> None:
    wait_patiently(pytest.MonkeyPatch())
    with a_valkey() as valkey:
        agent = make_agent("a", valkey, Sessions())
        agent.heartbeat()
        server = connect(valkey.url)
        server.config_resetstat()
        beating = [greenlets.spawn("one of many", agent.beat_anew) for _ in range(50)]
        greenlets.joinall(beating, timeout=30)
        assert all(each.successful() for each in beating)
        # A heartbeat and a snapshot each.
        assert server.info("commandstats")["cmdstat_evalsha"]["calls"] <= 4


@patched
def test_writes_that_a_frozen_server_did_not_take_are_there_after_the_next_good_heartbeat() -> None:
    with a_valkey() as valkey:
        sessions = Sessions(*many_records())
        agent = make_agent("a", valkey, sessions)
        until(lambda: agent.heartbeat() or agent.is_leased, "the first heartbeat")
        valkey.freeze()
        ended, sessions.held = sessions.held[:1000], sessions.held[1000:]
        for each in ended:
            agent.withdraw(each.id, each.epoch)
        turns = 0

        def turn() -> None:
            nonlocal turns
            while True:
                greenlets.sleep(0.1)
                turns += 1

        greenlets.spawn("turns", turn)
        agent.publish(sessions.held[0])
        # No request waits longer than 2 s for a store that hangs. A pause of this machine is one turn.
        assert turns <= 20
        assert agent.is_leased
        valkey.thaw()
        until(lambda: agent.heartbeat() or agent.is_leased, "a good heartbeat")
        wait_patiently(pytest.MonkeyPatch())
        found = ValkeyRegistry(connect(valkey.url)).sessions_of("a")
        assert {each.id for each in found} == {each.id for each in sessions.held}
