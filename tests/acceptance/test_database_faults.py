"""Terminals go on while the database is stopped, killed, frozen or locked."""

import subprocess
import sys

import psycopg
import pytest

from tests.acceptance.diagnosis import doctor, fault, reason
from tests.acceptance.lab import Lab, make_lab
from tests.acceptance.recorded import verified
from tests.controller import ROOT, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.mark.parametrize("fault", ["stop", "kill", "freeze"])
def test_terminals_refresh_and_resume_go_on_without_a_database(
    own: tuple[Controller, Lab], own_postgres: Postgres, fault: str
) -> None:
    controller, lab = own
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("stty -echo; PS1=; clear; echo be''fore\r")
    terminal.expect("before\r\n")
    getattr(own_postgres, fault)()
    until(lambda: controller.health().get("database") == "disconnected", "health that misses the database", 60)
    assert controller.health()["status"] == "degraded"

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
    until(lambda: b"held back" in again.notices, "the notice that the device is held back", 120)
    own_postgres.thaw() if fault == "freeze" else own_postgres.start()
    again.expect("finished\r\n", 120)
    until(lambda: controller.health().get("status") == "healthy", "healthy again", 60)
    until(lambda: b"recording goes on" in again.notices, "the notice that the recording goes on")
    # Unlike a shell, which may still say that it was ended, this one prints nothing more.
    again.type("exec sh -c 'echo silent-$((1+1)); exec cat'\r")
    again.expect("silent-2\r\n")
    whole += again.output
    assert b"".join(b"%d\r\n" % number for number in range(1, 900_001)) in whole
    session_id = again.info["session_id"]
    lab.api.call("DELETE", f"/api/sessions/{session_id}", expect=204)
    until(lambda: lab.api.get(f"/api/recordings/{session_id}")["state"] == "ended", "the end of the recording")
    assert "1 recordings, 0 broken" in verified(controller)
    with psycopg.connect(controller.environ["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT max(end_offset) FROM recording_chunks").fetchone()
    assert row == (len(whole),)

    def events() -> set[str]:
        return {row["event"] for row in lab.api.get("/api/audit")["items"]}

    until(lambda: {"session.opened", "session.closed"} <= events(), "the audit rows")


def test_after_a_table_was_locked_until_every_time_limit_had_passed_the_database_is_back(
    own_postgres: Postgres, sshd: Sshd
) -> None:
    controller = Controller(own_postgres.create_database(), SESSION_DETACH_TTL_SECS="60").start()
    try:
        lab = make_lab(controller.login(), sshd)
        terminal = lab.open(epoch=0, offset=0)
        with psycopg.connect(controller.environ["DATABASE_URL"]) as connection:
            connection.execute("LOCK TABLE sessions, logins, devices")
            crowd = subprocess.Popen(
                [sys.executable, "-c", _CROWD, controller.url, lab.api.token, "18"], cwd=ROOT, stdout=subprocess.PIPE
            )
            answers, _ = crowd.communicate(timeout=180)
            terminal.type("echo mean''while\r")
            terminal.expect("meanwhile")
            assert controller.health()["database"] == "connected"
            # Busy, and reported as busy: no session was taken for gone, and no request failed otherwise.
            assert set(answers.split()) <= {b"503", b"200"}
            assert b"503" in answers
            connection.rollback()
        until(lambda: len(lab.api.get("/api/sessions")["items"]) == 1, "the list")
        terminal.vanish()
        again = terminal.again(epoch=1, offset=len(terminal.output)).connected()
        again.type("echo bac''k\r")
        again.expect("back")
        until(lambda: controller.health().get("status") == "healthy", "healthy again")
    finally:
        controller.stop()


def test_a_database_that_refuses_the_controller_is_named(postgres: Postgres) -> None:
    controller = Controller(postgres.url("no_such_database"))
    try:
        controller.start(wait_for="unhealthy")
        reason(
            controller, 'PostgreSQL refuses the connection: database "no_such_database" does not exist', "pg_hba.conf"
        )
        fault(doctor(controller), "PostgreSQL", 'database "no_such_database" does not exist', "DATABASE_URL")
    finally:
        controller.stop()


# Three hundred at a time, for so many seconds.
_CROWD = """
import sys, threading, time, requests
url, token, secs = sys.argv[1], sys.argv[2], float(sys.argv[3])
ends_at, seen = time.monotonic() + secs, set()
def ask():
    while time.monotonic() < ends_at:
        answer = requests.get(url + "/api/sessions", headers={"Authorization": "Bearer " + token}, timeout=60)
        seen.add(answer.status_code)
        if answer.status_code == 503:
            assert "Retry-After" in answer.headers
            time.sleep(0.05)
threads = [threading.Thread(target=ask) for _ in range(300)]
for each in threads: each.start()
for each in threads: each.join()
print(*sorted(seen))
"""
