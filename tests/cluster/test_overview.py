"""The overview of the cluster for operators."""

import contextlib

import pytest

from netstacks.cluster.model import Instance, InstanceState, Snapshot
from netstacks.cluster.overview import check_drain, overview
from netstacks.errors import Conflict, NetstacksError, NotFound

NOW = 1_000_000.0
INTERVAL_SECS, TTL_SECS = 5, 30


def instance(name: str, *, age_secs: float = 0, state: InstanceState = "active", sessions: int = 0) -> Instance:
    return Instance(
        id=name,
        host="host",
        peer_address="10.0.0.1:9000",
        started_at=NOW - 3600,
        version="1",
        state=state,
        secrets_fingerprint="",
        pid=1,
        sessions=sessions,
        last_heartbeat_at=NOW - age_secs,
    )


@pytest.mark.parametrize(
    ("age_secs", "state", "condition"),
    [
        (0, "active", "healthy"),
        (12, "active", "healthy"),
        (12.5, "active", "healthy"),
        (13, "active", "late"),
        (13, "draining", "late"),
        (30, "active", "late"),
        (31, "active", "stale"),
        (31, "draining", "stale"),
        (0, "draining", "draining"),
        (0, "refused", "refused"),
    ],
)
def test_the_condition_follows_heartbeat_and_state(age_secs: float, state: InstanceState, condition: str) -> None:
    one = instance("a", age_secs=age_secs, state=state)
    [line] = overview(Snapshot(NOW, {"a": one}), INTERVAL_SECS, TTL_SECS)
    assert line.instance is one
    assert line.condition == condition
    assert (line.problem is None) == (condition == "healthy")
    assert line.heartbeat_age_secs == age_secs


def test_shares_are_of_all_sessions() -> None:
    both = {"a": instance("a", sessions=3), "b": instance("b", sessions=1)}
    assert [line.share for line in overview(Snapshot(NOW, both), INTERVAL_SECS, TTL_SECS)] == [0.75, 0.25]
    assert [line.share for line in overview(Snapshot(NOW, {"c": instance("c")}), INTERVAL_SECS, TTL_SECS)] == [0.0]


def test_each_instance_has_its_own_clock_skew() -> None:
    both = {"a": instance("a"), "b": instance("b"), "c": instance("c")}
    lines = overview(Snapshot(NOW, both), INTERVAL_SECS, TTL_SECS, {"a": 6.0, "b": -1.0})
    assert [line.clock_skew_secs for line in lines] == [6.0, -1.0, None]
    assert [line.clock_differs for line in lines] == [True, False, False]


@pytest.mark.parametrize(
    ("instances", "force", "error"),
    [
        ([instance("a"), instance("b")], False, None),
        ([instance("b")], False, NotFound),
        ([instance("a")], False, Conflict),
        ([instance("a")], True, None),
        ([instance("a", age_secs=31), instance("b")], True, Conflict),
        ([instance("a", state="draining"), instance("b")], True, Conflict),
        # Draining, with a late heartbeat.
        ([instance("a", state="draining", age_secs=13), instance("b")], True, Conflict),
        # None of the others would take its sessions.
        ([instance("a"), instance("b", state="draining"), instance("c", age_secs=13)], False, Conflict),
        ([instance("a", age_secs=13), instance("b")], False, None),
    ],
)
def test_only_a_living_instance_that_others_can_replace_is_drained(
    instances: list[Instance], force: bool, error: type[NetstacksError] | None
) -> None:
    lines = overview(Snapshot(NOW, {each.id: each for each in instances}), INTERVAL_SECS, TTL_SECS)
    with pytest.raises(error, match=r"\ba\b") if error else contextlib.nullcontext():
        check_drain(lines, "a", force=force)
