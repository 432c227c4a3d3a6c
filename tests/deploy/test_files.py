"""The files of deploy/ and compose.yaml: understood by their programs, and in step with the program's settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from netstacks.settings import Settings, load
from tests.controller import JWT_SECRET, MASTER_KEY, ROOT
from tests.deploy.balancers import Balancer, is_installed

COMPOSE_FILES = ("compose.yaml", "deploy/compose.ha.yaml")
SECRETS = {"POSTGRES_PASSWORD": "0123abcd", "VAULT_MASTER_KEY": MASTER_KEY, "JWT_SECRET": JWT_SECRET}


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_the_load_balancers_configuration_is_valid(name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"needs Debian's {name}")
    checked = subprocess.run(Balancer(name, [8081, 8082, 8083]).check_command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr.lower(), checked.stderr


@pytest.fixture(params=COMPOSE_FILES)
def compose(request: pytest.FixtureRequest) -> dict[str, Any]:
    text = (ROOT / request.param).read_text()
    missing = sorted(set(re.findall(r"\$\{(\w+):\?", text)) - set(SECRETS))
    assert missing == []
    # As compose does it; a secret that is missing is an error with a text.
    text = re.sub(r"\$\{(\w+):\?[^}]+\}", lambda found: SECRETS[found[1]], text)
    found: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-(\w*)\}", r"\1", text))
    return found


def controllers(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in compose["services"].items() if name.startswith("controller-api")}


def test_the_controllers_settings_are_accepted(compose: dict[str, Any]) -> None:
    known = {name.upper() for name in Settings.model_fields}
    for service in controllers(compose).values():
        environ = {name: value or "" for name, value in service["environment"].items()}
        assert set(environ) <= known
        settings = load(environ)
        assert settings.valkey_url == "redis://valkey:6379"
        assert settings.license_key is None
        seconds = int(service["stop_grace_period"].removesuffix("s"))
        assert seconds >= settings.drain_timeout_secs + 5


def test_the_stores_are_reached_by_the_controllers_alone(compose: dict[str, Any]) -> None:
    assert compose["networks"]["stores"]["internal"] is True
    for name in ("postgres", "valkey"):
        service = compose["services"][name]
        assert "ports" not in service
        assert service["networks"] == ["stores"]


def test_haproxy_asks_for_load_at_a_port_that_is_not_published() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.ha.yaml").read_text())
    asked = re.findall(r"agent-port (\d+)", (ROOT / "deploy/haproxy.cfg").read_text())
    for name, service in controllers(compose).items():
        assert asked == [service["environment"]["AGENT_CHECK_PORT"]], name
        assert "ports" not in service, name


def test_every_volume_and_network_is_declared(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (ROOT / source).is_file(), f"{name}: {volume}"
        assert set(service["networks"]) <= {*compose["networks"], "default"}, name


def test_nginx_knows_every_controller() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.ha.yaml").read_text())
    for file in ("nginx.conf", "haproxy.cfg"):
        named = re.findall(r"^ +server .*?(controller-api-\d):8080", (ROOT / "deploy" / file).read_text(), re.MULTILINE)
        assert sorted(named) == sorted(controllers(compose)), file


def test_the_image_has_all_that_it_copies() -> None:
    """Paths of the build context, which .dockerignore allows."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in (ROOT / "deploy/Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
                assert f"!{source}" in ignored, line
    assert (ROOT / "deploy/entrypoint").stat().st_mode & 0o111
    assert Path(ROOT / "deploy/entrypoint").read_text().startswith("#!/bin/sh\n")
