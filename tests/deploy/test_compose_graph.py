"""The graph of each compose file on loopback: its own commands, variables and configuration files, other addresses."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from netstacks.settings import load
from tests.acceptance.fronts import Front
from tests.acceptance.ha import command
from tests.controller import ROOT, Api, until
from tests.deploy import compose
from tests.deploy.balancers import Balancer, is_installed
from tests.deploy.compose import VALKEY, Graph
from tests.postgres import _BIN as POSTGRES
from tests.postgres import Postgres

# A paused Sentinel replaces no primary for half a minute.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of its own: the compose files name the database and the role."""
    server = Postgres()
    server.start()
    yield server
    server.destroy()


@pytest.fixture(params=compose.FILES)
def graph(request: pytest.FixtureRequest, own_postgres: Postgres, tmp_path: Path) -> Iterator[Graph]:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    graph = Graph(request.param, tmp_path, own_postgres)
    try:
        yield graph.start()
    finally:
        graph.stop()


def test_the_graph_of_a_compose_file_serves_users(graph: Graph) -> None:
    first, count = graph.controllers[0], len(graph.controllers)
    until(lambda: first.health().get("cluster", {}).get("healthy_instances") == count, "all instances", 60)
    until(lambda: {each.health().get("valkey") for each in graph.controllers} == {"connected"}, "all at Valkey")
    password = (graph.secrets / "bootstrap_admin_password").read_text().strip()
    api = Api(graph.front)
    api.login("admin", password)
    assert api.get("/api/devices/browse")["total"] == 0
    # The pages of administration, with the log-in that the API gave through them.
    pages = requests.Session()
    headers = {"X-NetStacks-Page": "1", "Origin": graph.admin.url}
    pages.post(
        f"{graph.admin.url}/api/auth/login",
        json={"username": "admin", "password": password},
        headers=headers,
        timeout=20,
    ).raise_for_status()
    about = pages.get(f"{graph.admin.url}/admin/about", timeout=20)
    assert (about.status_code, "NetStacks Controller" in about.text) == (200, True)
    # What an upgrade of one container after the other waits for.
    until(lambda: command(first, "ha", "status").returncode == 0, "a healthy cluster on the command line")
    check_health_commands(graph)
    check_stores(graph)
    if "sentinel-1" in graph.stores:
        graph.stores["valkey-1"].kill()
        until(lambda: first.health().get("status") == "degraded", "the loss of the primary", 60)
        until(lambda: all(each.health().get("status") == "healthy" for each in graph.controllers), "the failover", 120)
        # The dead primary comes back with the file that it had, and Sentinel makes it a replica of the new one.
        graph.stores["valkey-1"].start()
        until(lambda: b"role:slave" in cli(graph, "valkey-1", "info", "replication"), "the old primary follows", 60)
        assert load(first.environ).valkey_url is None


def test_controllers_on_hosts_of_their_own_form_one_cluster(own_postgres: Postgres, tmp_path: Path) -> None:
    """deploy/compose.host.yaml on two hosts, with the PostgreSQL and the Valkey of compose.yaml elsewhere."""
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    (service,) = compose.read(compose.HOST)["services"].values()
    graph = Graph("compose.yaml", tmp_path / "first", own_postgres)
    try:
        graph.start_stores()
        copied = shutil.copytree(graph.secrets, tmp_path / "second/secrets")
        first, second = (graph.start_controller(service, secrets) for secrets in (graph.secrets, copied))
        with Balancer("nginx", [first.port, second.port]) as balancer:
            api = Api(Front(balancer))
            api.login("admin", (copied / "bootstrap_admin_password").read_text().strip())
            until(lambda: len(api.get("/api/v1/ha/status")["instances"]) == 2, "both instances", 60)
            # Each is healthy, and is reached by the other one at the address that it advertises.
            until(lambda: command(second, "ha", "status").returncode == 0, "a healthy cluster", 60)
            told = {each["peer_address"] for each in api.get("/api/v1/ha/status")["instances"]}
            assert told == {f"127.0.0.1:{each.environ['HA_PEER_PORT']}" for each in (first, second)}
    finally:
        graph.stop()


def check_stores(graph: Graph) -> None:
    """The settings that the specification shows, those that it needs besides, and the password, as the servers tell."""
    for name in graph.stores:
        assert b"NOAUTH" in subprocess.run([*VALKEY_CLI, *where(graph, name), "info"], capture_output=True).stdout, name
        if name.startswith("valkey"):
            assert setting(graph, name, "appendonly") == "yes"
            assert setting(graph, name, "maxmemory-policy") == "noeviction"
            is_replicated = "sentinel-1" in graph.stores
            assert setting(graph, name, "min-replicas-to-write") == ("1" if is_replicated else "0")
        else:
            words = cli(graph, name, "sentinel", "master", "mymaster").decode().split("\n")
            facts = dict(zip(words[::2], words[1::2], strict=False))
            asked = ("quorum", "down-after-milliseconds", "failover-timeout", "parallel-syncs")
            assert [facts[each] for each in asked] == ["2", "5000", "10000", "1"]
            assert [facts["num-slaves"], facts["num-other-sentinels"]] == ["2", "2"]
            for each in ("resolve-hostnames", "announce-hostnames"):
                assert b"yes" in cli(graph, name, "sentinel", "config", "get", each)


def setting(graph: Graph, store: str, name: str) -> str:
    return cli(graph, store, "config", "get", name).decode().split("\n")[1]


def where(graph: Graph, store: str) -> list[str]:
    return ["-h", graph.addresses[store], *(["-p", "26379"] if store.startswith("sentinel") else [])]


def check_health_commands(graph: Graph) -> None:
    """Runs each service's own health check, with the address at which the service is here."""
    for name, service in graph.compose["services"].items():
        if "healthcheck" not in service:
            continue
        kind, program, *arguments = service["healthcheck"]["test"]
        assert kind == "CMD"
        if program == "pg_isready":
            port = str(graph.postgres.port)
            done = subprocess.run([POSTGRES / program, *arguments, "-h", "127.0.0.1", "-p", port], capture_output=True)
        else:
            done = subprocess.run(
                [VALKEY.parent / program, "-h", graph.addresses[name], *arguments], capture_output=True
            )
        assert done.returncode == 0, (name, done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["api", "admin"])
def test_an_images_health_check_finds_a_server_and_its_absence(name: str) -> None:
    """Against a server that answers its path, and then against none."""
    text = (ROOT / f"deploy/{name}.Dockerfile").read_text()
    (check,) = re.findall(r"HEALTHCHECK .*\\\n +CMD (\[.*\])$", text, re.MULTILINE)
    program, *arguments = json.loads(check)
    assert program == "python"
    path = {"api": "/api/v1/health/live", "admin": "/health"}[name]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == path else 404)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    command, environ = [sys.executable, *arguments], {"PORT": str(server.server_address[1])}
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert subprocess.run(command, env=environ, capture_output=True).returncode == 0
    thread.join()
    server.server_close()
    assert subprocess.run(command, env=environ, capture_output=True).returncode != 0


VALKEY_CLI = [VALKEY.parent / "valkey-cli"]


def cli(graph: Graph, name: str, *words: str) -> bytes:
    password = (graph.secrets / "valkey_password").read_text().strip()
    command = [*VALKEY_CLI, *where(graph, name), "--no-auth-warning", "-a", password, *words]
    return subprocess.run(command, capture_output=True).stdout
