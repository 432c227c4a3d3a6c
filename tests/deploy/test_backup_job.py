"""The nightly backup of deploy/systemd: its units are accepted, and its script writes, proves and removes backups."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from netstacks.store import schema
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from tests.controller import JWT_SECRET, MASTER_KEY, ROOT
from tests.postgres import Postgres

FOLDER = ROOT / "deploy/systemd"
OLD = "netstacks-20200101T000000Z.zip"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's systemd")
@pytest.mark.parametrize("name", ["netstacks-backup.service", "netstacks-backup.timer"])
def test_systemd_has_nothing_against_the_units(name: str, tmp_path: Path) -> None:
    for each in FOLDER.glob("netstacks-backup.*"):
        text = each.read_text().replace("/usr/local/sbin/netstacks-backup", str(FOLDER / "netstacks-backup"))
        (tmp_path / each.name).write_text(text.replace("/opt/netstacks", str(ROOT)))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / name], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.fixture
def job(postgres: Postgres, database: Database, tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """Runs the script for a database with a vault, in a folder with a backup of years ago."""
    schema.migrate(database)
    Vault(database, MASTER_KEY).unlock()
    program = tmp_path / "netstacks"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m netstacks "$@"\n')
    program.chmod(0o700)
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / OLD).touch()
    os.utime(folder / OLD, (1577836800, 1577836800))
    environ = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "DATABASE_URL": database.url,
        "VAULT_MASTER_KEY": MASTER_KEY,
        "JWT_SECRET": JWT_SECRET,
        "BACKUP_FOLDER": str(folder),
        "REHEARSAL_SERVER": postgres.url("postgres"),
    }

    def run(**given: str) -> CompletedProcess[str]:
        command = [FOLDER / "netstacks-backup"]
        return subprocess.run(command, env=environ | given, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def test_the_script_writes_and_proves_a_backup(job: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    done = job()
    assert done.returncode == 0, done.stderr
    assert "proven: 0 recordings" in done.stdout
    (left,) = (tmp_path / "backups").iterdir()
    assert left.name != OLD
    assert left.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none"},
        {"REHEARSAL_SERVER": "postgresql://postgres@127.0.0.1:1/none"},
        {"VAULT_MASTER_KEY": "6f" * 32},
    ],
    ids=["no backup", "no server for the proof", "no proof"],
)
def test_an_old_backup_stays_until_a_newer_one_is_proven(
    job: Callable[..., CompletedProcess[str]], tmp_path: Path, fault: dict[str, str]
) -> None:
    done = job(**fault)
    # The status with which systemd counts the unit as failed.
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "backups" / OLD).exists()
