from netstacks.cluster.liveness import clock_was_set, is_overdue, is_stale, living, may_judge, stale
from netstacks.cluster.model import Instance, Snapshot
from tests.cluster.facts import instance

TTL_SECS = 30.0


def snapshot(*instances: Instance) -> Snapshot:
    return Snapshot(100.0, {each.id: each for each in instances})


def test_stale_is_older_than_the_ttl() -> None:
    assert not is_stale(instance("a", last_heartbeat_at=70.0), 100.0, TTL_SECS)
    assert is_stale(instance("a", last_heartbeat_at=69.9), 100.0, TTL_SECS)


def test_a_heartbeat_from_further_in_the_future_is_of_before_the_clock_was_set_back() -> None:
    assert not is_stale(instance("a", last_heartbeat_at=130.0), 100.0, TTL_SECS)
    assert is_stale(instance("a", last_heartbeat_at=130.1), 100.0, TTL_SECS)


def test_a_clock_was_set_when_it_went_otherwise_than_ours_by_a_third_of_the_ttl() -> None:
    assert not clock_was_set(15.0, 5.0, TTL_SECS)
    assert clock_was_set(15.1, 5.0, TTL_SECS)
    assert clock_was_set(-5.1, 5.0, TTL_SECS)


def test_a_heartbeat_is_overdue_after_a_third_of_the_ttl() -> None:
    assert not is_overdue(instance("a", last_heartbeat_at=90.0), 100.0, TTL_SECS)
    assert is_overdue(instance("a", last_heartbeat_at=89.9), 100.0, TTL_SECS)


def test_the_stale_are_told_from_the_living() -> None:
    alive, dead = instance("a", last_heartbeat_at=90.0), instance("b", last_heartbeat_at=10.0)
    seen = snapshot(alive, dead)
    assert living(seen, TTL_SECS) == [alive]
    assert stale(seen, TTL_SECS) == [dead]


def test_no_instance_is_reaped_when_none_seems_to_live() -> None:
    seen = snapshot(instance("a", last_heartbeat_at=10.0), instance("b", last_heartbeat_at=10.0))
    assert stale(seen, TTL_SECS) == []


def test_no_instance_is_judged_while_the_registry_is_out_of_contact() -> None:
    assert not may_judge(None, 1000.0, TTL_SECS)


def test_no_instance_is_judged_until_one_whole_ttl_after_contact_was_regained() -> None:
    assert not may_judge(70.0, 100.0, TTL_SECS)
    assert may_judge(69.9, 100.0, TTL_SECS)
