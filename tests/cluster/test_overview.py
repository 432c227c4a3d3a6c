"""What operators read of the cluster."""

import pytest

from netstacks.cluster.model import Instance, InstanceState, Snapshot
from netstacks.cluster.overview import overview

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
    assert line.condition == condition
    assert (line.problem is None) == (condition == "healthy")
    assert line.heartbeat_age_secs == age_secs


def test_shares_are_of_all_sessions() -> None:
    both = {"a": instance("a", sessions=3), "b": instance("b", sessions=1)}
    assert [line.share for line in overview(Snapshot(NOW, both), INTERVAL_SECS, TTL_SECS)] == [0.75, 0.25]
    assert [line.share for line in overview(Snapshot(NOW, {"c": instance("c")}), INTERVAL_SECS, TTL_SECS)] == [0.0]
