"""`netstacks doctor` on real parts: no line for a part that works, and each fault named with its remedy."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from netstacks.cluster.model import Snapshot
from netstacks.commands.examine.balancer import examine_balancer
from netstacks.commands.examine.cluster import examine_peers, judge_cluster
from netstacks.commands.examine.sentinels import judge_reports
from netstacks.commands.examine.valkey import judge_server
from netstacks.registry.sentinel import Report
from netstacks.settings import Settings
from tests.acceptance.cluster import Cluster
from tests.cluster.facts import instance
from tests.controller import ROOT, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.valkey import SentinelCluster


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    # A dead instance stays on the list for longer than any test.
    with Cluster(postgres, 2, HA_STALE_INSTANCE_TTL_SECS="600") as cluster:
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
    ("url", "told"),
    [
        ("netstacks.example", "must be a URL such as https://netstacks.example"),
        ("http://netstacks.example/terminal", "must be an origin"),
        ("http://netstacks.example:high", "has a port that is no number"),
        ("http://[::1", "an IPv6 address must be in brackets"),
        ("http://nets tacks", "has a space"),
    ],
)
def test_a_load_balancer_that_is_named_wrongly_is_told(url: str, told: str) -> None:
    [found] = examine_balancer(url)
    assert (found.level, told in found.what) == ("error", True), found.what


def test_an_instance_whose_record_cannot_be_read_is_named() -> None:
    loaded = Settings(
        database_url="postgresql://localhost/x", vault_master_key="5e" * 32, jwt_secret="long enough " * 4
    )
    found = list(judge_cluster(loaded, Snapshot(0.0, {}, {"ctrl-x\x1b[2J": "it has no host"})))
    [told] = [each for each in found if "cannot be read" in each.what]
    assert (told.topic, told.level) == ("Cluster", "warning")
    assert "ctrl-x" in told.what
    assert "it has no host" in told.what
    assert told.what.isprintable()


@pytest.mark.parametrize(
    "body", [b"[]", b"7", b'{"instance_id": "a", "status": "healthy"}', b'{"instance_id": "a", "cluster": 7}', b"\xff"]
)
def test_a_peer_whose_health_is_none_is_told(body: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        threading.Thread(target=serve, daemon=True).start()
        peer = replace(instance("a"), peer_address=f"127.0.0.1:{server.getsockname()[1]}")
        found = list(examine_peers(Snapshot(0.0, {"a": peer}), None))
    assert [each.level for each in found] == ["error"]


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
def test_an_address_without_a_load_balancer_is_told(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        found = list(examine_balancer(f"http://127.0.0.1:{server.getsockname()[1]}"))
    assert "error" in {each.level for each in found}


@pytest.mark.parametrize(
    ("changed", "topic", "told"),
    [
        ({"DATABASE_URL": "postgres://u:a%@db/x"}, "Settings", "a '%' itself is written %25"),
        ({"DATABASE_URL": "postgres://u:a@db/x?schema=y"}, "Settings", "unknown parameter 'schema'"),
        ({"VALKEY_URL": "redis://:57#a@v"}, "Settings", "in a password it is written %23"),
        ({"VALKEY_URL": "redis://[::1"}, "Settings", "an IPv6 address must be in brackets"),
        ({"VAULT_MASTER_KEY": "00" * 32}, "Cluster", "VAULT_MASTER_KEY here differs from the cluster's"),
        ({"JWT_SECRET": "quite another secret of the tests"}, "Cluster", "JWT_SECRET here differs from the cluster's"),
        ({"VALKEY_URL": "redis://127.0.0.1:1"}, "Valkey", "Connection refused"),
        ({"VALKEY_SENTINEL_URL": "redis://127.0.0.1:1"}, "Sentinels", "only 0 of 1 answer"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "PostgreSQL", "Connection refused"),
        ({"HA_STALE_INSTANCE_TTL_SECS": "never"}, "Settings", "HA_STALE_INSTANCE_TTL_SECS"),
    ],
)
def test_each_fault_is_named(cluster: Cluster, changed: dict[str, str], topic: str, told: str) -> None:
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

    def is_found() -> bool:
        found = wrong(doctor(cluster)[1])
        is_late = any("is late" in told and instance_id in told for _, told in found)
        return is_late and any(topic == "Peers" and f"{instance_id} is not reached" in told for topic, told in found)

    until(is_found, "both findings", 60)


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
        ([Report(PRIMARY, 2, "", (REPLICA,))], ["there are only 2 Sentinels"]),
        ([Report(PRIMARY, 3, "", ())], ["know no replica"]),
        ([Report(PRIMARY, 3, "", (REPLICA | {"is_sdown": True}, REPLICA))], ["the Sentinels do not reach"]),
        ([Report(PRIMARY, 3, "", (REPLICA | {"master-link-status": "err"},))], ["does not follow the primary"]),
    ],
)
def test_sentinels_are_judged_by_what_they_report(reports: list[Report], told: list[str]) -> None:
    wrongs = [each for each in judge_reports(reports) if each.level != "ok"]
    assert [words in each.what for words, each in zip(told, wrongs, strict=True)] == [True] * len(told)


def test_a_database_that_takes_no_writes_is_named(cluster: Cluster) -> None:
    name = psycopg.conninfo.conninfo_to_dict(cluster.database_url)["dbname"]
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        try:
            code, found = doctor(cluster)
        finally:
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    assert code == 2
    [fault] = [each for each in found if each["topic"] == "PostgreSQL" and each["level"] != "ok"]
    assert fault["what"] == "PostgreSQL is read-only: default_transaction_read_only is on"
    assert "DATABASE_URL" in fault["do"]


def test_a_role_without_a_connection_left_is_named(cluster: Cluster) -> None:
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE nobody_fits LOGIN CONNECTION LIMIT 0")
    url = cluster.database_url.replace("postgres@", "nobody_fits@")
    code, found = doctor(cluster, DATABASE_URL=url)
    assert code == 2
    assert ("PostgreSQL", 'PostgreSQL takes no more connections: too many connections for role "nobody_fits"') in wrong(
        found
    )
