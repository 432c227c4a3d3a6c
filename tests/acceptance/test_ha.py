"""What operators see of a cluster and do to it: the HA status, the command line, and drains."""

import json
from collections.abc import Iterator

import pytest
import requests

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.ha import command, events, shown
from tests.acceptance.lab import Lab
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def test_a_killed_instance_is_shown_until_it_is_reaped(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    killed = b.health()["instance_id"]
    terminal = lab.open()
    own = a.health()["instance_id"]
    until(lambda: shown(lab.api)[own]["sessions"] == 1, "the session in the table")
    assert {each["status"] for each in shown(lab.api).values()} == {"healthy"}
    b.kill()
    until(lambda: shown(lab.api).get(killed, {}).get("status") == "late", "an overdue heartbeat")
    until(lambda: killed not in shown(lab.api), "the end of the dead instance")
    assert ("reaped", killed) in events(lab.api)
    until(lambda: a.health()["cluster"]["healthy_instances"] == 1, "health that knows")
    terminal.leave()


def test_an_instance_is_drained_through_another_one(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    drained = a.health()["instance_id"]
    terminal = lab.open(epoch=0, offset=0)
    assert cluster.keys(f"netstacks:*{drained}")
    lab.api.at(b).post(f"/api/v1/ha/instances/{drained}/drain", {})

    def is_draining() -> bool:
        # One request for both: the instance may end before the next one.
        answer = requests.get(f"{a.url}/api/v1/health", timeout=30)
        return (answer.json()["status"], answer.status_code) == ("draining", 503)

    until(is_draining, "health that says so")
    assert terminal.closed()[0] == 1012
    again = come_back(terminal, b, epoch=1, offset=len(terminal.output))
    assert again.info["epoch"] > 1
    assert a.process is not None
    assert a.process.wait(30) == 0
    assert cluster.keys(f"netstacks:*{drained}") == []
    told = events(lab.api.at(b))
    assert told.index(("left", drained)) < told.index(("draining", drained))
    rows = lab.api.at(b).get("/api/audit?event=instance.drain_requested")["items"]
    assert [(each["actor"], each["resource"]) for each in rows] == [("admin", f"instance:{drained}")]


def test_the_command_line_shows_and_drains(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    ids = sorted(each.health()["instance_id"] for each in (a, b))
    terminal = lab.open()
    status = command(a, "ha", "status")
    assert status.returncode == 0
    assert "2 of 2 instances are healthy" in status.stdout
    assert all(each in status.stdout for each in ids)
    assert (
        sorted(each["instance"]["id"] for each in json.loads(command(a, "ha", "status", "--json").stdout)["instances"])
        == ids
    )
    [session] = json.loads(command(a, "ha", "sessions", "--json").stdout)
    assert session["id"] == terminal.info["session_id"]
    assert terminal.info["session_id"] in command(a, "ha", "sessions").stdout
    assert "joined" in command(a, "ha", "events").stdout

    wrong = command(a, "ha", "drain", "ctrl-00000000")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "netstacks: there is no instance ctrl-00000000: it has left, or it was reaped\n"
    drained = b.health()["instance_id"]
    assert command(a, "ha", "drain", drained).returncode == 0
    assert b.process is not None
    assert b.process.wait(30) == 0
    last = command(a, "ha", "drain", a.health()["instance_id"])
    assert last.returncode == 1
    assert "the last healthy instance" in last.stderr
    cluster.valkey.stop()
    away = command(a, "ha", "status")
    assert away.returncode == 1
    assert away.stderr.startswith("netstacks: Valkey: ")
    assert away.stderr.count("\n") == 1


def test_an_instance_with_another_secret_stays_up_says_so_and_takes_nothing(cluster: Cluster, lab: Lab) -> None:
    a, _ = cluster.controllers
    stranger = Controller(
        cluster.database_url, **{**cluster.settings, "JWT_SECRET": "another secret of this test, long enough"}
    )
    stranger.start(wait_for="unhealthy")
    try:
        reason = "differs from the rest of the cluster: JWT_SECRET"
        until(lambda: stranger.health().get("reason") == reason, reason)
        health = requests.get(f"{stranger.url}/api/v1/health", timeout=5)
        assert health.status_code == 503
        listed = shown(lab.api)[health.json()["instance_id"]]
        assert listed["status"] == "refused"
        assert "JWT_SECRET" in listed["problem"]
        assert command(a, "ha", "status").returncode == 1
        refused = stranger.login().open(lab.device, lab.credential)
        refused.closed()
        assert any("JWT_SECRET" in text for text in refused.errors), refused.errors
        assert a.health()["cluster"]["healthy_instances"] == 2
    finally:
        stranger.kill()
        stranger.stop()
