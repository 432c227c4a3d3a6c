"""What happens to terminals when the database, the controller or the client fails."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from netstacks.store.schema import migrations
from tests.acceptance.conftest import Lab, make_lab
from tests.controller import ROOT, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, to be stopped, killed and frozen."""
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture
def own(own_postgres: Postgres, sshd: Sshd) -> Iterator[tuple[Controller, Lab]]:
    controller = Controller(own_postgres.create_database(), SESSION_DETACH_TTL_SECS="60").start()
    yield controller, make_lab(controller.login(), sshd)
    controller.stop()


def verified(controller: Controller) -> str:
    """What `netstacks recordings verify` says."""
    answer = subprocess.run(
        [sys.executable, "-m", "netstacks", "recordings", "verify"],
        cwd=ROOT,
        env=controller.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout + answer.stderr


@pytest.mark.parametrize("fault", ["stop", "kill", "freeze"])
def test_terminals_refresh_and_resume_go_on_without_a_database(
    own: tuple[Controller, Lab], own_postgres: Postgres, fault: str
) -> None:
    controller, lab = own
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("stty -echo; PS1=; clear; echo be''fore\r")
    terminal.expect("before\r\n")
    getattr(own_postgres, fault)()
    until(lambda: controller.health().get("status") == "degraded", "degraded health")
    assert controller.health()["database"] == "disconnected"

    terminal.type("echo during-$((1+1))\r")
    terminal.expect("during-2\r\n")
    body = lab.api.post("/api/auth/refresh", {"refresh_token": lab.api.refresh_token}, expect=200)
    lab.api.token = body["access_token"]
    terminal.vanish()
    whole = terminal.output
    again = terminal.again(epoch=1, offset=len(whole)).connected()
    again.type("echo resumed-$((1+1))\r")
    again.expect("resumed-2\r\n")
    refused = lab.api.open(lab.device, lab.credential)
    refused.closed()
    assert "database" in refused.errors[0]

    again.type("seq 1 900000; echo fi''nished\r")
    until(lambda: b"held back" in again.notices, "the notice that the device is held back")
    own_postgres.thaw() if fault == "freeze" else own_postgres.start()
    again.expect("finished\r\n", 60)
    until(lambda: controller.health().get("status") == "healthy", "healthy again")
    assert b"recording goes on" in again.notices
    whole += again.output
    assert b"".join(b"%d\r\n" % number for number in range(1, 900_001)) in whole
    session_id = again.info["session_id"]
    lab.api.call("DELETE", f"/api/sessions/{session_id}", expect=204)
    until(lambda: lab.api.get(f"/api/recordings/{session_id}")["state"] == "ended", "the end of the recording")
    assert "1 recordings, 0 broken" in verified(controller)
    with psycopg.connect(controller.environ["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT max(end_offset) FROM recording_chunks").fetchone()
    assert row == (len(whole),)
    events = [row["event"] for row in lab.api.get("/api/audit")["items"]]
    assert {"session.opened", "session.closed"} <= set(events)


def test_sigterm_hands_over_and_a_restart_claims_the_session(own: tuple[Controller, Lab]) -> None:
    controller, lab = own
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("stty -echo; PS1=; clear; seq 1 5000; echo o''ld\r")
    terminal.expect("old\r\n")
    controller.terminate()
    assert terminal.closed()[0] == 1012
    assert controller.process is not None
    assert controller.process.wait(30) == 0
    assert "1 recordings, 0 broken" in verified(controller)

    controller.start()
    again = terminal.again(epoch=1, offset=len(terminal.output)).connected()
    assert again.info["session_id"] == terminal.info["session_id"]
    assert again.info["epoch"] > 1
    again.type("echo claimed-$((1+1))\r")
    again.expect("claimed-2")
    again.leave()


def test_a_killed_controller_loses_no_stored_byte_and_its_sessions_are_claimed(own: tuple[Controller, Lab]) -> None:
    controller, lab = own
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("echo ali''ve\r")
    terminal.expect("alive")
    session_id = terminal.info["session_id"]
    until(lambda: lab.api.get(f"/api/recordings/{session_id}")["bytes"] >= len(terminal.output), "the recording")
    controller.kill()
    terminal.closed()
    controller.start()
    again = terminal.again(epoch=1, offset="tail").connected()
    assert (again.info["session_id"], again.info["epoch"]) == (session_id, 2)
    until(lambda: b"alive" in again.notices, "the screen")
    again.type("echo claimed-$((1+1))\r")
    again.expect("claimed-2")
    again.leave()


def test_another_master_key_is_noticed_and_nothing_is_opened(own_postgres: Postgres, sshd: Sshd) -> None:
    url = own_postgres.create_database()
    first = Controller(url).start()
    lab = make_lab(first.login(), sshd)
    first.stop()
    second = Controller(url, VAULT_MASTER_KEY="ab" * 32)
    try:
        second.start(wait_for="unhealthy")
        until(lambda: "key" in second.health().get("reason", ""), "the reason")
        api = second.login()
        terminal = api.open(lab.device, lab.credential)
        assert terminal.closed()[0] == 4002
        assert "VAULT_MASTER_KEY" in terminal.errors[0]
        answer = api.post(
            "/api/credentials",
            {"name": "x", "credential_type": "ssh_password", "username": "x", "secret": "y"},
            expect=503,
        )
        assert "VAULT_MASTER_KEY" in answer["error"]
    finally:
        second.stop()


def test_a_database_that_is_away_at_the_start_is_waited_for(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    own_postgres.stop()
    controller = Controller(url)
    try:
        controller.start(wait_for="unhealthy")
        assert controller.health()["reason"] == "starting"
        own_postgres.start()
        until(lambda: controller.health().get("status") == "healthy", "healthy")
    finally:
        controller.stop()


def test_a_schema_newer_than_the_program_is_refused(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    Controller(url).start().stop()
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, 'from the future')")
    controller = Controller(url)
    try:
        controller.start(wait_for="unhealthy")
        until(lambda: "9999" in controller.health().get("reason", ""), "the reason")
    finally:
        controller.stop()


def test_the_schema_is_applied_once_whoever_starts_and_whoever_is_killed(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    doomed, *others = [Controller(url) for _ in range(3)]
    try:
        with ThreadPoolExecutor() as pool:
            killing = pool.submit(_start_and_kill, doomed)
            list(pool.map(lambda controller: controller.start(), others))
            killing.result()
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
        assert [version for (version,) in rows] == [version for version, *_ in migrations()]
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
    finally:
        for controller in others:
            controller.stop()


def _start_and_kill(controller: Controller) -> None:
    controller.start(wait_for="unhealthy")
    controller.kill()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DATABASE_URL", "mysql://root:hunter2@localhost/x"), ("LICENSE_KEY", "hunter2"), ("WEB_CONCURRENCY", "0")],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2_before_anything_listens(variable: str, value: str) -> None:
    controller = Controller("postgresql://nobody@127.0.0.1:1/x")
    controller.environ[variable] = value
    with pytest.raises(RuntimeError, match="ended with 2") as failure:
        controller.start()
    text = str(failure.value)
    assert f"netstacks: wrong settings\n{variable}" in text
    assert "hunter2" not in text
    assert "Traceback" not in text


def test_a_half_open_client_is_noticed_and_its_session_kept(own: tuple[Controller, Lab]) -> None:
    controller, lab = own
    terminal = lab.open()
    session_id = terminal.info["session_id"]
    # No process reads this socket any more, but the kernel keeps it open: pings are not answered.
    stranger = subprocess.Popen(
        [sys.executable, "-c", _SILENT_CLIENT, str(controller.port), lab.api.token, str(terminal.token)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert stranger.stdout is not None
        assert "101" in stranger.stdout.readline()
        assert terminal.closed()[0] == 4003
        os.kill(stranger.pid, signal.SIGSTOP)

        def state() -> str:
            rows = lab.api.get("/api/sessions?state=live")["items"]
            return next(str(row["state"]) for row in rows if row["id"] == session_id)

        until(lambda: state() == "active", "attached")
        until(lambda: state() == "detached", "detached", 90)
        again = terminal.again().connected()
        again.leave()
    finally:
        stranger.kill()
        stranger.wait()


_SILENT_CLIENT = """
import socket, sys, time
port, token, reconnect = sys.argv[1:]
s = socket.create_connection(("127.0.0.1", int(port)))
s.sendall((f"GET /ws/ssh?cols=80&rows=24&reconnect_token={reconnect}&token={token} HTTP/1.1\\r\\nHost: x\\r\\n"
    "Upgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n").encode())
print(s.recv(100).split(b"\\r\\n")[0], flush=True)
time.sleep(600)
"""


def test_bad_handshakes_are_told_without_a_traceback(own: tuple[Controller, Lab]) -> None:
    controller, lab = own
    for head, status in (
        (f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (
            f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            b"426",
        ),
        (
            f"GET /ws/ssh?token={lab.api.token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
            b"400",
        ),
    ):
        with socket.create_connection(("127.0.0.1", controller.port), timeout=10) as raw:
            raw.sendall(head.encode())
            assert raw.recv(4096).split(b" ")[1] == status
    assert "Traceback" not in controller.log()
