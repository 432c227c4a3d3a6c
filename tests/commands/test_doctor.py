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

from netstacks.cluster import circuits
from netstacks.cluster.circuits import Circuit
from netstacks.cluster.model import Snapshot
from netstacks.commands.examine import cluster as examined
from netstacks.commands.examine.balancer import examine_balancer
from netstacks.commands.examine.cluster import examine_peers
from netstacks.registry.valkey import open_registry
from tests.acceptance.cluster import Cluster
from tests.cluster.facts import instance
from tests.controller import ROOT, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.valkey import SentinelCluster


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    # An instance that hangs stays on the list for longer than any test.
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


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_cluster_that_is_well_is_left_alone(cluster: Cluster, name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"needs Debian's {name}")
    with Balancer(name, [each.port for each in cluster.controllers]) as balancer:
        code, found = doctor(cluster, "--load-balancer", balancer.url)
    assert wrong(found) == []
    assert code == 0
    topics = {each["topic"] for each in found}
    checked = {"Settings", "PostgreSQL", "Licence", "Valkey", "Cluster", "Peers", "Consistency", "Load balancer"}
    assert topics == checked
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
    [(topic, told)] = wrong(found)
    assert topic == "Load balancer"
    assert told.startswith("it removes the header Upgrade: a WebSocket upgrade is answered with 426 instead of 401")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("netstacks.example", "must be a URL such as https://netstacks.example"),
        ("http://netstacks.example/terminal", "must be an origin"),
        ("http://netstacks.example:high", "has a port that is not a number"),
        ("http://[::1", "an IPv6 address must be in brackets"),
        ("http://nets tacks", "has a space"),
    ],
)
def test_a_load_balancer_that_is_named_wrongly_is_told(url: str, told: str) -> None:
    [found] = examine_balancer(url)
    assert (found.level, told in found.what) == ("error", True), found.what


def test_too_few_instances_and_open_circuits_are_told(cluster: Cluster) -> None:
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        for name, enabled in (("an-ai", True), ("a-former-ai", False)):
            connection.execute(
                "INSERT INTO llm_providers (id, name, type, base_url, models, position, enabled, max_concurrent,"
                " daily_tokens, revision, updated_by) VALUES (gen_random_uuid(), %s, 'openai', 'https://ai.invalid',"
                " '{large,org/small}', 1, %s, 0, 0, 0, 'admin')",
                (name, enabled),
            )
        rows = connection.execute("SELECT id FROM llm_providers").fetchall()
    registry = open_registry(cluster.valkey.url, None, "")
    names = [f"{provider_id}/org/small" for (provider_id,) in rows]
    try:
        for name in names:
            now, _ = registry.circuits()
            registry.replace_circuit(name, circuits.opened(Circuit(), now, 3600, "HTTP 401: wrong key"), 0)
        code, found = doctor(cluster, HA_EXPECTED_INSTANCES="3")
    finally:
        for name in names:
            registry.forget_circuit(name)
        with psycopg.connect(cluster.database_url, autocommit=True) as connection:
            connection.execute("DELETE FROM llm_providers")
    assert code == 1
    # The running instances learn the expected number, so this environment also differs from them.
    missing, circuit = (each for each in wrong(found) if each[0] != "Consistency")
    assert missing == (
        "Cluster",
        "2 of 3 instances are healthy: 1 of the 3 in HA_EXPECTED_INSTANCES is not known",
    )
    assert circuit[0] == "AI providers"
    assert circuit[1].startswith("the circuit of org/small at an-ai is open until ")
    assert circuit[1].endswith(": HTTP 401: wrong key")


def test_without_valkey_the_command_line_names_the_instances_that_live(cluster: Cluster) -> None:
    """Their rows and locks in PostgreSQL tell them."""
    ids = sorted(each.health()["instance_id"] for each in cluster.controllers)
    environ = {**cluster.controllers[0].environ, "VALKEY_URL": "redis://127.0.0.1:1"}

    def shown() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "netstacks", "ha", "status"]
        return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)

    run = shown()
    assert run.returncode == 1
    assert run.stderr.startswith("netstacks: Valkey: ")
    assert run.stderr.count("\n") == 1
    assert run.stdout.startswith("The cluster is degraded: Valkey does not answer (")
    assert "PostgreSQL connected, version " in run.stdout
    rows = [line.split() for line in run.stdout.splitlines() if line.startswith("ctrl-")]
    assert sorted((row[0], row[3]) for row in rows) == [(each, "alive") for each in ids]


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
        found = list(examine_peers(lambda: Snapshot(0.0, {"a": peer}), 0.0, None))
    assert [each.level for each in found] == ["error"]


def test_an_instance_that_has_just_joined_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other instances see it from their next heartbeat on."""
    seen = iter([1, 1, 2, 1])
    healthy = {"status": "healthy", "instance_id": "a"}
    monkeypatch.setattr(
        examined,
        "peer_health",
        lambda *_: (healthy | {"cluster": {"registered_instances": next(seen)}}, 0.0),
    )
    snapshot = Snapshot(0.0, {"a": instance("a"), "late": replace(instance("b"), id="a")})
    found = list(examine_peers(lambda: snapshot, 0.0, None))
    told = [each.what for each in found if each.level != "ok"]
    assert told == ["a knows 1 instances, and 2 are registered"]


def test_an_unhealthy_instance_is_not_held_against_those_that_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def health(address: str, _: object) -> tuple[dict[str, Any], float]:
        cluster = {"registered_instances": 2, "healthy_instances": 1}
        return {"status": "healthy" if address == "a" else "unhealthy", "instance_id": address, "cluster": cluster}, 0.0

    monkeypatch.setattr(examined, "peer_health", health)
    snapshot = Snapshot(0.0, {each: replace(instance(each), peer_address=each) for each in ("a", "b")})
    found = list(examine_peers(lambda: snapshot, 0.0, None))
    assert [each.what.partition(" ")[0] for each in found if each.level != "ok"] == ["b"]


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


def test_a_redirect_is_told_and_not_followed() -> None:
    target = b"https://netstacks.example/api/v1/health"
    head = b"HTTP/1.1 301 Moved Permanently\r\nLocation: " + target + b"\r\nContent-Length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(8):
                with server.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(head)

        threading.Thread(target=serve, daemon=True).start()
        [found] = examine_balancer(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert (found.level, "redirects to https://netstacks.example/" in found.what) == ("error", True)


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
        # Once, with the name that is right; the Valkey behind the Sentinels is not blamed too.
        [told] = [each for each in found if each["level"] == "error"]
        assert told["topic"] == "Sentinels"
        assert "watch no primary named 'another'; what they watch: 'mymaster'" in told["what"]
        assert "VALKEY_SENTINEL_MASTER_NAME" in told["do"]
    finally:
        sentinels.destroy()


def test_an_instance_that_hangs_is_shown_until_it_is_reaped(cluster: Cluster) -> None:
    """A killed one is proven dead within seconds."""
    frozen = cluster.controllers[1]
    instance_id = frozen.health()["instance_id"]

    def is_found() -> bool:
        found = wrong(doctor(cluster)[1])
        is_late = any("is late" in told and instance_id in told for _, told in found)
        return is_late and any(topic == "Peers" and f"{instance_id} is not reached" in told for topic, told in found)

    frozen.freeze()
    try:
        until(is_found, "both findings", 60)
    finally:
        frozen.thaw()


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
