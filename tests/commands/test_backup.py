"""`netstacks backup` into a pipe; and `netstacks rehearse-restore`: only what a backup itself does wrong refutes it."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import conninfo_to_dict

from netstacks.commands import backup
from netstacks.errors import InvalidInput, StoreUnavailable, VaultLocked
from netstacks.store import audit, backups
from netstacks.store.backups import Manifest
from netstacks.store.pool import Database
from netstacks.store.rehearsals import Proof
from netstacks.store.vault import Vault
from tests.controller import ROOT
from tests.postgres import Postgres

KEY = "5e" * 32

Rehearse = Callable[..., Result]


@pytest.fixture
def file(database: Database, tmp_path: Path) -> Path:
    """A backup of the database, which has a secret."""
    Vault(database, KEY).unlock()
    backups.write(database, tmp_path / "backup.zip", lambda *_: None)
    return tmp_path / "backup.zip"


@pytest.fixture
def rehearse(database_url: str, postgres: Postgres, file: Path) -> Rehearse:
    def rehearse(server: str = postgres.url("postgres"), key: str = KEY) -> Result:
        words = [str(file), "--server", server]
        return CliRunner().invoke(backup.rehearse_command, words, env=environ(database_url, key))

    return rehearse


def environ(database_url: str, key: str = KEY) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "VAULT_MASTER_KEY": key, "JWT_SECRET": "j" * 40, "VALKEY_URL": ""}


def into(stdout: int, database_url: str) -> subprocess.CompletedProcess[bytes]:
    """`netstacks backup -` with this standard output."""
    command = [sys.executable, "-m", "netstacks", "backup", "-"]
    environment = os.environ | environ(database_url)
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.PIPE, check=False)


def test_a_backup_goes_through_a_pipe(database: Database, database_url: str, file: Path) -> None:
    done = into(subprocess.PIPE, database_url)
    assert done.returncode == 0, done.stderr
    assert b"tables, schema version" in done.stderr
    piped = file.with_name("piped.zip")
    piped.write_bytes(done.stdout)
    digests = [[each.sha256 for each in backups.read_manifest(each).tables] for each in (file, piped)]
    assert digests[0] == digests[1]


def test_a_pipe_that_breaks_fails_the_backup(database: Database, database_url: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = into(writer, database_url)
    os.close(writer)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert b"standard output cannot be written: Broken pipe" in done.stderr


def noted(database: Database) -> list[str]:
    with database.transaction() as tx:
        return [row["event"] for row in audit.list_page(tx, event="backup.*")]


def test_a_server_on_which_no_database_can_be_created_refutes_no_backup(
    database: Database, rehearse: Rehearse, postgres: Postgres
) -> None:
    for server in ("postgresql://postgres@127.0.0.1:1/postgres", postgres.url("none")):
        result = rehearse(server)
        assert isinstance(result.exception, StoreUnavailable)
        assert "--server" in str(result.exception)
    assert noted(database) == []


def test_another_master_key_refutes_no_backup(database: Database, rehearse: Rehearse) -> None:
    assert isinstance(rehearse(key="6f" * 32).exception, VaultLocked)
    assert noted(database) == []


def test_a_damaged_backup_is_refuted(database: Database, rehearse: Rehearse, file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, b"" if name == "users.copy" else content)
    assert isinstance(rehearse().exception, InvalidInput)
    assert noted(database) == ["backup.refuted"]


def test_a_database_that_cannot_be_dropped_does_not_undo_the_proof(
    database: Database, rehearse: Rehearse, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = backup._prove
    names: list[str] = []

    def prove_a_template(restored: Database, manifest: Manifest) -> Proof:
        proof = prove(restored, manifest)
        names.append(str(conninfo_to_dict(restored.url)["dbname"]))
        with restored.transaction() as tx:
            tx.execute(f"ALTER DATABASE {names[0]} IS_TEMPLATE true".encode())
        return proof

    monkeypatch.setattr(backup, "_prove", prove_a_template)
    result = rehearse()
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {names[0]} IS_TEMPLATE false".encode())
    postgres.drop_database(postgres.url(names[0]))
    assert result.exit_code == 0, result.output
    assert "cannot drop a template database" in result.stderr
    assert noted(database) == ["backup.proven"]
