from dataclasses import replace

import pytest

from netstacks.cluster.health import Facts, HealthReport, judge
from netstacks.cluster.model import ClusterSummary

NOW = 1000.0
REFRESH_SECS = 2.0
WELL = Facts(
    instance_id="ctrl-a1b2c3d4",
    version="1.2.3",
    started_at=NOW - 86400.5,
    taken_at=NOW - 1,
    database=True,
    valkey="connected",
    cluster=ClusterSummary(registered_instances=3, healthy_instances=3, total_sessions=42),
    local_sessions=14,
)


def health(**facts) -> HealthReport:
    return judge(replace(WELL, **facts), NOW, REFRESH_SECS)


def test_the_body_has_the_members_of_the_specification() -> None:
    assert health().body() == {
        "status": "healthy",
        "instance_id": "ctrl-a1b2c3d4",
        "uptime_secs": 86400,
        "valkey": "connected",
        "database": "connected",
        "cluster": {
            "registered_instances": 3,
            "healthy_instances": 3,
            "total_sessions": 42,
            "local_sessions": 14,
        },
        "version": "1.2.3",
        "degraded": [],
    }


TABLE = {
    "all is well": ({}, "healthy", 200, []),
    "single instance": ({"valkey": "disabled"}, "healthy", 200, []),
    "valkey away": ({"valkey": "disconnected"}, "degraded", 200, ["valkey"]),
    "valkey away, and so the lease": ({"valkey": "disconnected", "leased": False}, "degraded", 200, ["valkey"]),
    "postgresql away": ({"database": False}, "degraded", 200, ["database"]),
    "both away": ({"database": False, "valkey": "disconnected"}, "degraded", 200, ["valkey", "database"]),
    "lease lost while it serves": ({"leased": False}, "degraded", 200, ["lease"]),
    "draining": ({"draining": True}, "draining", 503, []),
    "draining outweighs the rest": ({"draining": True, "database": False}, "draining", 503, ["database"]),
    "starting": ({"starting": True}, "unhealthy", 503, []),
    "other secrets": ({"differing_secrets": ("JWT_SECRET",)}, "unhealthy", 503, []),
    "no witness": ({"witness_held": False}, "degraded", 200, ["witness"]),
    "no witness without postgresql": ({"witness_held": False, "database": False}, "degraded", 200, ["database"]),
    "a greenlet has died": ({"died": ("recorder",)}, "unhealthy", 503, []),
    "hub blocked": ({"hub_blocked": True}, "unhealthy", 503, []),
    "schema": ({"schema_problem": "schema 9 is newer than this program's 7"}, "unhealthy", 503, []),
    "unfit outweighs degraded": ({"starting": True, "database": False}, "unhealthy", 503, ["database"]),
    "two refreshes old": ({"taken_at": NOW - 5.9}, "healthy", 200, []),
    "three refreshes old": ({"taken_at": NOW - 6}, "unhealthy", 503, []),
}


@pytest.mark.parametrize(("facts", "status", "http_status", "degraded"), TABLE.values(), ids=TABLE.keys())
def test_table(facts, status, http_status, degraded) -> None:
    report = health(**facts)
    body = report.body()
    assert (report.status, report.http_status, body["degraded"]) == (status, http_status, degraded)
    assert ("reason" in body) == (status != "healthy")
    assert report.is_ready == (status == "healthy")


def test_dependencies_are_told_in_the_words_of_the_specification() -> None:
    body = health(valkey="disconnected", database=False).body()
    assert (body["valkey"], body["database"]) == ("disconnected", "disconnected")


def test_the_secret_that_differs_is_named() -> None:
    assert "VAULT_MASTER_KEY" in health(differing_secrets=("VAULT_MASTER_KEY",)).body()["reason"]
