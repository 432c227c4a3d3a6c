"""Many greenlets on one registry, as in a worker: none waits for the others, and none gets another's reply."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netstacks import greenlets
from netstacks.errors import RegistryBusy, RegistryUnavailable
from netstacks.registry import addresses
from netstacks.registry.circuit_breaker import OPEN_SECS
from netstacks.registry.connection import MAX_CONNECTIONS, connect
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey import ValkeyRegistry, open_registry
from tests.cluster.facts import SESSION, instance, record
from tests.controller import until
from tests.patched import patched
from tests.patience import wait_patiently
from tests.registry.answers import answered
from tests.valkey import SentinelCluster, Valkey
from tests.wire import Wire

# No request waits longer than 2 s for a store that hangs; the rest is for a machine that pauses.
CEILING_SECS = 15.0

pytestmark = pytest.mark.timeout(300)


@contextmanager
def patience() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        wait_patiently(patch)
        yield


@contextmanager
def a_registry(mode: str) -> Iterator[tuple[ValkeyRegistry, list[Valkey], Valkey]]:
    """With every server that it may wait for, and the one that holds the data."""
    if mode == "sentinel":
        with SentinelCluster() as cluster:
            cluster.keep_primary()
            registry = open_registry(None, cluster.url, SentinelCluster.MASTER_NAME)
            yield registry, [*cluster.nodes, *cluster.sentinels], cluster.primary()
    else:
        server = Valkey().start()
        try:
            yield ValkeyRegistry(connect(server.url)), [server], server
        finally:
            server.destroy()


@pytest.mark.parametrize("mode", ["plain", "sentinel"])
@patched
def test_the_reply_of_a_killed_command_answers_no_other(mode: str) -> None:
    with patience(), a_registry(mode) as (registry, _, server):
        answered(lambda: registry.register(instance("a")))
        answered(lambda: registry.publish(record("a")))
        for abandoned in (registry.now, registry.snapshot, lambda: registry.publish(record("a"), record("a"))):
            server.freeze()
            killed = greenlets.spawn("killed", abandoned)
            greenlets.sleep(0.1)
            assert not killed.ready()
            killed.kill()
            # Asked before the reply of the other command has come.
            asked = greenlets.spawn("asked", answered, lambda: registry.session(SESSION))
            greenlets.sleep(0.1)
            assert not asked.ready()
            server.thaw()
            assert asked.get() == record("a")
            assert answered(lambda: registry.heartbeat("a")).state == "active"


@pytest.mark.parametrize("mode", ["plain", "sentinel"])
@patched
def test_no_caller_of_a_crowd_waits_for_long_when_everything_hangs(mode: str) -> None:
    def ask() -> None:
        asked_at = time.monotonic()
        try:
            registry.session(SESSION)
        except RegistryUnavailable:
            waits.append(time.monotonic() - asked_at)

    waits: list[float] = []
    with a_registry(mode) as (registry, servers, _):
        answered(registry.now)
        for server in servers:
            server.freeze()
        # Twice, for the second time there is no connection left.
        for _ in range(2):
            greenlets.joinall([greenlets.spawn("one of many", ask) for _ in range(3 * MAX_CONNECTIONS)])
            # Longer than the circuit breaker stays open.
            greenlets.sleep(OPEN_SECS + 0.2)
    assert len(waits) == 6 * MAX_CONNECTIONS
    assert max(waits) < CEILING_SECS


@pytest.mark.parametrize("mode", ["plain", "sentinel"])
@patched
def test_a_crowd_that_uses_up_the_connections_delays_no_heartbeat(mode: str) -> None:
    def ask() -> None:
        try:
            registry.session(SESSION)
        except RegistryBusy:
            turned_away.append(True)

    turned_away: list[bool] = []
    with patience(), a_registry(mode) as (registry, _, _):
        reserved = registry.reserved()
        answered(lambda: reserved.register(instance("a")))
        pool = registry._client.connection_pool
        held = [pool.get_connection() for _ in range(MAX_CONNECTIONS)]
        crowd = [greenlets.spawn("one of many", ask) for _ in range(100)]
        greenlets.sleep(0)
        # All of the crowd are in the queue by now. The heartbeat does not join them.
        get_connection, pool.get_connection = pool.get_connection, None
        assert answered(lambda: reserved.heartbeat("a")).state == "active"
        pool.get_connection = get_connection
        assert registry.status().connection == "connected"
        greenlets.joinall(crowd)
        assert len(turned_away) == 100
        for connection in held:
            pool.release(connection)
        assert registry.session(SESSION) is None


@patched
def test_concurrent_discoveries_of_the_primary_ask_once() -> None:
    with patience(), SentinelCluster() as cluster:
        cluster.keep_primary()
        wires = [Wire(each.port) for each in cluster.sentinels]
        url = "redis://" + ",".join(f"127.0.0.1:{wire.port}" for wire in wires)
        sentinels = Sentinels(addresses.parse(url), SentinelCluster.MASTER_NAME)
        looking = [greenlets.spawn("one of many", sentinels.discover) for _ in range(20)]
        greenlets.joinall(looking)
        assert {each.get() for each in looking} == {("127.0.0.1", cluster.primary().port)}
        # The answers of two may have been enough.
        until(lambda: all(wire.connections for wire in wires), "the last question")
        assert [wire.connections for wire in wires] == [1, 1, 1]


@patched
def test_a_failover_is_heard_of_though_the_sentinel_that_was_listened_to_fell_silent() -> None:
    """No socket reports an error in a black hole, and no command is sent to the registry (docs/design-notes.md, 3)."""
    with SentinelCluster() as cluster:
        wires = [Wire(each.port) for each in cluster.sentinels]
        url = "redis://" + ",".join(f"127.0.0.1:{wire.port}" for wire in wires)
        sentinels = Sentinels(addresses.parse(url), SentinelCluster.MASTER_NAME)
        sentinels.follow()
        until(lambda: sentinels.primary, "the first primary")
        wires[0].freeze()
        old = cluster.primary()
        old.kill()
        until(lambda: cluster.primary() is not old, "the failover", SentinelCluster.FAILOVER_SECS)
        until(lambda: sentinels.primary == ("127.0.0.1", cluster.primary().port), "its news")
