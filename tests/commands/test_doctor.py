"""`netstacks doctor` on real parts: nothing to say of what is well, and each fault named with what to do."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from netstacks.commands.examine.sentinels import judge_reports
from netstacks.commands.examine.valkey import judge_server
from netstacks.registry.sentinel import Report
from tests.acceptance.cluster import Cluster
from tests.controller import ROOT, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.valkey import SentinelCluster


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


def doctor(cluster: Cluster, *words: str, **changed: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and findings, in the environment of a controller but for what is changed."""
    run = subprocess.run(
        [sys.executable, "-m", "netstacks", "doctor", "--json", *words],
        cwd=ROOT,
        env={**cluster.controllers[0].environ, **changed},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stderr == ""
    assert not any(value in run.stdout for name, value in changed.items() if name in ("JWT_SECRET", "VAULT_MASTER_KEY"))
    return run.returncode, json.loads(run.stdout)


def wrong(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["topic"], each["what"]) for each in found if each["level"] != "ok"]


def test_a_cluster_that_is_well_is_left_alone(cluster: Cluster) -> None:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    with Balancer("nginx", [each.port for each in cluster.controllers]) as balancer:
        code, found = doctor(cluster, "--load-balancer", balancer.url)
    assert wrong(found) == []
    assert code == 0
    topics = {each["topic"] for each in found}
    assert topics == {"Settings", "PostgreSQL", "Licence", "Valkey", "Cluster", "Peers", "Load balancer"}
    assert sum(each["topic"] == "Cluster" for each in found) == 2


def test_a_proxy_that_passes_no_upgrade_on_is_noticed(cluster: Cluster) -> None:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    balancer = Balancer("nginx", [each.port for each in cluster.controllers])
    text = balancer.file.read_text()
    balancer.file.write_text(text.replace("proxy_set_header Upgrade $http_upgrade;", ""))
    with balancer:
        code, found = doctor(cluster, "--load-balancer", balancer.url)
    assert code == 2
    assert ("Load balancer", "a WebSocket upgrade is answered with 426 instead of 401") in wrong(found)


@pytest.mark.parametrize(
    ("changed", "topic", "told"),
    [
        ({"VAULT_MASTER_KEY": "00" * 32}, "Cluster", "VAULT_MASTER_KEY here differs from the cluster's"),
        ({"JWT_SECRET": "quite another secret of the tests"}, "Cluster", "JWT_SECRET here differs from the cluster's"),
        ({"VALKEY_URL": "redis://127.0.0.1:1"}, "Valkey", "Connection refused"),
        ({"VALKEY_SENTINEL_URL": "redis://127.0.0.1:1"}, "Sentinels", "only 0 of 1 answer"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "PostgreSQL", "Connection refused"),
        ({"HA_STALE_INSTANCE_TTL_SECS": "never"}, "Settings", "HA_STALE_INSTANCE_TTL_SECS"),
    ],
)
def test_what_is_wrong_is_named(cluster: Cluster, changed: dict[str, str], topic: str, told: str) -> None:
    code, found = doctor(cluster, **changed)
    assert code == 2
    assert any(each[0] == topic and told in each[1] for each in wrong(found)), wrong(found)


def test_a_sentinel_that_is_down_is_a_warning_and_a_wrong_name_an_error(cluster: Cluster) -> None:
    sentinels = SentinelCluster()
    sentinels.start()
    try:
        sentinels.sentinels[0].kill()
        _, found = doctor(cluster, VALKEY_SENTINEL_URL=sentinels.url)
        assert [each["level"] for each in found if each["topic"] == "Sentinels"] == ["warning", "ok"]
        code, found = doctor(cluster, VALKEY_SENTINEL_URL=sentinels.url, VALKEY_SENTINEL_MASTER_NAME="another")
        assert code == 2
        assert any("VALKEY_SENTINEL_MASTER_NAME must be the name" in told for _, told in wrong(found))
    finally:
        sentinels.destroy()


def test_a_dead_instance_is_shown_until_it_is_reaped(cluster: Cluster) -> None:
    killed = cluster.controllers[1]
    instance_id = killed.health()["instance_id"]
    killed.kill()
    until(
        lambda: any("is late" in told and instance_id in told for _, told in wrong(doctor(cluster)[1])), "the finding"
    )
    _, found = doctor(cluster)
    assert any(topic == "Peers" and f"{instance_id} is not reached" in told for topic, told in wrong(found))


INFO: dict[str, Any] = {"role": "master", "maxmemory": 0, "aof_enabled": 1, "connected_slaves": 0}


@pytest.mark.parametrize(
    ("changed", "clock_secs", "levels"),
    [
        ({}, 0.0, []),
        ({"role": "slave"}, 0.0, ["error"]),
        ({"maxmemory": 1000, "maxmemory_policy": "allkeys-lru"}, 0.0, ["warning"]),
        ({"maxmemory": 1000, "maxmemory_policy": "noeviction"}, 0.0, []),
        ({"aof_enabled": 0}, 0.0, ["ok"]),
        ({}, 60.0, ["warning"]),
    ],
)
def test_a_node_is_judged_by_its_info(changed: dict[str, Any], clock_secs: float, levels: list[str]) -> None:
    assert [each.level for each in judge_server(INFO | changed, "no", clock_secs)] == levels


REPLICA: dict[str, Any] = {
    "ip": "10.0.0.2",
    "port": 6379,
    "is_sdown": False,
    "is_disconnected": False,
    "master-link-status": "ok",
}
PRIMARY = ("10.0.0.1", 6379)


@pytest.mark.parametrize(
    ("reports", "told"),
    [
        ([Report(PRIMARY, 3, "", (REPLICA, REPLICA))], []),
        ([Report(PRIMARY, 3, "", (REPLICA,)), Report(("10.0.0.9", 6379), 3, "", (REPLICA,))], ["different primaries"]),
        ([Report(PRIMARY, 3, "NOQUORUM 1 usable Sentinels", (REPLICA,))], ["NOQUORUM"]),
        ([Report(PRIMARY, 2, "", (REPLICA,))], ["there are 2 of them"]),
        ([Report(PRIMARY, 3, "", ())], ["know of none"]),
        ([Report(PRIMARY, 3, "", (REPLICA | {"is_sdown": True}, REPLICA))], ["not reached by the Sentinels"]),
        ([Report(PRIMARY, 3, "", (REPLICA | {"master-link-status": "err"},))], ["does not follow the primary"]),
    ],
)
def test_sentinels_are_judged_by_what_they_report(reports: list[Report], told: list[str]) -> None:
    wrongs = [each for each in judge_reports(reports) if each.level != "ok"]
    assert [words in each.what for words, each in zip(told, wrongs, strict=True)] == [True] * len(told)
