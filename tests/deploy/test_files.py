"""The files of deploy/ and compose.yaml: understood by their programs, and in step with the program's settings."""

import ipaddress
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from netstacks.settings import SECRETS, Settings, load
from tests.controller import ROOT
from tests.deploy import compose
from tests.deploy.balancers import Balancer, is_installed
from tests.deploy.compose import Compose, controllers
from tests.ports import free_port


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_the_load_balancers_configuration_is_valid(name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"needs Debian's {name}")
    checked = subprocess.run(Balancer(name, [8081, 8082, 8083]).check_command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr.lower(), checked.stderr


@pytest.fixture(params=compose.FILES)
def graph(request: pytest.FixtureRequest) -> Compose:
    return compose.read(request.param)


@pytest.fixture(params=[*compose.FILES, compose.HOST])
def any_graph(request: pytest.FixtureRequest) -> Compose:
    return compose.read(request.param)


@pytest.mark.parametrize("name", [*compose.FILES, compose.HOST])
def test_a_compose_file_follows_the_schema_of_compose(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / name)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_controllers_settings_are_accepted(any_graph: Compose, tmp_path: Path) -> None:
    secrets = compose.make_secrets(tmp_path)
    known = {name.upper() for name in Settings.model_fields} | {f"{name.upper()}_FILE" for name in SECRETS}
    for service in controllers(any_graph).values():
        assert set(service["environment"]) <= known
        settings = load(compose.environ(service, secrets))
        if settings.valkey_sentinel_url:
            assert settings.valkey_url is None
            assert [each in settings.valkey_sentinel_url for each in any_graph["services"] if "sentinel" in each] == [
                True
            ] * 3
        else:
            assert "@valkey:6379" in str(settings.valkey_url)
        assert settings.license_key is None
        count = len(controllers(any_graph))
        assert settings.ha_expected_instances == (count if count > 1 else 0)
        seconds = int(service["stop_grace_period"].removesuffix("s"))
        assert seconds >= settings.drain_timeout_secs + 5
        used = {Path(each).name for name, each in service["environment"].items() if name.endswith("_FILE")}
        assert used == set(service["secrets"])


def test_every_secret_is_made(any_graph: Compose, tmp_path: Path) -> None:
    secrets = compose.make_secrets(tmp_path)
    made = {each.name: each.read_text() for each in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o777 == 0o700
    for name, secret in any_graph["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert made[name].strip()
    used = {each for service in any_graph["services"].values() for each in service.get("secrets", [])}
    assert used == set(any_graph["secrets"])
    # A second run keeps what exists: other secrets would lock the stores.
    compose.make_secrets(tmp_path)
    assert {each.name: each.read_text() for each in secrets.iterdir()} == made


def test_the_stores_are_reached_by_the_controllers_alone(graph: Compose) -> None:
    assert graph["networks"]["stores"]["internal"] is True
    for name, service in graph["services"].items():
        if name.startswith(("postgres", "valkey", "sentinel")):
            assert "ports" not in service
            assert service["networks"] == ["stores"]
        elif not name.startswith("controller-api"):
            assert "stores" not in service["networks"]


def test_haproxy_asks_for_load_at_a_port_that_is_not_published() -> None:
    asked = re.findall(r"agent-port (\d+)", (ROOT / "deploy/haproxy.cfg").read_text())
    for name, service in controllers(compose.read("deploy/compose.ha.yaml")).items():
        assert asked == [service["environment"]["AGENT_CHECK_PORT"]], name
        assert "ports" not in service, name


def test_haproxy_takes_a_frozen_instance_out_within_five_seconds() -> None:
    """By its settings: the wait for a check that is not answered, and then for another one."""
    text = (ROOT / "deploy/haproxy.cfg").read_text()
    (pause, shorter_pause, failures) = re.findall(r"check inter (\d+)s fastinter (\d+)ms fall (\d) ", text)[0]
    (answer,) = re.findall(r"timeout check (\d+)ms", text)
    assert failures == "2"
    assert int(pause) * 1000 + int(answer) + int(shorter_pause) + int(answer) <= 5000


def test_every_volume_and_network_is_declared(any_graph: Compose) -> None:
    mounted = set()
    for name, service in any_graph["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            mounted.add(source)
            assert source in any_graph["volumes"] or (ROOT / source).exists(), f"{name}: {volume}"
        assert set(service.get("networks", [])) <= set(any_graph.get("networks", [])), name
        assert set(service.get("depends_on", [])) <= set(any_graph["services"]), name
    assert set(any_graph["volumes"]) <= mounted


def test_a_controller_on_a_host_of_its_own_is_reached_at_the_address_of_the_host() -> None:
    """In a network of Docker's the others would not reach it at the address that it advertises."""
    (service,) = compose.read(compose.HOST)["services"].values()
    assert service["network_mode"] == "host"
    assert not {"ports", "networks"} & set(service)
    # A firewall can name it.
    assert int(service["environment"]["HA_PEER_PORT"]) not in (0, 8080)
    assert "TRUSTED_PROXIES: ${LOAD_BALANCER:-}" in (ROOT / compose.HOST).read_text()


def test_an_installation_keeps_its_data_when_another_file_takes_its_place() -> None:
    """Volumes belong to a project. The networks are the same, too: Docker refuses a second one with these addresses."""
    graphs = [compose.read(name) for name in compose.FILES]
    for member in ("name", "networks"):
        assert [each[member] for each in graphs] == [graphs[0][member]] * len(graphs), member
    assert len({str(each["services"]["postgres"]) for each in graphs}) == 1
    # What was recorded and could not be stored.
    spools = {volume for each in graphs for volume in controllers(each)[min(controllers(each))]["volumes"]}
    assert spools == {"spool-1:/var/lib/netstacks/spool"}


def fixed_addresses(graph: Compose) -> dict[str, str]:
    """The services with an address of their own in the network `front`."""
    networks = {name: service["networks"] for name, service in graph["services"].items()}
    return {
        name: joined["front"]["ipv4_address"]
        for name, joined in networks.items()
        if isinstance(joined, dict) and "front" in joined
    }


def test_nginx_finds_a_controller_that_is_made_again_and_starts_without_one(graph: Compose) -> None:
    """nginx looks names up only when it starts, and Docker resolves names of running containers only. All addresses in
    the network are fixed, so that no service takes that of another one."""
    if "nginx" not in graph["services"]:
        return
    fixed = fixed_addresses(graph)
    assert set(fixed) == {name for name, service in graph["services"].items() if "front" in service["networks"]}
    (config,) = graph["networks"]["front"]["ipam"]["config"]
    # The first one is the gateway's.
    possible = list(ipaddress.ip_network(config["subnet"]).hosts())[1:]
    assert len(set(fixed.values())) == len(fixed)
    assert {ipaddress.ip_address(each) for each in fixed.values()} <= set(possible)
    assert graph["services"]["nginx"]["extra_hosts"] == {name: fixed[name] for name in controllers(graph)}


def test_the_addresses_that_are_trusted_are_those_of_the_proxies(graph: Compose) -> None:
    addresses = {address: name for name, address in fixed_addresses(graph).items()}
    for service in controllers(graph).values():
        assert addresses[service["environment"]["TRUSTED_PROXIES"]] in ("nginx", "controller-admin")
    if "nginx" in graph["services"]:
        (trusted,) = re.findall(r"^\s*set_real_ip_from (\S+);", (ROOT / "deploy/nginx.conf").read_text(), re.MULTILINE)
        assert addresses[trusted] == "controller-admin"


@pytest.mark.parametrize("name", ["deploy/compose.ha.yaml", "deploy/compose.sentinel.yaml"])
def test_the_load_balancers_know_every_controller(name: str) -> None:
    for file in ("nginx.conf", "haproxy.cfg"):
        named = re.findall(r"^ +server .*?(controller-api-\d):8080", (ROOT / "deploy" / file).read_text(), re.MULTILINE)
        assert sorted(named) == sorted(controllers(compose.read(name))), file


IMAGES = sorted(each.name for each in (ROOT / "deploy").glob("*.Dockerfile"))


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_all_that_it_copies(name: str) -> None:
    """Paths of the build context, which .dockerignore allows."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in (ROOT / "deploy" / name).read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
                assert f"!{source}" in ignored, line
    assert (ROOT / "deploy/entrypoint").stat().st_mode & 0o111
    assert Path(ROOT / "deploy/entrypoint").read_text().startswith("#!/bin/sh\n")


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_one_program_as_a_user_without_rights(name: str) -> None:
    """Its last stage, which has what was installed in the first one, and none of its sources."""
    text = (ROOT / "deploy" / name).read_text()
    first, last = re.split(r"^FROM \$\{BASE\}(?: AS built)?$", text, flags=re.MULTILINE)[1:]
    assert "--build-arg BASE=python:" in text.partition("ARG BASE=")[0]
    assert "pip wheel --no-deps" in first
    assert re.findall(r"^COPY --from=built (.*)$", last, re.MULTILINE) == ["/venv /venv"]
    assert not re.findall(r"^COPY (?!--from|deploy/entrypoint)", last, re.MULTILINE)
    (user,) = re.findall(r"^USER (\d+)$", last, re.MULTILINE)
    assert f"useradd --system --uid {user} " in last
    # The form without a shell: SIGTERM reaches the program.
    started = re.findall(r"^ *(?:ENTRYPOINT|CMD) (.*)$", last, re.MULTILINE)
    assert len(started) == 3, started
    for each in started:
        assert all(isinstance(word, str) for word in json.loads(each))
    assert "\nSTOPSIGNAL SIGTERM\n" in last
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", last))
    assert labels == {"title", "description", "licenses", "version", "revision"}


def test_containers_of_this_program_have_no_rights_and_a_read_only_root(any_graph: Compose) -> None:
    for name, service in any_graph["services"].items():
        if name.startswith("controller-"):
            assert service["read_only"] is True, name
            assert (service["tmpfs"], service["cap_drop"]) == ("/tmp", ["ALL"]), name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_no_compose_file_has_a_secret_in_it(any_graph: Compose) -> None:
    for name, service in any_graph["services"].items():
        for variable in set(service.get("environment", {})) - {"LICENSE_KEY"}:
            assert variable not in {each.upper() for each in SECRETS} | {"POSTGRES_PASSWORD"}, name


@pytest.mark.parametrize("name", IMAGES)
def test_hadolint_has_nothing_against_an_image(name: str) -> None:
    checked = subprocess.run(
        [Path(sys.executable).parent / "hadolint", ROOT / "deploy" / name], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


def test_the_compose_files_name_the_images_that_exist(graph: Compose) -> None:
    built = {
        service["image"]: service["build"]["dockerfile"] for service in graph["services"].values() if "build" in service
    }
    assert built == {
        "netstacks/controller-api": "deploy/api.Dockerfile",
        "netstacks/controller-admin": "deploy/admin.Dockerfile",
    }
    for dockerfile in built.values():
        assert (ROOT / dockerfile).is_file()


def test_a_first_start_that_fails_leaves_no_half_configuration(tmp_path: Path) -> None:
    server = tmp_path / "valkey-server"
    server.write_text('#!/bin/sh\ncat "$1"\n')
    server.chmod(0o755)
    secret = tmp_path / "sentinel_auth"
    script = (ROOT / "deploy" / "valkey" / "start").read_text().replace("/run/secrets/sentinel_auth", str(secret))
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CONF_DIR": str(ROOT / "deploy" / "valkey"),
        "DATA_DIR": str(tmp_path),
    }

    def start() -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", script, "start", "sentinel"]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    # The secret is missing, or cannot be read.
    assert start().returncode != 0
    secret.write_text("requirepass of-the-sentinels\n")
    printed = start()
    assert (printed.returncode, "requirepass of-the-sentinels" in printed.stdout) == (0, True), printed


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_no_token_is_logged_when_an_instance_does_not_answer(name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"needs Debian's {name}")
    with ThreadingHTTPServer(("127.0.0.1", free_port()), Healthy) as healthy:
        threading.Thread(target=healthy.serve_forever, daemon=True).start()
        with Balancer(name, [free_port(), healthy.server_port, free_port()]) as balancer:
            for _ in range(6):
                requests.get(f"{balancer.url}/ws/ssh?token=a-token-of-a-user", timeout=20)
            assert "a-token-of-a-user" not in balancer.log()
        healthy.shutdown()
