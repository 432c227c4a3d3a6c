"""One record that cannot be read hides no other, stops no instance, and is named; whatever it holds."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any, cast
from uuid import UUID

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from netstacks.cluster.circuits import Circuit
from netstacks.cluster.model import Sample
from netstacks.cluster.overview import overview, summarize
from netstacks.cluster.versions import all_have
from netstacks.errors import RegistryUnavailable
from netstacks.registry import damage, hashes, keys
from netstacks.registry.connection import connect
from netstacks.registry.valkey import ValkeyRegistry
from tests.cluster.facts import SESSION, instance, record
from tests.registry.records import TYPES, plant, spoilt, values
from tests.registry.records import hashes as hashes_of
from tests.valkey import Valkey

TTL_SECS = 30.0
BAD = UUID(int=7)
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def fields_of(stored: list[Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in zip(stored[::2], stored[1::2], strict=True)}


INSTANCE = fields_of(hashes.to_hash(instance("bad"))) | {"sessions": "0"}
OF_SESSION = fields_of(hashes.to_hash(record("a", session_id=BAD)))
CIRCUIT = fields_of(hashes.to_hash(Circuit(version=1)))
# Of a reaped instance, with what the script adds.
LOST = INSTANCE | {"last_heartbeat_at": "1", "lost_at": "2", "reaped_by": "b", "proof": "silence"}
SAMPLE = {"figures": hashes.sample_figures(Sample(2.0, 1, 0.5, 0.25, 0.125, 1))}
EVENT = {"kind": "joined", "instance_id": "a"}
OF_INSTANCE = (keys.INSTANCES, keys.instance("a"), keys.owned("a"), keys.session(SESSION))
OF_LOST = (keys.LOST, keys.lost("gone"), keys.samples("a"), keys.reported("valkey_lost"))
KEYS = (*OF_INSTANCE, *OF_LOST, keys.SERVER, keys.EVENTS, keys.BREAKERS, keys.breaker("whole"))


@pytest.fixture(scope="module")
def raw(shared_valkey: Valkey) -> Iterator[Redis]:
    """A client that sends and receives bytes as they are."""
    with Redis(port=shared_valkey.port) as client:
        yield client


@cache
def registry_at(port: int) -> ValkeyRegistry:
    return ValkeyRegistry(connect(f"redis://127.0.0.1:{port}/0"))


def cluster(raw: Redis) -> ValkeyRegistry:
    """Two instances, of which `a` has a session and samples; a lost one, an event, and a circuit."""
    raw.flushall()
    registry = registry_at(raw.connection_pool.connection_kwargs["port"])
    registry._damage._problems.clear()
    for name in "ab":
        registry.register(instance(name))
    registry.publish(record("a"))
    registry.register(instance("gone"))
    registry.reap_proven("gone", by="b")
    registry.add_samples("a", [Sample(2.0, 1, 0.5, 0.25, 0.125, 1)])
    registry.record_event("joined", "b")
    registry.replace_circuit("whole", Circuit(version=1), 0)
    return registry


def check_neighbours(registry: ValkeyRegistry) -> None:
    """What is whole is read, and the cluster goes on."""
    snapshot = registry.snapshot()
    assert {"a", "b"} <= snapshot.instances.keys()
    assert record("a") in registry.sessions_of("a")
    assert registry.session(SESSION) == record("a")
    assert "joined" in [event.kind for event in registry.events()]
    assert registry.circuits()[1]["whole"] == Circuit(version=1)
    assert "gone" in [each.id for each in registry.lost()]
    assert Sample(2.0, 1, 0.5, 0.25, 0.125, 1) in registry.samples({"a": 0.0})["a"]
    assert registry.heartbeat("a").state == "active"
    assert registry.publish(record("a")) == ["published"]
    assert not {"a", "b"} & set(registry.reap(TTL_SECS, by="b"))


def as_json(value: Any) -> str:
    """As a page or the command line shows it."""
    return json.dumps(value, default=str, allow_nan=False)


@EXAMPLES
@given(stored=st.one_of(spoilt(INSTANCE), hashes_of(INSTANCE)), score=st.sampled_from(["now", "inf", "-inf", "5"]))
def test_an_instance_of_anything_hides_no_other(raw: Redis, stored: dict[bytes, bytes], score: str) -> None:
    registry = cluster(raw)
    raw.hset(keys.instance("bad"), mapping=cast(Any, stored))
    raw.zadd(keys.INSTANCES, {"bad": registry.now() if score == "now" else float(score)})
    snapshot = registry.snapshot()
    assert ("bad" in snapshot.instances) != ("bad" in snapshot.unreadable)
    lines = overview(snapshot, 5.0, TTL_SECS)
    as_json([asdict(line) for line in lines])
    assert summarize(lines).registered_instances == len(snapshot.instances)
    if "bad" in snapshot.unreadable:
        assert keys.instance("bad") in registry.unreadable()
        assert not all_have(snapshot, "0")
        # It may live, so nothing is claimed from it.
        with pytest.raises(RegistryUnavailable):
            registry.instance("bad")
    else:
        assert registry.instance("bad") == snapshot.instances["bad"]
    registry.heartbeat("bad")
    registry.set_state("bad", "draining")
    check_neighbours(registry)
    registry.register(instance("bad"))
    assert "bad" in registry.snapshot().instances


@EXAMPLES
@given(stored=st.one_of(spoilt(OF_SESSION), hashes_of(OF_SESSION)), member=values)
def test_a_session_of_anything_hides_no_other(raw: Redis, stored: dict[bytes, bytes], member: bytes) -> None:
    registry = cluster(raw)
    raw.hset(keys.session(BAD), mapping=cast(Any, stored))
    raw.sadd(keys.owned("a"), str(BAD), member)
    found = registry.session(BAD)
    assert (found is None) == (keys.session(BAD) in registry.unreadable())
    as_json([asdict(each) for each in registry.sessions_of("a")])
    check_neighbours(registry)
    # Its owner writes it anew, unless a later epoch is written there.
    [published] = registry.publish(record("a", 2_000_000_000, session_id=BAD))
    assert published == "published" or registry.session(BAD) is not None
    assert registry.remove("a", {BAD: 2**31 - 1}) == 1 or registry.session(BAD) is not None
    check_neighbours(registry)


@EXAMPLES
@given(
    stored=st.one_of(spoilt(EVENT), hashes_of(EVENT)),
    stream_id=st.sampled_from(["*", "18446744073709551614-1", "99999999999999999-0"]),
)
def test_an_event_of_anything_hides_no_other(raw: Redis, stored: dict[bytes, bytes], stream_id: str) -> None:
    registry = cluster(raw)
    planted = cast(bytes, raw.xadd(keys.EVENTS, cast(Any, stored), id=stream_id)).decode()
    registry.record_event("left", "b")
    events = registry.events()
    as_json([asdict(event) for event in events])
    is_read = len(events) == 3
    assert is_read != (f"{keys.EVENTS} {planted}" in registry.unreadable())
    assert is_read == ({b"kind", b"instance_id"} <= stored.keys())
    assert "left" in [event.kind for event in events]
    check_neighbours(registry)


@EXAMPLES
@given(stored=st.one_of(spoilt(CIRCUIT), hashes_of(CIRCUIT)))
def test_a_circuit_of_anything_hides_no_other(raw: Redis, stored: dict[bytes, bytes]) -> None:
    registry = cluster(raw)
    raw.hset(keys.breaker("bad"), mapping=cast(Any, stored))
    raw.sadd(keys.BREAKERS, "bad")
    _, circuits = registry.circuits()
    as_json([asdict(circuit) for circuit in circuits.values()])
    assert ("bad" in circuits) != (keys.breaker("bad") in registry.unreadable())
    check_neighbours(registry)
    if "bad" not in circuits:
        # The first try may only find out that it is none.
        stores = [registry.replace_circuit("bad", Circuit(version=2), 0)[1] for _ in range(2)]
        assert None in stores
        assert registry.circuits()[1]["bad"] == Circuit(version=2)


@EXAMPLES
@given(stored=st.one_of(spoilt(LOST), hashes_of(LOST)))
def test_a_lost_instance_of_anything_hides_no_other(raw: Redis, stored: dict[bytes, bytes]) -> None:
    registry = cluster(raw)
    raw.hset(keys.lost("bad"), mapping=cast(Any, stored))
    raw.zadd(keys.LOST, {"bad": 1.0})
    found = [each.id for each in registry.lost()]
    as_json([asdict(each) for each in registry.lost()])
    assert ("bad" in found) != (keys.lost("bad") in registry.unreadable())
    check_neighbours(registry)
    assert registry.dismiss_lost("bad")
    assert not raw.exists(keys.lost("bad"))


@EXAMPLES
@given(stored=st.one_of(spoilt(SAMPLE), hashes_of(SAMPLE)).filter(bool))
def test_a_sample_of_anything_hides_no_other(raw: Redis, stored: dict[bytes, bytes]) -> None:
    registry = cluster(raw)
    planted = cast(bytes, raw.xadd(keys.samples("a"), cast(Any, stored))).decode()
    as_json([asdict(each) for each in registry.samples({"a": -1.0})["a"]])
    is_read = len(registry.samples({"a": -1.0})["a"]) == 2
    assert is_read != (f"{keys.samples('a')} {planted}" in registry.unreadable())
    check_neighbours(registry)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_any_type_is_ours_again_after_a_heartbeat(raw: Redis, key: str, kind: str) -> None:
    registry = cluster(raw)
    plant(raw, key, kind)
    as_json(asdict(registry.snapshot()))
    for read in (registry.sessions_of, registry.heartbeat):
        read("a")
    registry.session(SESSION)
    registry.events()
    registry.circuits()
    as_json([asdict(each) for each in registry.lost()])
    registry.samples({"a": 0.0})
    # What an instance does whose record was lost, at its next heartbeat.
    for name in "ab":
        registry.register(instance(name))
        registry.heartbeat(name)
    assert registry.publish(record("a")) == ["published"]
    registry.record_event("joined", "b")
    registry.record_event("valkey_lost", "b", once_secs=30)
    registry.add_samples("a", [Sample(2.0, 1, 0.5, 0.25, 0.125, 1)])
    registry.register(instance("gone"))
    assert registry.reap_proven("gone", by="b")
    _, present = registry.replace_circuit("whole", Circuit(version=1), 0)
    assert present in (None, Circuit(version=1), Circuit())
    registry.replace_circuit("whole", Circuit(version=1), 0)
    check_neighbours(registry)
    registry.deregister("a")
    assert registry.sessions_of("a") == []


def test_a_bad_record_is_told_once_and_remembered_while_it_is_found(raw: Redis) -> None:
    registry = cluster(raw)
    raw.hset(keys.instance("bad"), "host", "x")
    raw.zadd(keys.INSTANCES, {"bad": registry.now()})
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            registry.snapshot()
            registry.reserved().snapshot()
    assert [each["key"] for each in logged if each["event"] == "registry.unreadable"] == [keys.instance("bad")]
    assert registry.unreadable() == {keys.instance("bad"): "it has no peer_address"}


def test_a_crowd_of_bad_records_is_bounded_and_obeyed_by_no_terminal(raw: Redis) -> None:
    registry = cluster(raw)
    for number in range(2 * damage.MAX_RECORDS):
        raw.sadd(keys.owned("a"), f"\x1b[2J{number}" + "x" * 10_000)
    assert registry.sessions_of("a") == [record("a")]
    assert len(registry.unreadable()) == damage.MAX_RECORDS
    assert all(key.isprintable() and len(key) < 1000 for key in registry.unreadable())
