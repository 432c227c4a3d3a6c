"""The contract of every registry."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from netstacks.cluster.circuits import Circuit
from netstacks.cluster.liveness import is_stale
from netstacks.cluster.model import ClusterSummary
from netstacks.cluster.overview import overview, summarize
from netstacks.registry.base import Registry
from tests.cluster.facts import SESSION, instance, record
from tests.registry.conftest import Lab

TTL_SECS = 30.0


@pytest.fixture
def joined(registry: Registry) -> Registry:
    """A registry that knows the instances `a` and `b`."""
    registry.register(instance("a"))
    registry.register(instance("b"))
    return registry


# Instances


def test_a_registered_instance_is_found_with_all_its_facts(registry: Registry) -> None:
    registry.register(instance("a"))
    found = registry.instance("a")
    assert found is not None
    assert replace(found, last_heartbeat_at=0.0) == instance("a")
    assert registry.snapshot().instances == {"a": found}


def test_registering_counts_as_a_heartbeat_by_the_registrys_clock(registry: Registry) -> None:
    before = registry.now()
    registry.register(instance("a", last_heartbeat_at=1.0))
    snapshot = registry.snapshot()
    assert before <= snapshot.instances["a"].last_heartbeat_at <= snapshot.taken_at <= registry.now()


def test_an_unregistered_instance_is_unknown(registry: Registry) -> None:
    assert registry.instance("a") is None
    assert registry.snapshot().instances == {}


def test_a_heartbeat_makes_a_stale_instance_fresh(lab: Lab) -> None:
    registry = lab.registry
    registry.register(instance("a"))
    lab.age("a", TTL_SECS + 1)
    seen = registry.snapshot()
    assert is_stale(seen.instances["a"], seen.taken_at, TTL_SECS)
    assert registry.heartbeat("a").state == "active"
    seen = registry.snapshot()
    assert not is_stale(seen.instances["a"], seen.taken_at, TTL_SECS)


def test_a_heartbeat_of_an_unknown_instance_says_so_and_registers_nothing(registry: Registry) -> None:
    assert registry.heartbeat("a").state is None
    assert registry.snapshot().instances == {}


def test_heartbeats_name_the_same_server_while_it_runs(joined: Registry) -> None:
    assert joined.heartbeat("a").server == joined.heartbeat("b").server == joined.heartbeat("nobody").server


def test_a_heartbeat_tells_the_registrys_time(joined: Registry) -> None:
    for name in ("a", "nobody"):
        before = joined.now()
        assert before <= joined.heartbeat(name).at <= joined.now()


def test_a_reserved_registry_shares_its_data(registry: Registry) -> None:
    reserved = registry.reserved()
    reserved.register(instance("a"))
    registry.publish(record("a"))
    assert reserved.session(SESSION) == record("a")


def test_a_state_set_by_another_is_told_at_the_next_heartbeat(joined: Registry) -> None:
    assert joined.set_state("a", "draining")
    assert joined.heartbeat("a").state == "draining"
    assert joined.snapshot().instances["a"].state == "draining"
    assert joined.heartbeat("b").state == "active"


def test_the_state_of_an_unknown_instance_cannot_be_set(registry: Registry) -> None:
    assert not registry.set_state("a", "draining")
    assert registry.instance("a") is None


def test_registering_again_keeps_the_sessions(joined: Registry) -> None:
    joined.publish(record("a"))
    joined.register(instance("a"))
    assert joined.session(SESSION) == record("a")
    assert joined.snapshot().instances["a"].sessions == 1


def test_a_deregistered_instance_leaves_nothing_behind(joined: Registry) -> None:
    joined.publish(record("a"), record("b", session_id=UUID(int=2)))
    joined.deregister("a")
    assert joined.instance("a") is None
    assert joined.session(SESSION) is None
    assert joined.sessions_of("a") == []
    assert joined.heartbeat("a").state is None
    assert joined.session(UUID(int=2)) == record("b", session_id=UUID(int=2))


def test_the_last_instance_may_deregister(registry: Registry) -> None:
    registry.register(instance("a"))
    registry.deregister("a")
    assert registry.snapshot().instances == {}


# Sessions


def test_a_published_session_is_found_with_all_its_facts(joined: Registry) -> None:
    assert joined.publish(record("a")) == ["published"]
    assert joined.session(SESSION) == record("a")
    assert joined.sessions_of("a") == [record("a")]
    assert joined.sessions_of("b") == []


def test_an_unpublished_session_is_unknown(registry: Registry) -> None:
    assert registry.session(SESSION) is None


def test_a_later_epoch_moves_the_session_to_its_new_owner(joined: Registry) -> None:
    joined.publish(record("a", 1))
    assert joined.publish(record("b", 2)) == ["published"]
    assert joined.session(SESSION) == record("b", 2)
    assert joined.sessions_of("a") == []
    instances = joined.snapshot().instances
    assert (instances["a"].sessions, instances["b"].sessions) == (0, 1)


def test_an_earlier_epoch_is_fenced(joined: Registry) -> None:
    joined.publish(record("b", 2))
    assert joined.publish(record("a", 1)) == ["fenced"]
    assert joined.session(SESSION) == record("b", 2)


def test_one_epoch_has_one_owner(joined: Registry) -> None:
    joined.publish(record("a", 2))
    assert joined.publish(record("b", 2)) == ["fenced"]
    assert joined.session(SESSION) == record("a", 2)


def test_epochs_are_compared_as_numbers(joined: Registry) -> None:
    joined.publish(record("a", 9))
    assert joined.publish(record("b", 10)) == ["published"]
    assert joined.publish(record("a", 9)) == ["fenced"]


def test_the_owner_may_repeat_its_epoch_with_news(joined: Registry) -> None:
    joined.publish(record("a", 2))
    assert joined.publish(replace(record("a", 2), cols=132, state="detached")) == ["published"]
    assert joined.session(SESSION) == replace(record("a", 2), cols=132, state="detached")
    assert joined.snapshot().instances["a"].sessions == 1


def test_nothing_is_published_for_an_owner_that_is_not_registered(registry: Registry) -> None:
    assert registry.publish(record("a")) == ["unknown_owner"]
    assert registry.session(SESSION) is None
    assert registry.sessions_of("a") == []


def test_many_sessions_are_answered_in_order(joined: Registry) -> None:
    mine = [record("a", session_id=uuid4()) for _ in range(1200)]
    joined.publish(record("b", 2, session_id=mine[700].id))
    answers = joined.publish(*mine)
    assert [each.id for each, answer in zip(mine, answers, strict=True) if answer == "fenced"] == [mine[700].id]
    assert len(joined.sessions_of("a")) == joined.snapshot().instances["a"].sessions == 1199


def test_publishing_nothing_is_harmless(registry: Registry) -> None:
    assert registry.publish() == []


def test_a_removed_session_is_gone(joined: Registry) -> None:
    joined.publish(record("a", 2))
    assert joined.remove("a", {SESSION: 2}) == 1
    assert joined.session(SESSION) is None
    assert joined.snapshot().instances["a"].sessions == 0


def test_a_former_owner_removes_nothing(joined: Registry) -> None:
    joined.publish(record("b", 3))
    assert joined.remove("a", {SESSION: 2}) == 0
    assert joined.remove("b", {SESSION: 2}) == 0
    assert joined.session(SESSION) == record("b", 3)


def test_removing_an_unknown_session_is_harmless(joined: Registry) -> None:
    assert joined.remove("a", {SESSION: 1}) == 0
    assert joined.remove("a", {}) == 0
    assert joined.remove("nobody", {SESSION: 1}) == 0


def test_many_sessions_are_removed_in_one_call_each_by_its_own_epoch(joined: Registry) -> None:
    mine = [record("a", 2, session_id=uuid4()) for _ in range(1600)]
    joined.publish(*mine)
    claimed, ahead = mine[700].id, mine[1300].id
    joined.publish(record("b", 3, session_id=claimed), record("a", 3, session_id=ahead))
    epochs = {each.id: 2 for each in mine} | {uuid4(): 2, mine[0].id: 9}
    assert joined.remove("a", epochs) == 1598
    assert joined.sessions_of("a") == [record("a", 3, session_id=ahead)]
    assert joined.session(claimed) == record("b", 3, session_id=claimed)
    instances = joined.snapshot().instances
    assert (instances["a"].sessions, instances["b"].sessions) == (1, 1)
    assert joined.remove("a", epochs) == 0


def test_the_summary_counts_the_sessions_of_all(joined: Registry) -> None:
    joined.publish(record("a"), record("b", session_id=UUID(int=2)), record("b", session_id=UUID(int=3)))
    assert summarize(overview(joined.snapshot(), TTL_SECS / 6, TTL_SECS)) == ClusterSummary(2, 2, 3)


# Reaping


def test_a_stale_instance_is_reaped_with_its_sessions(lab: Lab) -> None:
    registry = lab.registry
    registry.register(instance("a"))
    registry.register(instance("b"))
    registry.publish(record("a"), record("b", session_id=UUID(int=2)))
    lab.age("a", TTL_SECS + 1)
    assert registry.reap(TTL_SECS, by="b") == ["a"]
    assert registry.session(SESSION) is None
    assert list(registry.snapshot().instances) == ["b"]
    assert registry.session(UUID(int=2)) is not None


def test_an_instance_whose_heartbeat_precedes_a_clock_set_back_is_reaped(lab: Lab) -> None:
    lab.registry.register(instance("b"))
    lab.age("b", -TTL_SECS - 5)
    lab.registry.register(instance("a"))
    assert lab.registry.reap(TTL_SECS, by="b") == ["b"]


def test_reaping_twice_finds_nothing_the_second_time(lab: Lab) -> None:
    lab.registry.register(instance("a"))
    lab.registry.register(instance("b"))
    lab.age("a", TTL_SECS + 1)
    assert lab.registry.reap(TTL_SECS, by="b") == ["a"]
    assert lab.registry.reap(TTL_SECS, by="b") == []


def test_the_living_are_not_reaped(lab: Lab) -> None:
    lab.registry.register(instance("a"))
    lab.registry.register(instance("b"))
    lab.age("a", TTL_SECS - 1 - lab.slack_secs)
    assert lab.registry.reap(TTL_SECS, by="b") == []


def test_no_instance_is_reaped_when_none_seems_to_live(lab: Lab) -> None:
    lab.registry.register(instance("a"))
    lab.registry.publish(record("a"))
    lab.age("a", TTL_SECS + 1)
    assert lab.registry.reap(TTL_SECS, by="b") == []
    assert lab.registry.session(SESSION) == record("a")


def test_reaping_an_empty_registry_is_harmless(registry: Registry) -> None:
    assert registry.reap(TTL_SECS, by="b") == []


def test_an_instance_with_very_many_sessions_is_reaped_wholly(lab: Lab) -> None:
    registry = lab.registry
    registry.register(instance("a"))
    registry.register(instance("b"))
    theirs = [record("a", session_id=uuid4()) for _ in range(1200)]
    registry.publish(*theirs)
    lab.age("a", TTL_SECS + 1)
    assert registry.reap(TTL_SECS, by="b") == ["a"]
    assert registry.sessions_of("a") == []
    assert not [each for each in theirs if registry.session(each.id)]


def test_a_reaped_instance_that_lives_is_told_and_may_come_back_with_its_sessions(lab: Lab) -> None:
    registry = lab.registry
    registry.register(instance("a"))
    registry.register(instance("b"))
    registry.publish(record("a"))
    lab.age("a", TTL_SECS + 1)
    registry.reap(TTL_SECS, by="b")
    assert registry.heartbeat("a").state is None
    registry.register(instance("a"))
    assert registry.publish(record("a")) == ["published"]
    assert registry.snapshot().instances["a"].sessions == 1


def test_a_claimed_session_survives_the_reaping_of_its_former_owner(lab: Lab) -> None:
    registry = lab.registry
    registry.register(instance("a"))
    registry.register(instance("b"))
    registry.publish(record("a", 1))
    registry.publish(record("b", 2))
    lab.age("a", TTL_SECS + 1)
    assert registry.reap(TTL_SECS, by="b") == ["a"]
    assert registry.session(SESSION) == record("b", 2)


# Circuits

OPEN = Circuit("open", 5, 1000.25, 1030.5, "answered 500: «überlastet»", "a/1", 1035.0, 7, 1000.25)
CIRCUIT = "5b0c0000-0000-4000-8000-000000000001/claude:opus/4"


def test_a_circuit_is_found_with_all_its_facts(registry: Registry) -> None:
    before = registry.now()
    assert registry.replace_circuit(CIRCUIT, OPEN, 0)[1] is None
    assert registry.replace_circuit("another", Circuit(version=1), 0)[1] is None
    now, circuits = registry.circuits()
    assert circuits == {CIRCUIT: OPEN, "another": Circuit(version=1)}
    assert before <= now <= registry.now()


def test_without_circuits_there_are_none(registry: Registry) -> None:
    assert registry.circuits()[1] == {}


def test_a_circuit_is_replaced_only_by_a_caller_that_has_seen_it(registry: Registry) -> None:
    registry.replace_circuit(CIRCUIT, OPEN, 0)
    for seen in (0, 6, 8):
        assert registry.replace_circuit(CIRCUIT, Circuit(version=9), seen)[1] == OPEN
    assert registry.replace_circuit(CIRCUIT, Circuit(version=9), 7)[1] is None
    assert registry.circuits()[1] == {CIRCUIT: Circuit(version=9)}


def test_a_circuit_that_is_not_there_has_version_0(registry: Registry) -> None:
    before = registry.now()
    now, present = registry.replace_circuit(CIRCUIT, OPEN, 6)
    assert present == Circuit()
    assert before <= now <= registry.now()
    assert registry.circuits()[1] == {}


def test_versions_are_compared_as_numbers(registry: Registry) -> None:
    registry.replace_circuit(CIRCUIT, Circuit(version=1_764_000_000), 0)
    assert registry.replace_circuit(CIRCUIT, Circuit(version=1_764_000_001), 1_764_000_000)[1] is None


def test_a_forgotten_circuit_is_gone(registry: Registry) -> None:
    registry.replace_circuit(CIRCUIT, OPEN, 0)
    registry.replace_circuit("another", Circuit(version=1), 0)
    registry.forget_circuit(CIRCUIT)
    registry.forget_circuit("unknown")
    assert registry.circuits()[1] == {"another": Circuit(version=1)}
    assert registry.replace_circuit(CIRCUIT, OPEN, 0)[1] is None


# Events, clock, status


def test_events_are_read_newest_first(registry: Registry) -> None:
    before = registry.now()
    registry.record_event("joined", "a")
    registry.record_event("claimed", "b", session=str(SESSION), owner_before="a")
    registry.record_event("left", "a")
    newest, claimed = registry.events(2)
    assert (newest.kind, newest.instance_id, newest.details) == ("left", "a", {})
    assert (claimed.kind, claimed.instance_id) == ("claimed", "b")
    assert claimed.details == {"session": str(SESSION), "owner_before": "a"}
    assert before - 0.001 <= claimed.at <= newest.at <= registry.now()  # events are timed to the millisecond


def test_only_the_newest_events_are_kept(registry: Registry) -> None:
    for number in range(1500):
        registry.record_event("failover", "a", number=str(number))
    events = registry.events(10_000)
    assert 1000 <= len(events) < 1200
    assert events[0].details == {"number": "1499"}


def test_the_status_says_how_the_registry_is_connected(lab: Lab, request: pytest.FixtureRequest) -> None:
    status = lab.registry.status()
    if "memory" in request.node.name:
        assert status.connection == "disabled"
    else:
        assert status.connection == "connected"
        assert status.mode == "plain"
        assert status.figures is not None
        assert status.figures.role == "primary"
    assert status.error is None
