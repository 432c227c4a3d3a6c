"""Faults of Valkey as callers see them: short, reported in our words, and over without help."""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import MaxConnectionsError

from netstacks.cluster.circuits import MAX_OPEN_SECS, Circuit
from netstacks.cluster.model import Sample
from netstacks.errors import RegistryBusy, RegistryUnavailable
from netstacks.registry import circuit_breaker, keys
from netstacks.registry.base import Pulse
from netstacks.registry.circuit_breaker import HUNG_SECS, CircuitBreaker
from netstacks.registry.connection import CONNECT_SECS, MAX_CONNECTIONS, QUEUE_SECS, REPLY_SECS, connect
from netstacks.registry.sentinel import DISCOVERY_SECS
from netstacks.registry.valkey import ValkeyRegistry
from tests.cluster.facts import SESSION, instance, record
from tests.registry.answers import answered
from tests.valkey import Valkey
from tests.waits import until

TTL_SECS = 30.0
# No request, heartbeat or page waits longer for a store that hangs. The ceiling has room for a machine that pauses.
LIMIT_SECS = 2.0
CEILING_SECS = 15.0


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server of the test's own, to be killed."""
    server = Valkey().start()
    yield server
    server.destroy()


@pytest.fixture
def registry(valkey: Valkey) -> ValkeyRegistry:
    registry = ValkeyRegistry(connect(valkey.url))
    answered(lambda: registry.register(instance("a")))
    return registry


def refused(ask: Callable[[], object]) -> str:
    """The error's text. Without its time limits, a call to a server that hangs would have none."""
    started_at = time.monotonic()
    with pytest.raises(RegistryUnavailable) as caught:
        ask()
    assert time.monotonic() - started_at < CEILING_SECS
    return str(caught.value)


def test_a_dead_server_is_told_at_once_and_in_our_words(valkey: Valkey, registry: ValkeyRegistry) -> None:
    valkey.kill()
    for ask in (registry.snapshot, registry.now, lambda: registry.heartbeat("a"), lambda: registry.session(SESSION)):
        assert refused(ask).startswith("Valkey: ")
    status = registry.status()
    assert status.connection == "disconnected"
    assert status.error


@pytest.mark.usefixtures("product_limits")
@pytest.mark.parametrize("known", [True, False], ids=["connected", "connecting"])
def test_only_one_request_waits_for_a_frozen_server(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """However often it asks."""
    registry = ValkeyRegistry(connect(valkey.url))
    if known:
        answered(registry.now)
    later_secs = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + later_secs)
    monkeypatch.setattr(circuit_breaker, "time", clock)
    # Not over before the test says so, however slow the machine is.
    monkeypatch.setattr(circuit_breaker, "OPEN_SECS", 3600.0)
    valkey.freeze()
    pool, waits = registry._client.connection_pool, list[Any]()
    get_connection = pool.get_connection
    monkeypatch.setattr(pool, "get_connection", lambda *words: waits.append(words) or get_connection(*words))
    # One question waits for a reply and opens the circuit.
    for ask in (registry.now, registry.snapshot, lambda: registry.session(SESSION)) * 3:
        refused(ask)
    assert registry.status().connection == "disconnected"
    assert len(waits) == 1
    for _ in range(9):
        refused(lambda: registry.heartbeat("a"))
    assert len(waits) == 2
    valkey.thaw()
    assert refused(registry.now)
    later_secs = 3600.0
    until(lambda: registry.status().connection == "connected", "the thawed server")


def test_the_waits_of_one_call_sum_up_to_less_than_two_seconds() -> None:
    assert QUEUE_SECS + DISCOVERY_SECS + CONNECT_SECS + REPLY_SECS < LIMIT_SECS


