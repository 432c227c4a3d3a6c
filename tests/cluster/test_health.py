from dataclasses import replace

import pytest

from netstacks.cluster.health import Facts, HealthReport, for_heartbeat, judge
from netstacks.cluster.model import MAX_REASON, ClusterSummary
from netstacks.store import faults

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
        "load": 0,
    }


TABLE = {
    "all is well": ({}, "healthy", 200, []),
    "single instance": ({"valkey": "disabled"}, "healthy", 200, []),
    "valkey away": ({"valkey": "disconnected"}, "degraded", 200, ["valkey"]),
    "valkey away, and so the lease": ({"valkey": "disconnected", "leased": False}, "degraded", 200, ["valkey"]),
    "postgresql away": ({"database": False}, "degraded", 200, ["database"]),
    "both away": ({"database": False, "valkey": "disconnected"}, "degraded", 200, ["valkey", "database"]),
    "lease lost while it serves": ({"leased": False}, "degraded", 200, ["lease"]),
    "postgresql answers and takes no writes": ({"database_problem": "read-only"}, "degraded", 200, ["database"]),
    "no witness on a read-only postgresql": (
        {"database_problem": "read-only", "witness_held": False},
        "degraded",
        200,
        ["database"],
    ),
    "the disk is nearly full": ({"disk_problem": "10 MB free"}, "degraded", 200, ["disk"]),
    "the disk beside postgresql": ({"disk_problem": "10 MB", "database": False}, "degraded", 200, ["database", "disk"]),
    "an inconsistency": ({"inconsistencies": ("they differ",)}, "degraded", 200, ["consistency"]),
    "an inconsistency, and the disk": (
        {"inconsistencies": ("they differ",), "disk_problem": "10 MB free"},
        "degraded",
        200,
        ["disk", "consistency"],
    ),
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
    # A rolling change of a setting is an inconsistency for as long as it lasts, and needs instances that are ready.
    assert report.is_ready == (status == "healthy" or degraded == ["consistency"])


def test_dependencies_are_told_in_the_words_of_the_specification() -> None:
    body = health(valkey="disconnected", database=False).body()
    assert (body["valkey"], body["database"]) == ("disconnected", "disconnected")


def test_the_secret_that_differs_is_named() -> None:
    assert "VAULT_MASTER_KEY" in health(differing_secrets=("VAULT_MASTER_KEY",)).body()["reason"]


def test_a_fault_of_postgresql_is_the_reason() -> None:
    body = health(database_problem="PostgreSQL is read-only: it is a standby").body()
    assert (body["database"], body["reason"]) == ("connected", "PostgreSQL is read-only: it is a standby")
    assert health(database=False, database_problem="too many").body()["reason"] == "too many"
    assert health(starting=True).body()["reason"] == "starting"
    starting = health(starting=True, database_problem="PostgreSQL is read-only").body()
    assert starting["reason"] == "starting: PostgreSQL is read-only"


def test_a_fault_of_valkey_is_the_reason() -> None:
    assert health(valkey="disconnected").body()["reason"] == "Valkey is not reachable"
    body = health(valkey="disconnected", valkey_problem="Valkey refuses the password").body()
    assert body["reason"] == "Valkey refuses the password"


def test_every_inconsistency_is_in_the_reason() -> None:
    body = health(inconsistencies=("a has 1, b has 2", "c uses no Valkey")).body()
    assert body["reason"] == "a has 1, b has 2; c uses no Valkey"


@pytest.mark.parametrize(
    ("cpu_share", "waiting", "load"),
    [(0.0, 0, 0), (0.004, 0, 0), (0.426, 0, 43), (1.0, 0, 100), (1.7, 0, 100), (0.1, 1, 100)],
)
def test_load_is_the_processors_share_and_100_while_clients_wait(cpu_share: float, waiting: int, load: int) -> None:
    assert health(cpu_share=cpu_share, waiting=waiting).body()["load"] == load


AGENT_TABLE = {
    "idle": ({}, "up ready 100%"),
    "busy": ({"cpu_share": 0.6}, "up ready 40%"),
    "full, and never 0 %, which is a drain": ({"cpu_share": 1.0}, "up ready 1%"),
    "clients wait": ({"waiting": 3}, "up ready 1%"),
    "degraded": ({"database": False}, "up ready 100%"),
    "draining": ({"draining": True, "cpu_share": 0.6}, "drain"),
    "draining and unfit": ({"draining": True, "starting": True}, "drain"),
    "unfit": ({"hub_blocked": True}, "down #the event loop was blocked"),
    "a reason of several lines is one line": ({"schema_problem": "too\nnew\r\n"}, "down #too new"),
}


@pytest.mark.parametrize(("facts", "answer"), AGENT_TABLE.values(), ids=AGENT_TABLE.keys())
def test_haproxy_hears_weight_drain_or_the_reason(facts, answer) -> None:
    assert health(**facts).agent_answer() == answer


def test_several_problems_are_one_sentence() -> None:
    both = {"database": False, "database_problem": "too many", "disk_problem": "10 MB free"}
    assert health(**both).body()["reason"] == "too many; 10 MB free"
    assert "recorder and witness" in health(died=("recorder", "witness")).body()["reason"]
    secrets = ("VAULT_MASTER_KEY", "JWT_SECRET")
    assert ", ".join(secrets) in health(differing_secrets=secrets).body()["reason"]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, ("healthy", "")),
        ({"starting": True}, ("unhealthy", "starting")),
        ({"draining": True}, ("draining", "this instance hands over its sessions and leaves")),
        ({"disk_problem": "10 MB\nfree"}, ("degraded", "10 MB free")),
        # The heartbeat that says this has arrived.
        ({"valkey": "disconnected"}, ("healthy", "")),
        ({"leased": False, "disk_problem": "10 MB free"}, ("degraded", "10 MB free")),
        (
            {"inconsistencies": ("a has 1, b has 2",), "disk_problem": "10 MB free"},
            ("degraded", "10 MB free; a has 1, b has 2"),
        ),
        ({"schema_problem": "x" * (MAX_REASON + 1)}, ("unhealthy", "x" * (MAX_REASON - 1) + "…")),
        ({"schema_problem": "x" * MAX_REASON}, ("unhealthy", "x" * MAX_REASON)),
    ],
)
def test_a_heartbeat_tells_the_health_but_not_that_valkey_is_away(
    facts: dict[str, object], told: tuple[str, str]
) -> None:
    assert for_heartbeat(health(**facts)) == told


def test_a_heartbeat_has_room_for_all_faults_and_their_remedies() -> None:
    """The longest texts of each kind, so far as this program words them."""
    database = faults.denied("its role netstacks_controller may not read and change " + "a_table_of_ours, " * 5)
    disk = "the disk of SPOOL_DIR has 12 MB free, less than the 512 MB of DISK_FREE_MIN_BYTES: free space, or change it"
    facts = {"database_problem": str(database), "disk_problem": disk, "inconsistencies": ("a has 1, b has 2",)}
    _, reason = for_heartbeat(health(**facts))
    assert all(text in reason for text in (database.advice, disk, "a has 1, b has 2"))


def test_an_instance_without_facts_starts() -> None:
    assert for_heartbeat(None) == ("unhealthy", "starting")


def test_a_lost_lease_has_its_cause() -> None:
    report = health(leased=False, lease_problem="Valkey: its memory is full")
    assert report.reason == "the registry does not have this instance's heartbeat: Valkey: its memory is full"
