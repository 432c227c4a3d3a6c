"""A disaster: the database and Valkey are lost, and a cluster goes on from a backup. And the proof that it would."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from netstacks.store import schema
from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import make_lab
from tests.acceptance.recorded import verified
from tests.controller import ADMIN, ROOT, Api, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


def netstacks(controller: Controller, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netstacks", *words]
    return subprocess.run(
        command, cwd=ROOT, env=controller.environ | environ, capture_output=True, text=True, timeout=240
    )


def done(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def counts(url: str) -> dict[str, int]:
    """The number of rows of each table that a user's action fills."""
    tables = ("users", "devices", "credentials", "vault_secrets", "host_keys", "sessions", "recording_chunks")
    with psycopg.connect(url) as connection:
        return {each: connection.execute(f"SELECT count(*) FROM {each}").fetchone()[0] for each in tables}  # type: ignore


def test_a_cluster_goes_on_from_a_backup(cluster: Cluster, postgres: Postgres, sshd: Sshd, tmp_path: Path) -> None:
    a, b = cluster.controllers
    lab = make_lab(a.login(), sshd)
    ended = lab.open()
    ended.type("echo kept-$((6*7))\r")
    ended.expect("kept-42")
    ended.type("exit\r")
    ended.ended()
    ended.leave()
    live = lab.open()
    live.type("echo open-$((6*7))\r")
    live.expect("open-42")

    # The backup is of one moment, although the terminal goes on printing.
    file = tmp_path / "backup"
    printing = threading.Event()

    def print_on() -> None:
        while not printing.wait(0.05):
            live.type("echo on\r")

    printer = threading.Thread(target=print_on)
    printer.start()
    for terminal, output in ((ended, "kept-42"), (live, "open-42")):
        until(lambda t=terminal, o=output: o in str(recording_of(lab.api, t.info["session_id"])), f"{output} is stored")
    assert "schema version" in done(netstacks(a, "backup", str(file)))
    printing.set()
    printer.join()
    assert file.stat().st_mode & 0o777 == 0o600
    before = counts(cluster.database_url)
    assert "exists: name a new file" in netstacks(a, "backup", str(file)).stderr

    # All is lost.
    live.vanish()
    for controller in cluster.controllers:
        controller.kill()
    cluster.valkey.kill()
    cluster.valkey.wipe()
    cluster.valkey.start()
    postgres.drop_database(cluster.database_url)
    restored = postgres.create_database()
    for controller in cluster.controllers:
        controller.environ["DATABASE_URL"] = restored
    assert "all log-ins were ended" in done(netstacks(a, "restore", str(file)))
    assert "not empty" in netstacks(a, "restore", str(file)).stderr
    after = counts(restored)
    assert {**after, "recording_chunks": 0} == {**before, "recording_chunks": 0}
    assert 0 < after["recording_chunks"] <= before["recording_chunks"]

    for controller in cluster.controllers:
        controller.start()
    # Tokens of before are void; the users, devices, secrets and recordings are there.
    lab.api.call("GET", "/api/devices/browse", expect=401)
    lab.api.login(*ADMIN)
    assert "kept-42" in str(recording_of(lab.api, ended.info["session_id"]))
    assert ", 0 broken" in verified(b)
    # The terminal that was open comes back as after a crash: the same session, another log-in to the device.
    live.api.token = lab.api.token
    resumed = come_back(live, b).connected()
    assert resumed.info["session_id"] == live.info["session_id"]
    assert resumed.info["epoch"] > live.info["epoch"]
    resumed.type("echo back-$((6*7))\r")
    resumed.expect("back-42")
    assert any(row["event"] == "backup.restored" for row in lab.api.get("/api/audit?limit=500")["items"])
    assert "intact" in done(netstacks(a, "audit", "verify"))


def recording_of(api: Api, session_id: str) -> object:
    (found,) = [each for each in api.get("/api/recordings") if each["session_id"] == session_id]
    return api.get(f"/api/recordings/{found['id']}/data")