def test_a_heartbeat_is_not_refused_because_another_question_hung(
    valkey: Valkey, registry: ValkeyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # Each failure counts as a hang, and for long.
        patch.setattr(circuit_breaker, "HUNG_SECS", -1.0)
        patch.setattr(circuit_breaker, "OPEN_SECS", 3600.0)
        valkey.kill()
        refused(registry.now)
    valkey.start()
    assert refused(registry.now)
    assert registry.heartbeat("a").state == "active"


def test_connections_that_are_all_in_use_are_told_apart_from_a_server_that_is_away(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(valkey.url)
    registry, pool = ValkeyRegistry(client), client.connection_pool
    used = [pool.get_connection() for _ in range(MAX_CONNECTIONS)]
    for ask in (registry.now, lambda: registry.heartbeat("a"), lambda: registry.publish(record("a"))):
        with pytest.raises(RegistryBusy, match="every connection to Valkey is in use"):
            ask()
    assert registry.status().connection == "connected"
    reserved = registry.reserved()
    with monkeypatch.context() as context:
        # Nothing of it waits in the queue for those in use.
        context.setattr(pool, "get_connection", None)
        reserved.register(instance("a"))
        assert reserved.heartbeat("a").state == "active"
        assert reserved.snapshot().instances.keys() == {"a"}
    pool.release(used.pop())
    # Nothing hung, so nothing rests.
    assert registry.heartbeat("a").state == "active"
    assert registry.now()


def test_a_busy_pool_begins_no_rest_however_long_it_was_waited_for() -> None:
    def wait_in_vain() -> None:
        with breaker.guard():
            time.sleep(HUNG_SECS + 0.05)
            raise MaxConnectionsError("every connection to Valkey is in use")

    breaker = CircuitBreaker()
    with pytest.raises(RegistryBusy):
        wait_in_vain()
    with breaker.guard():
        pass


def test_a_refused_connection_is_tried_again_at_once(valkey: Valkey, registry: ValkeyRegistry) -> None:
    valkey.kill()
    refused(registry.now)
    valkey.start()
    assert registry.now()


@pytest.mark.usefixtures("product_limits")
def test_a_reply_that_came_too_late_answers_no_other_command(valkey: Valkey, registry: ValkeyRegistry) -> None:
    answered(lambda: registry.publish(record("a")))
    valkey.freeze()
    refused(lambda: registry.heartbeat("a"))
    valkey.thaw()
    assert answered(lambda: registry.session(SESSION)) == record("a")


def test_a_restart_shows_as_another_server_and_keeps_what_was_acknowledged(
    valkey: Valkey, registry: ValkeyRegistry
) -> None:
    registry.publish(record("a"))
    before = registry.heartbeat("a")
    valkey.kill()
    valkey.start()
    after = registry.heartbeat("a")
    address = valkey.url.removeprefix("redis://").removesuffix("/0")
    assert after == Pulse("active", after.server, after.at, is_first=True, address=address)
    assert not registry.heartbeat("a").is_first
    assert after.server != before.server
    assert registry.session(SESSION) == record("a")


def test_a_server_that_comes_back_empty_says_unknown(valkey: Valkey, registry: ValkeyRegistry) -> None:
    valkey.kill()
    valkey.wipe()
    valkey.start()
    assert registry.heartbeat("a").state is None
    registry.register(instance("a"))
    assert registry.publish(record("a")) == ["published"]


def test_a_read_only_replica_is_not_taken_for_a_registry(valkey: Valkey) -> None:
    replica = Valkey("--replicaof", f"127.0.0.1 {valkey.port}").start()
    try:
        refused(lambda: ValkeyRegistry(connect(replica.url)).register(instance("a")))
    finally:
        replica.destroy()


def test_contending_reapers_reap_each_instance_once(valkey: Valkey, registry: ValkeyRegistry) -> None:
    client = connect(valkey.url)
    stale = [f"stale-{number}" for number in range(50)]
    for name in stale:
        registry.register(instance(name))
        registry.publish(*(record(name, session_id=uuid4()) for _ in range(40)))
        client.zincrby(keys.INSTANCES, -TTL_SECS - 1, name)
    reaped: list[str] = []
    reapers = [threading.Thread(target=lambda: reaped.extend(registry.reap(TTL_SECS, by="b"))) for _ in range(6)]
    for reaper in reapers:
        reaper.start()
    for reaper in reapers:
        reaper.join()
    assert sorted(reaped) == sorted(stale)
    lost = {keys.LOST, *map(keys.lost, stale)}
    assert set(client.keys(keys.PREFIX + "*")) == {keys.INSTANCES, keys.instance("a"), *lost}
    assert {each.id: each.sessions for each in registry.lost()} == dict.fromkeys(stale, 40)


def test_an_instance_revived_while_it_is_reaped_is_told_and_loses_nothing(
    valkey: Valkey, registry: ValkeyRegistry
) -> None:
    """A reaper that died between two batches has forgotten some of the sessions and not the instance."""
    client = connect(valkey.url)
    mine = [record("a", session_id=uuid4()) for _ in range(20)]
    registry.publish(*mine)
    registry.register(instance("b"))
    client.zincrby(keys.INSTANCES, -TTL_SECS - 1, "a")
    reap_a_few(registry)
    assert registry.snapshot().instances.keys() == {"b"}
    assert registry.heartbeat("a").state is None
    registry.register(instance("a"))
    assert registry.publish(*mine) == ["published"] * 20
    assert registry.reap(TTL_SECS, by="b") == []
    assert len(registry.sessions_of("a")) == 20
    assert registry.lost() == []


def reap_a_few(registry: ValkeyRegistry) -> None:
    """The first batch of a reaping whose reaper dies."""
    touched = [keys.INSTANCES, keys.LOST]
    assert registry._run("reap", touched, TTL_SECS, 5, "", "b", "silence", 60) == [1, 1]


def test_a_reaping_that_another_instance_finishes_counts_all_sessions_and_loses_once(
    valkey: Valkey, registry: ValkeyRegistry
) -> None:
    registry.publish(*(record("a", session_id=uuid4()) for _ in range(20)))
    registry.register(instance("b"))
    connect(valkey.url).zincrby(keys.INSTANCES, -TTL_SECS - 1, "a")
    reap_a_few(registry)
    [lost] = registry.lost()
    assert (lost.sessions, lost.reaped_by) == (20, "b")
    assert not registry.reap_proven("a", by="c")
    assert registry.lost() == [lost]
    assert registry.sessions_of("a") == []
    assert registry.reap(TTL_SECS, by="c") == []


def test_an_instance_of_the_previous_version_is_lost_like_any_other(valkey: Valkey, registry: ValkeyRegistry) -> None:
    """Its record has fewer fields, and its version knows nothing of losses and samples."""
    client = connect(valkey.url)
    assert registry.lost() == []
    assert registry.samples({"a": 0.0}) == {"a": []}
    client.hdel(keys.instance("a"), "opens_per_sec", "waiting", "replaces")
    former = registry.instance("a")
    assert former is not None
    assert former.replaces == ""
    assert registry.reap_proven("a", by="b")
    [lost] = registry.lost()
    assert (lost.id, lost.host) == ("a", former.host)


def test_what_is_kept_of_the_dead_expires(valkey: Valkey, registry: ValkeyRegistry) -> None:
    client = connect(valkey.url)
    registry.reap_proven("a", by="b")
    registry.add_samples("a", [Sample(registry.now(), 1, 1.0, 0.0, 0.0, 1)])
    assert 86_000 < client.ttl(keys.lost("a")) <= 86_400
    assert 7000 < client.ttl(keys.samples("a")) <= 7200
    client.delete(keys.lost("a"))
    assert registry.lost() == []
    assert not client.exists(keys.LOST)


def test_the_cost_of_a_snapshot_does_not_grow_with_the_sessions(valkey: Valkey, registry: ValkeyRegistry) -> None:
    client = connect(valkey.url)

    def commands() -> int:
        before = client.info("commandstats")
        registry.snapshot()
        after = client.info("commandstats")
        counted = ("cmdstat_hgetall", "cmdstat_zrange", "cmdstat_scard", "cmdstat_keys", "cmdstat_scan")
        return sum(after.get(c, {}).get("calls", 0) - before.get(c, {}).get("calls", 0) for c in counted)

    few = commands()
    registry.publish(*(record("a", session_id=uuid4()) for _ in range(1000)))
    assert commands() == few == 2


def test_the_password_appears_in_no_error() -> None:
    server = Valkey("--requirepass", "right").start()
    try:
        url = server.url.replace("//", "//:wrong-secret@")
        assert "wrong-secret" not in refused(ValkeyRegistry(connect(url)).now)
    finally:
        server.destroy()


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_the_address_may_be_spelt_either_way(valkey: Valkey, scheme: str) -> None:
    assert connect(valkey.url.replace("redis", scheme, 1)).ping()


def test_a_malformed_circuit_hides_no_other_and_can_be_replaced(valkey: Valkey, registry: ValkeyRegistry) -> None:
    client = connect(valkey.url)
    registry.replace_circuit("whole", Circuit(version=1), 0)
    for name in ("a string", "half", "no number", "no state"):
        registry.replace_circuit(name, Circuit(version=1), 0)
    client.set(keys.breaker("a string"), "text")
    client.hdel(keys.breaker("half"), "failures")
    client.hset(keys.breaker("no number"), "version", "seven")
    client.hset(keys.breaker("no state"), "state", "ajar")
    assert registry.circuits()[1] == {"whole": Circuit(version=1)}
    for name in ("a string", "half", "no number", "no state"):
        # Where the version cannot be read, the first try finds nothing and the second one stores.
        if registry.replace_circuit(name, Circuit(version=2), 0)[1] is not None:
            assert registry.replace_circuit(name, Circuit(version=2), 0)[1] is None, name
    assert len(registry.circuits()[1]) == 5


def test_a_circuit_outlives_its_longest_deadline_and_then_expires(valkey: Valkey, registry: ValkeyRegistry) -> None:
    client = connect(valkey.url)
    registry.replace_circuit("one", Circuit(version=1), 0)
    assert MAX_OPEN_SECS < client.ttl(keys.breaker("one")) <= 3 * MAX_OPEN_SECS
    client.delete(keys.breaker("one"))  # what an expiry does
    assert registry.circuits()[1] == {}
    assert client.smembers(keys.BREAKERS) == set()
