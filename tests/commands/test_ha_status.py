"""`netstacks ha status`: the facts of the page HA status, from Valkey and PostgreSQL."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from netstacks.cluster import circuits
from netstacks.cluster.circuits import Circuit
from netstacks.cluster.instance_rows import InstanceRow
from netstacks.cluster.model import LostInstance
from netstacks.registry.figures import Replica, SentinelFigures, SentinelView
from netstacks.store import instance_settings, llm_providers, rehearsals
from netstacks.store.pool import Database
from netstacks.store.rehearsals import Proof
from netstacks.store.vault import Vault
from netstacks.store.witness import Witness
from tests.commands.conftest import FIGURES, Registry, Run
from tests.rows import make_session


def lose(registry: Registry) -> None:
    registry._lost["ctrl-x"] = LostInstance(
        "ctrl-x", "host-x", "127.0.0.1:1", "1.2.3", 0.0, 0.0, registry.now() - 250, 2, "ctrl-a", "silence"
    )


def status(run: Run, code: int, **environ: str) -> dict[str, Any]:
    result = run("status", "--json", **environ)
    assert result.exit_code == code, result.output
    return dict(json.loads(result.stdout))


def test_a_healthy_cluster_exits_with_0(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "The cluster is healthy"
    assert lines[1] == "2 of 2 instances are healthy, 0 sessions, 0 of them without an owner"
    assert lines[2] == (
        "Valkey connected, version 9.0.1, primary at v1:6379, up since 1970-01-01T00:00:00Z, latency 1.0 ms, 3 clients,"
        " memory 3.0 MiB of unlimited (noeviction), persistence: append-only file (last write ok), last snapshot: none"
        " since its start, replicas: v2:6379 (online, 0 s behind, 0 bytes to copy)"
    )
    assert lines[3].startswith("PostgreSQL connected, version ")
    assert ", primary, WAL position " in lines[3]
    assert lines[4:6] == ["Backup last proven: never", ""]
    # Prometheus is given these addresses.
    assert lines[6].split()[:3] == ["INSTANCE", "HOST", "ADDRESS"]
    assert [line.split()[2] for line in lines[7:]] == ["192.0.2.1:9443", "192.0.2.1:9443"]


def test_a_lost_instance_degrades_the_cluster_and_exits_with_1(
    run: Run, registry: Registry, database: Database
) -> None:
    lose(registry)
    make_session(database, owner="ctrl-x")
    result = run("status")
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "The cluster is degraded: 2 of 3 instances are healthy: ctrl-x on host-x was lost 4 min ago\n"
    )
    assert "1 of them without an owner" in result.stdout
    [row] = [line for line in result.stdout.splitlines() if line.startswith("ctrl-x")]
    assert row.split()[:4] == ["ctrl-x", "host-x", "127.0.0.1:1", "lost"]
    assert row.endswith("lost 4 min ago, its 2 sessions: 1 waiting for its user")
    found = status(run, 1)
    assert found["cluster"]["state"] == "degraded"
    assert found["totals"] == {
        "registered_instances": 2,
        "healthy_instances": 2,
        "lost_instances": 1,
        "total_sessions": 1,
        "sessions_without_owner": 1,
    }
    assert [each["id"] for each in found["lost"]] == ["ctrl-x"]


def test_an_expected_number_of_instances_is_missed(run: Run) -> None:
    found = status(run, 1, HA_EXPECTED_INSTANCES="3")
    assert found["cluster"]["expected_by"] == "setting"


def conditions(run: Run) -> dict[str, str]:
    return {each["instance"]["id"]: each["condition"] for each in status(run, 1)["instances"]}


def test_after_a_restart_of_valkey_no_instance_is_stale(run: Run, registry: Registry, database: Database) -> None:
    registry.age(1000, "ctrl-a")
    make_session(database, owner="ctrl-x")
    registry.figures = replace(FIGURES, up_since=registry.now() - 5)
    assert conditions(run) == {"ctrl-a": "late", "ctrl-b": "healthy"}
    # Its owner may be about to register again.
    assert status(run, 1)["totals"]["sessions_without_owner"] is None
    registry.figures = FIGURES
    assert conditions(run) == {"ctrl-a": "stale", "ctrl-b": "healthy"}


def test_when_all_heartbeats_are_old_none_is_judged(run: Run, registry: Registry) -> None:
    """As after Valkey was frozen: it has not restarted."""
    registry.age(1000, "ctrl-a", "ctrl-b")
    assert conditions(run) == {"ctrl-a": "late", "ctrl-b": "late"}
    found = status(run, 1)
    assert found["cluster"]["reason"].startswith("no instance has sent a heartbeat for 1000 s: ")
    assert found["totals"]["healthy_instances"] is None
    assert "An unknown number of 2 instances are healthy" in run("status").stdout


def test_an_unhealthy_instance_is_shown_with_its_reason(run: Run, registry: Registry) -> None:
    registry._instances["ctrl-a"] = replace(
        registry._instances["ctrl-a"], health="unhealthy", reason="the vault is locked"
    )
    found = run("status")
    assert found.exit_code == 1
    [row] = [line for line in found.stdout.splitlines() if line.startswith("ctrl-a")]
    assert row.split()[3] == "unhealthy"
    assert row.endswith("the vault is locked")
    assert "1 of 2 instances are healthy" in found.stdout


def put_row(database: Database, name: str, **members: Any) -> None:
    with database.transaction() as tx:
        instance_settings.put(tx, InstanceRow(name, "host", "192.0.2.1:9443", "1.2.3", "a-valkey", **members))


@pytest.fixture
def living(database_url: str, database: Database) -> Iterator[None]:
    """The witness locks of two instances that live, and their rows beside that of one that was killed."""
    witnesses = [Witness(database_url, database, name) for name in ("ctrl-a", "ctrl-b")]
    for witness in witnesses:
        witness.renew()
    for name, ttl in (("ctrl-a", "30"), ("ctrl-b", "60"), ("ctrl-killed", "90")):
        put_row(database, name, settings={"HA_STALE_INSTANCE_TTL_SECS": ttl}, is_draining=False)
    yield
    for witness in witnesses:
        witness.stop()


@pytest.mark.usefixtures("living")
def test_inconsistencies_degrade_the_cluster_and_their_remedies_are_shown(run: Run) -> None:
    found = status(run, 1)
    [each] = found["inconsistencies"]
    assert found["cluster"]["reason"] == each["problem"]
    assert "ctrl-a on host has HA_STALE_INSTANCE_TTL_SECS 30, ctrl-b on host has 60" in each["problem"]
    shown = run("status")
    assert shown.exit_code == 1
    assert f"Instances do not agree: {each['problem']}\n  Remedy: {each['remedy']}\n" in shown.stdout
    assert "ctrl-killed" not in shown.stdout


@pytest.mark.usefixtures("living")
def test_without_valkey_the_living_instances_come_from_postgresql(run: Run, registry: Registry) -> None:
    registry.away = True
    shown = run("status")
    assert shown.exit_code == 1
    assert str(shown.exception) == "Valkey: connection refused"
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("The cluster is degraded: Valkey does not answer (connection refused); ctrl-a on host")
    assert lines[1] == "How many instances are healthy is not known; alive on this database: 2 of 2"
    assert [line.split()[:4] for line in lines if line.startswith("ctrl-")] == [
        [name, "host", "192.0.2.1:9443", "alive"] for name in ("ctrl-a", "ctrl-b")
    ]
    found = status(run, 1)
    assert [each["id"] for each in found["known_by_database"]] == ["ctrl-a", "ctrl-b"]
    assert (found["instances"], found["totals"]["registered_instances"]) == ([], None)
    nothing = status(run, 1, DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    assert "Valkey does not answer" in nothing["cluster"]["reason"]
    assert "PostgreSQL does not answer" in nothing["cluster"]["reason"]


def test_the_sentinels_and_the_last_failover_are_shown(run: Run, registry: Registry) -> None:
    views = (SentinelView("s1:26379", "v1:6379", None), SentinelView("s2:26379", None, "it is unreachable"))
    registry.sentinels = SentinelFigures("mymaster", 2, "NOQUORUM 1 usable Sentinels", views)
    registry.record_event("failover", "ctrl-a", sessions="2", former="v2:6379", address="v1:6379")
    shown = run("status")
    assert shown.exit_code == 1
    assert "Sentinel cannot replace Valkey's primary: NOQUORUM 1 usable Sentinels" in shown.stdout.splitlines()[0]
    assert (
        "Sentinels of mymaster: quorum 2, Sentinel cannot replace Valkey's primary: NOQUORUM 1 usable Sentinels\n"
        "  s1:26379: the primary is v1:6379\n"
        "  s2:26379: it is unreachable\n"
    ) in shown.stdout
    assert ": from v2:6379 to v1:6379\n" in shown.stdout
    valkey = status(run, 1)["valkey"]
    assert valkey["sentinels"]["quorum"] == 2
    assert (valkey["last_failover"]["former"], valkey["last_failover"]["address"]) == ("v2:6379", "v1:6379")


def test_the_circuits_of_ai_providers_are_shown(run: Run, registry: Registry, database: Database) -> None:
    facts = {
        "name": "an-ai",
        "type": "openai",
        "base_url": "https://ai.example",
        "models": ["large", "org/small"],
        "enabled": True,
        "connect_secs": None,
        "first_token_secs": None,
        "total_secs": None,
        "max_concurrent": 0,
        "daily_tokens": 0,
    }
    vault = Vault(database, "5e" * 32, None)
    with database.transaction() as tx:
        provider = llm_providers.create(tx, vault, facts, key=None, by="admin")
    until = registry.now() + 60
    opened = circuits.opened(Circuit(), registry.now(), 60, "HTTP 401: wrong key")
    registry.replace_circuit(f"{provider.id}/org/small", opened, 0)
    shown = run("status").stdout
    assert "AI provider an-ai: large closed, org/small open until " in shown
    assert " (HTTP 401: wrong key)\n" in shown
    [found] = status(run, 0)["providers"]
    assert (found["id"], found["name"], found["type"]) == (str(provider.id), "an-ai", "openai")
    [large, small] = found["models"]
    assert (large["state"], small["model"], small["state"]) == ("closed", "org/small", "open")
    assert small["open_until"] == pytest.approx(until, abs=30)
    # Without PostgreSQL, the id stands for the name.
    away = run("status", DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing").stdout
    assert f"AI provider {provider.id}: org/small open until " in away


def test_the_last_proof_of_a_backup_is_shown(run: Run, database: Database) -> None:
    assert status(run, 0)["database"]["backup"] is None
    made_at, proven_at = (datetime(2026, 11, 30, hour, tzinfo=UTC) for hour in (1, 2))
    proof = Proof(
        proven_at=proven_at, backup_created_at=made_at, recordings=3, audit_rows=50, secrets=4, start_secs=2.5
    )
    with database.transaction() as tx:
        rehearsals.note(tx, proof)
    assert "Backup last proven: 2026-11-30T02:00:00Z, of 2026-11-30T01:00:00Z\n" in run("status").stdout
    assert status(run, 0)["database"]["backup"] == {
        "proven_at": proven_at.timestamp(),
        "backup_created_at": made_at.timestamp(),
        "recordings": 3,
        "audit_rows": 50,
        "secrets": 4,
        "start_secs": 2.5,
    }


def test_a_replica_is_shown_with_its_primary_and_what_is_not_known(run: Run, registry: Registry) -> None:
    registry.figures = replace(FIGURES, role="replica", upstream="v1:6379, link up", replicas=())
    assert "replica at v1:6379 of v1:6379, link up, up since" in run("status").stdout
    registry.figures = replace(FIGURES, replicas=(Replica("v3:6379", "wait_bgsave", None, None),))
    assert "replicas: v3:6379 (wait_bgsave, lag unknown)\n" in run("status").stdout


def test_records_that_cannot_be_read_degrade_the_cluster(run: Run, registry: Registry) -> None:
    registry.bad = {"netstacks:instance:ctrl-x": "it has no host"}
    shown = run("status")
    assert shown.exit_code == 1
    assert shown.stdout.startswith("The cluster is degraded: 1 record in Valkey cannot be read and is left out\n")
    assert "netstacks:instance:ctrl-x cannot be read and is left out: it has no host\n" in shown.stderr
    assert status(run, 1)["unreadable"] == registry.bad


def test_without_postgresql_the_rest_is_shown(run: Run) -> None:
    found = status(run, 1, DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    assert found["totals"]["sessions_without_owner"] is None
    assert found["cluster"]["reason"].startswith("PostgreSQL does not answer")
    assert len(found["instances"]) == 2
    assert (found["database"]["connection"], found["database"]["version"]) == ("disconnected", None)
