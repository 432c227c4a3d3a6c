"""The forecast of a drain: the split among the other instances, the time it takes, and its warning."""

import pytest

from netstacks.cluster.draining import flush_secs, window_secs
from netstacks.cluster.forecast import Exposure, Forecast, forecast, split
from netstacks.cluster.model import Instance, Snapshot
from tests.cluster.facts import instance

TTL_SECS = 30.0
NO_RISK = Exposure()


def cluster(**opens_per_sec: float) -> Snapshot:
    each = [instance(name, opens_per_sec=rate, last_heartbeat_at=1000.0) for name, rate in opens_per_sec.items()]
    return Snapshot(1000.0, {one.id: one for one in [*each, *unable()]})


def unable() -> list[Instance]:
    """Instances that take over nothing."""
    return [
        instance("drains", opens_per_sec=100.0, last_heartbeat_at=1000.0, state="draining"),
        instance("dead", opens_per_sec=100.0, last_heartbeat_at=900.0),
    ]


def shares(snapshot: Snapshot, sessions: int) -> dict[str, int]:
    return {each.instance_id: each.sessions for each in split(snapshot, "me", TTL_SECS, sessions)}


def test_sessions_are_split_by_what_the_others_open_per_second() -> None:
    assert shares(cluster(me=99.0, b=30.0, c=10.0), 8) == {"b": 6, "c": 2}


@pytest.mark.parametrize("sessions", range(12))
def test_no_session_is_left_out_of_the_split_or_counted_twice(sessions: int) -> None:
    found = shares(cluster(me=1.0, b=7.0, c=5.0, d=3.0), sessions)
    assert sum(found.values()) == sessions
    assert sorted(found.values(), reverse=True) == list(found.values())


def test_instances_that_have_reported_no_rate_share_evenly() -> None:
    assert shares(cluster(me=0.0, b=0.0, c=0.0), 4) == {"b": 2, "c": 2}


def test_without_another_instance_there_is_no_target() -> None:
    assert shares(cluster(me=10.0), 4) == {}


def predict(snapshot: Snapshot, *, attached: int = 0, detached: int = 0, exposure: Exposure = NO_RISK) -> Forecast:
    return forecast(snapshot, "me", TTL_SECS, attached=attached, detached=detached, window_secs=10.0, exposure=exposure)


def test_a_drain_that_fits_needs_no_warning() -> None:
    found = predict(cluster(me=1.0, b=20.0), attached=100, detached=5)
    assert (found.plan.needs_secs, found.plan.is_too_short, found.warning) == (5.0, False, None)
    assert [each.sessions for each in found.targets] == [100]


def test_a_window_that_is_too_short_is_named_with_the_setting() -> None:
    found = predict(cluster(me=1.0, b=20.0), attached=500)
    assert found.plan.is_too_short
    assert found.warning is not None
    assert "needs about 25 s but has 10 s" in found.warning
    assert "DRAIN_TIMEOUT_SECS" in found.warning


def test_the_warning_counts_what_is_at_risk() -> None:
    exposure = Exposure(output=2, configuration=1, confirmed_commits=1, unread=7)
    warning = predict(cluster(me=1.0, b=20.0), attached=20, exposure=exposure).warning
    assert warning is not None
    assert "1 session has a confirmed commit under way; 1 session is in configuration mode; 2 sessions have" in warning
    assert "7 sessions were not examined" in warning


def test_a_drain_without_an_heir_is_warned_of_unless_there_is_nothing_to_lose() -> None:
    warning = predict(cluster(me=1.0), detached=1).warning
    assert warning is not None
    assert "No other healthy instance" in warning
    assert predict(cluster(me=1.0)).warning is None


def test_the_hand_over_and_the_flush_share_the_drain_timeout() -> None:
    assert (window_secs(4.0), flush_secs(4.0)) == (2.0, 2.0)
    assert (window_secs(60.0), flush_secs(60.0)) == (50.0, 10.0)
