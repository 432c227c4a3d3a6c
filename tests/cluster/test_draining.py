"""The rate at which a drain closes sessions."""

from dataclasses import replace

from netstacks.cluster.draining import others_open_per_sec, plan_drain
from netstacks.cluster.model import Snapshot
from tests.cluster.facts import instance

TTL_SECS = 30.0


def test_terminals_are_closed_as_fast_as_the_others_open_them() -> None:
    plan = plan_drain(1000, others_per_sec=50.0, window_secs=30.0)
    assert (plan.per_sec, plan.needs_secs, plan.is_too_short) == (50.0, 20.0, False)


def test_a_window_that_is_too_short_is_known_beforehand() -> None:
    assert plan_drain(1000, others_per_sec=25.0, window_secs=10.0).is_too_short


def test_an_instance_without_others_does_not_wait_for_them() -> None:
    assert plan_drain(10, others_per_sec=0.0, window_secs=10.0).per_sec > 0


def test_only_the_living_active_and_fit_take_sessions() -> None:
    others = [
        instance("me", opens_per_sec=100.0, last_heartbeat_at=1000.0),
        instance("b", opens_per_sec=20.0, last_heartbeat_at=1000.0),
        instance("c", opens_per_sec=30.0, last_heartbeat_at=1000.0),
        instance("drains", opens_per_sec=40.0, last_heartbeat_at=1000.0, state="draining"),
        instance("dead", opens_per_sec=50.0, last_heartbeat_at=900.0),
        replace(instance("unhealthy", opens_per_sec=60.0, last_heartbeat_at=1000.0), health="unhealthy"),
    ]
    snapshot = Snapshot(1000.0, {each.id: each for each in others})
    assert others_open_per_sec(snapshot, "me", TTL_SECS) == 50.0
