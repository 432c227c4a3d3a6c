"""The overview of the cluster for operators."""

import contextlib
from dataclasses import replace

import pytest

from netstacks.cluster.model import (
    ClusterSummary,
    Instance,
    InstanceState,
    LostInstance,
    ReportedHealth,
    Snapshot,
)
from netstacks.cluster.overview import (
    ClusterCondition,
    ago,
    check_drain,
    condition_of,
    loss_in_words,
    overview,
    summarize,
    unreadable_problem,
)
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


@pytest.mark.parametrize(
    ("age_secs", "condition", "problem"),
    [
        (12, "healthy", None),
        (13, "late", "no heartbeat for 13 s: heartbeats are not judged until Valkey has been back for 30 s"),
        (3600, "late", "no heartbeat for 3600 s: heartbeats are not judged until Valkey has been back for 30 s"),
    ],
)
def test_without_contact_for_a_ttl_no_instance_is_stale(age_secs: float, condition: str, problem: str | None) -> None:
    one = instance("a", age_secs=age_secs)
    [line] = overview(Snapshot(NOW, {"a": one}), INTERVAL_SECS, TTL_SECS, is_blind=True)
    assert (line.condition, line.problem) == (condition, problem)


@pytest.mark.parametrize(
    ("health", "age_secs", "state", "condition", "problem"),
    [
        ("", 0, "active", "healthy", None),
        ("healthy", 0, "active", "healthy", None),
        ("degraded", 0, "active", "degraded", "why"),
        ("unhealthy", 0, "active", "unhealthy", "why"),
        # Its drain has just been cancelled: the state is newer.
        ("draining", 0, "active", "healthy", None),
        ("unhealthy", 0, "draining", "draining", "it hands over its sessions and stops"),
        ("unhealthy", 13, "active", "late", "no heartbeat for 13 s: after 30 s it is declared dead"),
    ],
)
def test_the_table_says_what_the_health_of_the_instance_says(
    health: ReportedHealth, age_secs: float, state: InstanceState, condition: str, problem: str | None
) -> None:
    one = replace(instance("a", age_secs=age_secs, state=state), health=health, reason="why")
    [line] = overview(Snapshot(NOW, {"a": one}), INTERVAL_SECS, TTL_SECS)
    assert (line.condition, line.problem) == (condition, problem)


def test_the_count_has_those_that_serve() -> None:
    every = [
        instance("a", sessions=2),
        replace(instance("b", sessions=1), health="degraded"),
        replace(instance("c"), health="unhealthy"),
        instance("d", state="draining"),
        instance("e", state="refused"),
        instance("f", age_secs=13),
        instance("g", age_secs=31),
    ]
    snapshot = Snapshot(NOW, {each.id: each for each in every})
    assert summarize(overview(snapshot, INTERVAL_SECS, TTL_SECS)) == ClusterSummary(7, 2, 3, 1)
    # Heartbeats of f and g prove nothing yet.
    assert summarize(overview(snapshot, INTERVAL_SECS, TTL_SECS, is_blind=True)) == ClusterSummary(7, 4, 3, 1)


def test_after_an_outage_no_instance_leaves_the_count_unless_it_was_unfit() -> None:
    old = [instance("a"), instance("b", age_secs=90), replace(instance("c", age_secs=90), health="unhealthy")]
    lines = overview(Snapshot(NOW, {each.id: each for each in old}), INTERVAL_SECS, TTL_SECS, is_blind=True)
    assert [line.counts_as_healthy for line in lines] == [True, True, False]


def lost(name: str, *, ago_secs: float = 250, sessions: int = 12) -> LostInstance:
    return LostInstance(
        id=name,
        host=f"host-{name}",
        peer_address="10.0.0.1:9000",
        version="1",
        started_at=NOW - 3600,
        last_heartbeat_at=NOW - ago_secs - 30,
        lost_at=NOW - ago_secs,
        sessions=sessions,
        reaped_by="a",
        proof="silence",
    )


def judged(
    instances: list[Instance],
    gone: list[LostInstance],
    *,
    expected: int = 0,
    is_shared: bool = True,
    problems: tuple[str, ...] = (),
) -> ClusterCondition:
    lines = overview(Snapshot(NOW, {each.id: each for each in instances}), INTERVAL_SECS, TTL_SECS)
    return condition_of(lines, gone, expected_instances=expected, is_shared=is_shared, now=NOW, problems=problems)


def test_a_cluster_is_healthy_with_every_instance_it_has_learned_of() -> None:
    assert judged([instance("a"), instance("b")], []) == ClusterCondition("healthy", None, 2, "learned")


def test_a_lost_instance_is_missed_until_it_is_replaced_or_dismissed() -> None:
    found = judged([instance("a"), instance("b")], [lost("x")])
    reason = "2 of 3 instances are healthy: x on host-x was lost 4 min ago"
    assert found == ClusterCondition("degraded", reason, 3, "learned")


