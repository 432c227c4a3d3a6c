"""The contract of every registry on lost instances, samples, and events that all instances see at once."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netstacks.cluster.model import LostInstance, Sample
from netstacks.registry.base import LOST_SECS, MAX_SAMPLES, Registry
from netstacks.registry.memory import MemoryRegistry
from tests.cluster.facts import instance, record
from tests.registry.conftest import Lab

TTL_SECS = 30.0


def reaped(lab: Lab, name: str = "a", *others: str) -> Registry:
    """A registry in which `b` has reaped the instance, which had one session, and the others."""
    registry = lab.registry
    for each in (name, *others, "b"):
        registry.register(instance(each))
    registry.publish(record(name))
    for each in (name, *others):
        lab.age(each, TTL_SECS + 1)
        registry.reap(TTL_SECS, by="b")
    return registry


def lost_ids(registry: Registry) -> list[str]:
    return [each.id for each in registry.lost()]


def sample(at: float, sessions: int = 0) -> Sample:
    return Sample(at, sessions, 1.25, 0.5, 0.003, 123_456_789)


# Losses


def test_a_reaped_instance_is_kept_as_lost_with_its_facts(lab: Lab) -> None:
    registry = lab.registry
    registry.register(instance("a"))
    registry.register(instance("b"))
    registry.publish(record("a"), record("a", session_id=UUID(int=2)), record("b", session_id=UUID(int=3)))
    lab.age("a", TTL_SECS + 1)
    before, former = registry.now(), registry.instance("a")
    assert registry.reap(TTL_SECS, by="b") == ["a"]
    assert former is not None
    [lost] = registry.lost()
    assert before <= lost.lost_at <= registry.now()
    assert replace(lost, lost_at=0.0) == LostInstance(
        id="a",
        host="host-a",
        peer_address=former.peer_address,
        version="1",
        started_at=0.0,
        last_heartbeat_at=former.last_heartbeat_at,
        lost_at=0.0,
        sessions=2,
        reaped_by="b",
        proof="silence",
    )


def test_an_instance_proven_dead_is_removed_and_kept_as_lost(registry: Registry) -> None:
    registry.register(instance("a"))
    registry.publish(record("a"))
    assert registry.reap_proven("a", by="b")
    assert registry.instance("a") is None
    assert registry.sessions_of("a") == []
    [lost] = registry.lost()
    assert (lost.id, lost.sessions, lost.reaped_by, lost.proof) == ("a", 1, "b", "refused")


def test_a_proven_death_is_reported_once(registry: Registry) -> None:
    registry.register(instance("a"))
    assert [registry.reap_proven("a", by=by) for by in ("b", "c")] == [True, False]
    assert not registry.reap_proven("unknown", by="b")
    assert lost_ids(registry) == ["a"]


def test_many_sessions_of_a_lost_instance_are_all_counted(lab: Lab) -> None:
    registry = lab.registry
    for name in "ab":
        registry.register(instance(name))
    registry.publish(*(record("a", session_id=uuid4()) for _ in range(1300)))
    lab.age("a", TTL_SECS + 1)
    assert registry.reap(TTL_SECS, by="b") == ["a"]
    assert [(each.id, each.sessions) for each in registry.lost()] == [("a", 1300)]


def test_a_clean_leave_loses_nothing(registry: Registry) -> None:
    registry.register(instance("a"))
    registry.publish(record("a"))
    registry.deregister("a")
    assert registry.lost() == []


def test_losses_are_listed_oldest_first(lab: Lab) -> None:
    assert lost_ids(reaped(lab, "z", "y", "x")) == ["z", "y", "x"]


def test_an_instance_that_registers_again_is_lost_no_more(lab: Lab) -> None:
    registry = reaped(lab, "a", "c")
    registry.register(instance("a"))
    assert lost_ids(registry) == ["c"]
    assert not registry.dismiss_lost("a")


def test_a_loss_is_dismissed_by_one_caller(lab: Lab) -> None:
    registry = reaped(lab, "a", "c")
    assert [registry.dismiss_lost("a"), registry.dismiss_lost("a")] == [True, False]
    assert not registry.dismiss_lost("unknown")
    assert lost_ids(registry) == ["c"]


def test_an_instance_replaces_one_lost_instance(lab: Lab) -> None:
    registry = reaped(lab, "a", "c")
    registry.register(instance("d"))
    assert registry.replace_lost("a", by="d")
    assert lost_ids(registry) == ["c"]
    new = registry.instance("d")
    assert new is not None
    assert new.replaces == registry.snapshot().instances["d"].replaces == "a"
    assert not registry.replace_lost("c", by="d")
    assert lost_ids(registry) == ["c"]


def test_a_lost_instance_is_replaced_once(lab: Lab) -> None:
    registry = reaped(lab)
    for name in "de":
        registry.register(instance(name))
    assert [registry.replace_lost("a", by=by) for by in ("d", "e")] == [True, False]
    assert registry.snapshot().instances["e"].replaces == ""


def test_what_an_instance_replaces_outlives_its_next_registration(lab: Lab) -> None:
    registry = reaped(lab, "a", "c")
    registry.register(instance("d"))
    registry.replace_lost("a", by="d")
    registry.register(instance("d"))
    assert not registry.replace_lost("c", by="d")


def test_only_a_registered_instance_replaces_a_lost_one(lab: Lab) -> None:
    registry = reaped(lab)
    assert not registry.replace_lost("a", by="unknown")
    assert lost_ids(registry) == ["a"]
    assert registry.snapshot().instances.keys() == {"b"}


def test_a_loss_that_the_registry_has_forgotten_is_kept_again_once(lab: Lab) -> None:
    registry = reaped(lab, "a", "c")
    [former, _] = registry.lost()
    assert not registry.keep_lost(former)
    registry.dismiss_lost("a")
    assert [registry.keep_lost(former), registry.keep_lost(former)] == [True, False]
    assert registry.lost()[0] == former
    assert lost_ids(registry) == ["a", "c"]
    registry.register(instance("d"))
    assert registry.replace_lost("a", by="d")


def test_no_loss_is_kept_of_an_instance_that_is_registered(lab: Lab) -> None:
    registry = reaped(lab)
    [former] = registry.lost()
    registry.register(instance("a"))
    assert not registry.keep_lost(former)
    assert registry.lost() == []
    registry.deregister("a")
    assert registry.keep_lost(former)


def test_a_loss_of_long_ago_is_not_kept_again(lab: Lab) -> None:
    registry = reaped(lab)
    [former] = registry.lost()
    registry.dismiss_lost("a")
    assert not registry.keep_lost(replace(former, lost_at=former.lost_at - LOST_SECS - 60))
    assert registry.lost() == []
    assert registry.keep_lost(replace(former, lost_at=former.lost_at - LOST_SECS + 600))
    assert lost_ids(registry) == ["a"]


def test_a_loss_is_forgotten_after_a_day() -> None:
    clock = [1_700_000_000.0]
    registry = MemoryRegistry(lambda: clock[0])
    registry.register(instance("a"))
    registry.reap_proven("a", by="b")
    clock[0] += LOST_SECS - 1
    assert lost_ids(registry) == ["a"]
    clock[0] += 2
    assert registry.lost() == []


NAMES = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("join", "leave", "silence", "prove", "dismiss")), NAMES, st.none()),
        st.tuples(st.just("replace"), NAMES, NAMES),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_history_of_losses_is_as_in_a_simple_model(lab: Lab, steps: list[tuple[str, str, str | None]]) -> None:
    registry = lab.registry
    for name in "abcde":
        registry.deregister(name)
        registry.dismiss_lost(name)
    registry.register(instance("e"))
    living: dict[str, str] = {}  # What each has replaced.
    lost: list[str] = []
    for step, name, other in steps:
        is_here = name in living
        match step:
            case "join":
                registry.register(instance(name))
                living.setdefault(name, "")
                lost = [each for each in lost if each != name]
            case "leave":
                registry.deregister(name)
                living.pop(name, None)
            case "silence":
                if is_here:
                    lab.age(name, TTL_SECS + 1)
                assert registry.reap(TTL_SECS, by="e") == [name] * is_here
            case "prove":
                assert registry.reap_proven(name, by="e") is is_here
            case "dismiss":
                assert registry.dismiss_lost(name) is (name in lost)
                lost = [each for each in lost if each != name]
            case "replace":
                assert other is not None
                is_replaced = name in lost and living.get(other) == ""
                assert registry.replace_lost(name, by=other) is is_replaced
                if is_replaced:
                    lost.remove(name)
                    living[other] = name
        if is_here and step in ("silence", "prove"):
            del living[name]
            lost.append(name)
        assert lost_ids(registry) == lost
        replaces = {each.id: each.replaces for each in registry.snapshot().instances.values() if each.id != "e"}
        assert replaces == living


# Samples


def test_samples_are_read_as_they_were_stored_oldest_first(registry: Registry) -> None:
    now = registry.now()
    mine = [sample(now - 20.125, 3), sample(now - 10.0, 2), sample(now, 1)]
    registry.add_samples("a", mine[:2])
    registry.add_samples("a", mine[2:])
    assert registry.samples({"a": 0}) == {"a": mine}


def test_only_samples_later_than_asked_are_read(registry: Registry) -> None:
    now = registry.now()
    old, new = sample(now - 60), sample(now)
    registry.add_samples("a", [old, new])
    registry.add_samples("b", [new])
    assert registry.samples({"a": old.at, "b": new.at}) == {"a": [new], "b": []}


def test_every_instance_asked_for_has_an_entry(registry: Registry) -> None:
    ids = [f"i{number}" for number in range(25)]
    registry.add_samples("i24", [sample(registry.now())])
    found = registry.samples(dict.fromkeys(ids, 0.0))
    assert list(found) == ids
    assert [id for id, samples in found.items() if samples] == ["i24"]


def test_about_the_newest_samples_of_an_hour_are_kept(registry: Registry) -> None:
    now = registry.now()
    for start in range(0, 1000, 250):
        registry.add_samples("a", [sample(now - 1000 + number, number) for number in range(start, start + 250)])
    kept = registry.samples({"a": 0})["a"]
    assert MAX_SAMPLES <= len(kept) <= MAX_SAMPLES + 200
    assert kept[-1].sessions == 999


def test_adding_no_samples_is_harmless(registry: Registry) -> None:
    registry.add_samples("a", [])
    assert registry.samples({"a": 0}) == {"a": []}


# Events that all instances see at once


def test_of_an_event_that_all_see_at_once_the_first_is_kept(registry: Registry) -> None:
    for name in "abc":
        registry.record_event("valkey_lost", name, once_secs=30, error="refused")
        registry.record_event("valkey_back", name, once_secs=30, away_secs="7")
    found = [(event.kind, event.instance_id, dict(event.details)) for event in registry.events()]
    assert found == [("valkey_back", "a", {"away_secs": "7"}), ("valkey_lost", "a", {"error": "refused"})]


@pytest.mark.parametrize("once_secs", [0.0, 30.0])
def test_ordinary_events_are_all_kept(registry: Registry, once_secs: float) -> None:
    registry.record_event("valkey_lost", "a", once_secs=once_secs)
    for name in "ab":
        registry.record_event("valkey_lost", name)
    assert len(registry.events()) == 3
