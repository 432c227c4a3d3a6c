"""The nightly backup of deploy/systemd: its units are accepted, and its script writes, proves and removes backups."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netstacks.store import schema
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from tests.controller import JWT_SECRET, MASTER_KEY, ROOT
from tests.postgres import Postgres

FOLDER = ROOT / "deploy/systemd"


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


def test_the_script_writes_and_proves_a_backup(postgres: Postgres, database: Database, tmp_path: Path) -> None:
    schema.migrate(database)
    Vault(database, MASTER_KEY).unlock()
    program = tmp_path / "netstacks"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m netstacks "$@"\n')
    program.chmod(0o700)
    folder = tmp_path / "backups"
    folder.mkdir()
    old = folder / "netstacks-20200101T000000Z.zip"
    old.touch()
    os.utime(old, (1577836800, 1577836800))
    environ = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "DATABASE_URL": database.url,
        "VAULT_MASTER_KEY": MASTER_KEY,
        "JWT_SECRET": JWT_SECRET,
        "BACKUP_FOLDER": str(folder),
        "REHEARSAL_SERVER": postgres.url("postgres"),
    }
    done = subprocess.run([FOLDER / "netstacks-backup"], env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "proven: 0 recordings" in done.stdout
    (left,) = folder.iterdir()
    assert left != old
    assert left.stat().st_mode & 0o077 == 0