def test_a_backup_of_an_earlier_schema_is_restored(postgres: Postgres, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A program of today reads the backup of an earlier version, and migrates it at its first start."""
    from netstacks.store import backups
    from netstacks.store.pool import Database

    known = schema.migrations()
    monkeypatch.setattr(schema, "migrations", lambda: known[:15])
    old, new = Database(postgres.create_database()), Database(postgres.create_database())
    for database in (old, new):
        database.open()
    try:
        schema.migrate(old)
        with old.transaction() as tx:
            tx.execute(
                "INSERT INTO users (id, username, role, password_hash) VALUES (gen_random_uuid(), 'ada', 'admin', 'x')"
            )
        backups.write(old, tmp_path / "old", lambda *_: None)
        monkeypatch.setattr(schema, "migrations", lambda: known)
        backups.restore(new, tmp_path / "old", lambda *_: None)
        assert schema.migrate(new) == known[-1][0]
        with new.transaction() as tx:
            assert [row["username"] for row in tx.execute("SELECT username FROM users")] == ["ada"]
    finally:
        for database in (old, new):
            database.close()


@pytest.fixture
def filled(postgres: Postgres, sshd: Sshd) -> Iterator[Controller]:
    """A controller with a recording and a credential."""
    controller = Controller(postgres.create_database()).start()
    lab = make_lab(controller.login(), sshd)
    terminal = lab.open()
    terminal.type("echo proof-$((6*7))\r")
    terminal.expect("proof-42")
    session_id = terminal.info["session_id"]
    lab.api.call("DELETE", f"/api/sessions/{session_id}")
    until(lambda: "proof-42" in str(recording_of(lab.api, session_id)), "the recording")
    yield controller
    controller.stop()


def test_a_restore_is_rehearsed(filled: Controller, postgres: Postgres, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    done(netstacks(filled, "backup", str(file)))
    server = postgres.url("postgres")
    answer = done(netstacks(filled, "rehearse-restore", str(file), "--server", server))
    assert answer.startswith("proven: 1 recordings")
    assert "an instance on them was healthy" in answer
    proof = filled.login().get("/api/v1/ha/status")["database"]["backup"]
    assert (proof["recordings"], proof["start_secs"] > 0) == (1, True)
    with psycopg.connect(server) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'netstacks_rehearsal%'"
        ).fetchall()
    assert left == []


class Listener:
    """A server that answers nothing; `connections` counts what reaches it."""

    def __init__(self) -> None:
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                connection.close()

    def close(self) -> None:
        # A close alone does not end the waiting `accept`.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def test_the_instance_of_a_rehearsal_dials_no_server_that_the_backup_names(
    filled: Controller, postgres: Postgres, tmp_path: Path
) -> None:
    """The owner of an open session, a target of the audit log, an AI provider, a mail server."""
    listener, file = Listener(), tmp_path / "backup"
    filled.kill()
    database = str(conninfo_to_dict(filled.environ["DATABASE_URL"])["dbname"])
    with psycopg.connect(postgres.url(database)) as connection:
        connection.execute(
            "UPDATE sessions SET state = 'detached', owner = 'ctrl-0a0b0c0d', owner_address = %s, ended_at = NULL,"
            " detached_at = now() - interval '1 day'",
            [listener.address],
        )
        host, port = listener.address.split(":")
        for key, value in (("mail.host", host), ("mail.port", int(port)), ("mail.from", "a@b.example")):
            connection.execute("INSERT INTO settings (key, value) VALUES (%s, %s)", [key, Jsonb(value)])
        connection.execute(
            "INSERT INTO audit_targets (id, name, type, address, is_enabled, position)"
            " VALUES (gen_random_uuid(), 'x', 'syslog_tcp', %s, true, 0)",
            [listener.address],
        )
    done(netstacks(filled, "backup", str(file)))
    answer = done(netstacks(filled, "rehearse-restore", str(file), "--server", postgres.url("postgres")))
    assert "an instance on them was healthy" in answer
    assert listener.connections == 0
    listener.close()


def test_a_rehearsal_finds_what_a_restore_would(filled: Controller, postgres: Postgres, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    done(netstacks(filled, "backup", str(file)))
    server = postgres.url("postgres")
    # Another key says nothing about the backup: only the damaged ones are noted.
    wrong = netstacks(filled, "rehearse-restore", str(file), "--server", server, VAULT_MASTER_KEY="0a" * 32)
    assert (wrong.returncode, "VAULT_MASTER_KEY is another one" in wrong.stderr) == (1, True), wrong.stderr
    for name, problem in (("users", "the backup is damaged: the rows of users"), (None, "not a complete backup")):
        broken = tmp_path / f"broken-{name}"
        damage(file, broken, name)
        answer = netstacks(filled, "rehearse-restore", str(broken), "--server", server)
        assert (answer.returncode, problem in answer.stderr) == (1, True), answer.stderr
    database = conninfo_to_dict(filled.environ["DATABASE_URL"])["dbname"]
    with psycopg.connect(postgres.url(str(database))) as connection:
        (failures,) = connection.execute("SELECT count(*) FROM audit WHERE event = 'backup.refuted'").fetchone()  # type: ignore[misc]
    assert failures == 2


def damage(file: Path, target: Path, name: str | None) -> None:
    """A copy in which one byte of a table's rows is another one, or whose second half is missing."""
    if name is None:
        target.write_bytes(file.read_bytes()[: os.path.getsize(file) // 2])
        return
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == f"{name}.copy":
                content = content.replace(b"admin", b"adnim", 1)
            copy.writestr(entry, content)
