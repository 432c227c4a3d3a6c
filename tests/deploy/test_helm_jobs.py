"""The Jobs of the Helm chart: valid, hardened, reaching PostgreSQL alone, and running what the image has."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from netstacks.__main__ import main
from netstacks.settings import load
from netstacks.store import schema
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from tests.controller import JWT_SECRET, MASTER_KEY, ROOT
from tests.deploy.chart import CHART, container, refusal, render
from tests.postgres import Postgres

(README,) = re.findall(r"```yaml\n(backup:.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
BOTH = {"migrate": {"enabled": True}, **yaml.safe_load(README)}
NAMES = ("netstacks-migrate", "netstacks-backup", "netstacks-job")


@pytest.fixture
def manifests() -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in render(values=BOTH) if each["metadata"]["name"] in NAMES}


@pytest.fixture
def pods(manifests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The templates of the pods."""
    return {
        "migrate": manifests["netstacks-migrate"]["spec"]["template"],
        "backup": manifests["netstacks-backup"]["spec"]["jobTemplate"]["spec"]["template"],
    }


def only_container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    return dict(found)


def environ(pod: dict[str, Any], secrets: Path) -> dict[str, str]:
    given = {each["name"]: each["value"] for each in only_container(pod)["env"] if "value" in each}
    return {name: value.replace("/run/secrets/netstacks", str(secrets)) for name, value in given.items()}


@pytest.fixture
def secrets(database: Database, tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    given = {"DATABASE_URL": database.url, "VAULT_MASTER_KEY": MASTER_KEY, "JWT_SECRET": JWT_SECRET}
    for name, value in {**given, "VALKEY_URL": "redis://127.0.0.1:1"}.items():
        (folder / name).write_text(value)
    return folder


@pytest.mark.parametrize("version", ["1.27", kubernetes_validate.latest_version()])
def test_kubernetes_accepts_every_manifest(manifests: dict[str, dict[str, Any]], version: str) -> None:
    assert [manifests[name]["kind"] for name in NAMES] == ["Job", "CronJob", "NetworkPolicy"]
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_they_are_not_there_unless_they_are_wanted() -> None:
    assert not {each["metadata"]["name"] for each in render()} & set(NAMES)
    assert "backup needs backup.claimName" in refusal({"backup": {"enabled": True}})


def test_the_schema_is_migrated_before_pods_are_replaced(manifests: dict[str, dict[str, Any]]) -> None:
    """By helm, which waits for the Job and stops when it fails."""
    annotations = manifests["netstacks-migrate"]["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "helm.sh/hook" not in str(manifests["netstacks-backup"])


def test_pods_have_no_rights_and_get_no_requests(pods: dict[str, dict[str, Any]]) -> None:
    everything = render(values=BOTH)
    for pod in pods.values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert only_container(pod)["securityContext"] == container(everything)["securityContext"]
        assert only_container(pod)["image"] == container(everything)["image"]
        for each in everything:
            if each["kind"] in ("Service", "PodDisruptionBudget"):
                selector = each["spec"]["selector"]
                assert not selector.get("matchLabels", selector).items() <= pod["metadata"]["labels"].items()


def test_they_reach_postgresql_and_nothing_reaches_them(
    manifests: dict[str, dict[str, Any]], pods: dict[str, dict[str, Any]]
) -> None:
    spec = manifests["netstacks-job"]["spec"]
    for pod in pods.values():
        assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "ingress" not in spec
    assert sorted(port["port"] for rule in spec["egress"] for port in rule["ports"]) == [53, 53, 5432, 6379, 26379]


def test_the_job_migrates_with_the_environment_of_its_pod(
    pods: dict[str, dict[str, Any]], database: Database, secrets: Path
) -> None:
    program, *words = only_container(pods["migrate"])["args"]
    assert program == "netstacks"
    done = CliRunner().invoke(main, words, env=environ(pods["migrate"], secrets), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    schema.require(database)


def test_the_cron_job_writes_and_proves_a_backup(
    pods: dict[str, dict[str, Any]], postgres: Postgres, database: Database, secrets: Path, tmp_path: Path
) -> None:
    schema.migrate(database)
    Vault(database, MASTER_KEY).unlock()
    backups, program = tmp_path / "backups", tmp_path / "netstacks"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m netstacks "$@"\n')
    program.chmod(0o700)
    given = only_container(pods["backup"])
    assert {each["name"]: each["mountPath"] for each in given["volumeMounts"]}["backups"] == "/backups"
    (server,) = (each for each in given["env"] if each["name"] == "REHEARSAL_SERVER")
    assert server["valueFrom"] == {"secretKeyRef": {"name": "netstacks-rehearsal", "key": "URL"}}
    variables = {
        name: value.replace("/backups", str(backups)) for name, value in environ(pods["backup"], secrets).items()
    }
    variables |= {"REHEARSAL_SERVER": postgres.url("postgres"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    load({name: value for name, value in variables.items() if not name.startswith(("BACKUP", "REHEARSAL", "PATH"))})
    # The image has the script where PATH finds it.
    script = ROOT / f"deploy/systemd/{given['args'][0]}"
    assert f"{script.relative_to(ROOT)} /usr/local/bin/\n" in (ROOT / "deploy/api.Dockerfile").read_text()
    assert script.stat().st_mode & stat.S_IXOTH
    done = subprocess.run([script], env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "proven: 0 recordings" in done.stdout
    assert len(list(backups.iterdir())) == 1