def test_instances_that_are_not_healthy_are_named() -> None:
    found = judged([instance("a"), instance("b", age_secs=20), instance("c", state="refused")], [])
    assert found.reason == "1 of 3 instances is healthy: b on host is late, c on host is refused"


def test_a_degraded_instance_counts_and_is_named() -> None:
    found = judged([instance("a"), replace(instance("b"), health="degraded", reason="the disk is nearly full")], [])
    assert found == ClusterCondition("degraded", "b on host is degraded", 2, "learned")
    both = [replace(instance(name), health="degraded") for name in "ab"]
    assert judged(both, [], problems=("PostgreSQL does not answer",)).reason == "PostgreSQL does not answer"


def test_an_instance_that_drains_is_not_expected_unless_the_number_is_set() -> None:
    two = [instance("a"), instance("b", state="draining")]
    assert judged(two, []) == ClusterCondition("healthy", None, 1, "learned")
    reason = "1 of 2 instances is healthy: b on host is draining"
    assert judged(two, [], expected=2) == ClusterCondition("degraded", reason, 2, "setting")
    assert judged(two[1:], []).reason == "0 of 1 instances are healthy: b on host is draining"


def test_a_long_reason_names_only_the_first_instances() -> None:
    found = judged([instance("a")], [lost(f"x{number}") for number in range(8)])
    assert found.reason is not None
    assert found.reason.count("was lost") == 5
    assert found.reason.endswith(", 3 more are not healthy")


def test_a_number_that_is_set_is_expected_whatever_was_seen() -> None:
    three = [instance(name) for name in "abc"]
    assert judged(three, [lost("x")], expected=3) == ClusterCondition("healthy", None, 3, "setting")
    found = judged(three[:1], [], expected=3)
    reason = "1 of 3 instances is healthy: 2 of the 3 in HA_EXPECTED_INSTANCES are not known"
    assert found == ClusterCondition("degraded", reason, 3, "setting")


def test_an_instance_without_valkey_is_single_unless_more_are_expected() -> None:
    assert judged([instance("a")], [], is_shared=False) == ClusterCondition("single", None, 1, "learned")
    found = judged([instance("a")], [], is_shared=False, expected=2)
    assert found.state == "degraded"
    assert "because this instance runs without Valkey" in (found.reason or "")


def test_a_dependency_that_is_down_degrades_the_cluster() -> None:
    found = judged([instance("a")], [lost("x")], problems=("PostgreSQL does not answer",))
    assert found.state == "degraded"
    assert (found.reason or "").endswith("was lost 4 min ago; PostgreSQL does not answer")
    assert judged([instance("a")], [], is_shared=False, problems=("down",)).state == "degraded"


@pytest.mark.parametrize(
    ("sessions", "fates", "text"),
    [
        (12, None, "lost 4 min ago, with 12 sessions"),
        (1, None, "lost 4 min ago, with 1 session"),
        (0, (0, 0, 0), "lost 4 min ago, it had no sessions"),
        (12, (9, 3, 0), "lost 4 min ago, its 12 sessions: 9 taken over, 3 waiting for their users"),
        (12, (8, 1, 3), "lost 4 min ago, its 12 sessions: 8 taken over, 1 waiting for its user, 3 ended"),
        # The registry had lost the count, or a session was opened just before the end.
        (0, (2, 0, 0), "lost 4 min ago, its 2 sessions: 2 taken over"),
        # Another loss has the sessions by now.
        (2, (0, 0, 0), "lost 4 min ago, its 2 sessions: ended or lost again elsewhere"),
    ],
)
def test_a_loss_is_told_with_what_became_of_its_sessions(
    sessions: int, fates: tuple[int, int, int] | None, text: str
) -> None:
    counts = dict(zip(("taken_over", "waiting", "ended"), fates, strict=True)) if fates else None
    assert loss_in_words(lost("x", sessions=sessions), NOW, counts) == text


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (-1, "a moment ago"),
        (9, "a moment ago"),
        (19, "10 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (86400, "1 d ago"),
    ],
)
def test_a_time_that_has_passed_is_told_in_coarse_steps(secs: float, text: str) -> None:
    assert ago(secs) == text


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
        ([instance("a"), replace(instance("b"), health="unhealthy")], False, Conflict),
        ([instance("a"), replace(instance("b"), health="degraded")], False, None),
        ([instance("a", age_secs=13), instance("b")], False, None),
    ],
)
def test_only_a_living_instance_that_others_can_replace_is_drained(
    instances: list[Instance], force: bool, error: type[NetstacksError] | None
) -> None:
    lines = overview(Snapshot(NOW, {each.id: each for each in instances}), INTERVAL_SECS, TTL_SECS)
    with pytest.raises(error, match=r"\ba\b") if error else contextlib.nullcontext():
        check_drain(lines, "a", force=force)


def test_records_that_cannot_be_read_are_a_problem_of_the_cluster() -> None:
    assert unreadable_problem(0) is None
    assert unreadable_problem(1) == "1 record in Valkey cannot be read and is left out"
    assert unreadable_problem(3) == "3 records in Valkey cannot be read and are left out"
