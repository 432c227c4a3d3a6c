"""What operators see of a cluster and do to it: the HA status, the command line, and drains."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests

from netstacks.registry import keys
from tests.acceptance.ai import add_user
from tests.acceptance.cluster import HEARTBEAT_SECS, TTL_SECS, Cluster, come_back
from tests.acceptance.ha import command, events, lost, shown, status
from tests.acceptance.lab import Lab
from tests.acceptance.shells import STOPS, prints
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    # Half of a drain's time is a printing device's. A session whose client has gone stays longer than a test takes.
    with Cluster(postgres, 2, DRAIN_TIMEOUT_SECS="120", SESSION_DETACH_TTL_SECS="600") as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def test_a_killed_instance_stays_in_the_list_until_it_is_dismissed(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    own, killed = a.health()["instance_id"], b.health()["instance_id"]
    terminal = lab.open()
    followed, left_alone = (lab.at(b).open(epoch=0, offset=0) for _ in range(2))
    until(lambda: shown(lab.api)[own]["sessions"] == 1, "the session in the table")
    until(lambda: shown(lab.api)[killed]["sessions"] == 2, "the sessions of the other instance")
    until(lambda: status(lab.api)["cluster"]["condition"] == "healthy", "a healthy cluster")
    assert command(a, "ha", "status").returncode == 0

    b.kill()
    left_alone.vanish()
    come_back(followed, a, epoch=1, offset=len(followed.output))
    until(lambda: killed in lost(lab.api), "the lost instance")
    assert killed not in shown(lab.api)
    until(lambda: ("reaped", killed) in events(lab.api), "the event of its death")
    wanted = {"total": 2, "taken_over": 1, "waiting": 1, "ended": 0}
    until(lambda: lost(lab.api)[killed]["sessions"] == wanted, "what became of its sessions")
    # For a TTL after the start, this instance does not trust the absence of an owner.
    until(lambda: status(lab.api)["totals"]["sessions_without_owner"] is not None, "the sessions without an owner")
    seen = status(lab.api)
    [gone] = seen["lost"]
    assert gone["problem"].endswith("its 2 sessions: 1 taken over, 1 waiting for its user")
    assert (gone["reaped_by"], gone["proof"]) == (own, "refused")
    assert seen["totals"]["lost_instances"] == seen["totals"]["sessions_without_owner"] == 1
    assert seen["totals"]["total_sessions"] == 3
    assert seen["cluster"]["condition"] == "degraded"
    assert f"{killed} on " in seen["cluster"]["reason"]
    told = command(a, "ha", "status")
    assert told.returncode == 1
    assert "1 taken over, 1 waiting for its user" in told.stdout
    until(lambda: a.health()["cluster"]["healthy_instances"] == 1, "health that knows")
    # A lost peer is no fault of this instance.
    assert a.health()["status"] == "healthy"

    operator = add_user(lab.api, "an-operator")
    operator.call("DELETE", f"/api/v1/ha/lost/{killed}", expect=403)
    lab.api.call("DELETE", f"/api/v1/ha/lost/{killed}", expect=204)
    lab.api.call("DELETE", f"/api/v1/ha/lost/{killed}", expect=404)
    until(lambda: status(lab.api)["cluster"]["condition"] == "healthy", "a cluster of one")
    until(lambda: ("dismissed", killed) in events(lab.api), "the event of the dismissal")
    until(lambda: lab.api.get("/api/audit?event=instance.dismissed")["items"], "its audit row")
    [row] = lab.api.get("/api/audit?event=instance.dismissed")["items"]
    assert (row["actor"], row["resource"]) == ("admin", f"instance:{killed}")
    assert command(a, "ha", "status").returncode == 0
    terminal.leave()


def test_after_an_outage_of_valkey_no_living_instance_is_shown_as_stale(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    apis = (lab.api, lab.api.at(b))
    ids = sorted(each.health()["instance_id"] for each in (a, b))
    # Only one of them has been looked at when Valkey disappears.
    assert status(lab.api)["valkey"]["version"]
    frozen_until = time.monotonic() + TTL_SECS + 2 * HEARTBEAT_SECS
    cluster.valkey.freeze()
    conditions: set[str] = set()

    def watch() -> list[dict[str, Any]]:
        seen = [status(api) for api in apis]
        conditions.update(each["status"] for view in seen for each in view["instances"])
        assert all(sorted(each["id"] for each in view["instances"]) == ids for view in seen)
        return seen

    while time.monotonic() < frozen_until:
        watch()

    def disconnected() -> list[dict[str, Any]] | None:
        seen = watch()
        return seen if {view["valkey"]["connection"] for view in seen} == {"disconnected"} else None

    seen = until(disconnected, "that both miss it")
    for view in seen:
        assert view["seen_at"]
        assert view["cluster"]["reason"].startswith("Valkey does not answer")
    # The last figures stay, with their time.
    assert seen[0]["valkey"]["version"]
    assert seen[0]["valkey"]["seen_at"]
    cluster.valkey.thaw()
    back = f"heartbeats are judged again, {TTL_SECS} s after the return"
    back_at = until(
        lambda: all(view["cluster"]["condition"] == "healthy" for view in watch()) and time.monotonic(), back, 60
    )
    while time.monotonic() < back_at + TTL_SECS:
        watch()
    assert conditions <= {"healthy", "late"}
    assert status(lab.api)["lost"] == []
    kinds = [kind for kind, _ in events(lab.api)]
    assert "reaped" not in kinds


def test_an_operator_sees_everything_and_changes_nothing(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    terminal = lab.open(epoch=0, offset=0)
    operator = add_user(lab.api, "an-operator").at(b)
    viewer = add_user(lab.api, "a-viewer", role="viewer")
    owner, other = a.health()["instance_id"], b.health()["instance_id"]
    seen = status(operator)
    assert sorted(each["id"] for each in seen["instances"]) == sorted((owner, other))
    assert seen["valkey"]["connection"] == seen["database"]["connection"] == "connected"
    assert seen["valkey"]["role"] == "primary"
    assert seen["database"]["role"] == "primary"
    # Through the instance that does not own the session: its owner is asked.
    until(lambda: operator.get("/api/v1/ha/sessions")["items"][0]["bytes"], "the owner's figures")
    [session] = operator.get(f"/api/v1/ha/sessions?instance={owner}")["items"]
    assert (session["id"], session["owner"], session["viewers"]) == (terminal.info["session_id"], owner, 0)
    assert operator.get(f"/api/v1/ha/sessions?instance={other}") == {"items": [], "next": None}
    joined = operator.get(f"/api/v1/ha/events?kind=joined&instance={owner}")["items"]
    assert [each["text"] for each in joined] == [f"{owner} joined"]
    until(lambda: owner in operator.get("/api/v1/ha/history")["instances"], "the history")
    for method, path in (
        ("POST", f"/api/v1/ha/instances/{other}/drain"),
        ("DELETE", f"/api/v1/ha/instances/{other}/drain"),
        ("POST", f"/api/v1/ha/sessions/{session['id']}/move"),
        ("DELETE", f"/api/v1/ha/lost/{other}"),
    ):
        operator.call(method, path, json={}, expect=403)
    for name in ("status", "stream", "history", "events", "sessions"):
        viewer.call("GET", f"/api/v1/ha/{name}", expect=403)
    text = json.dumps(seen)
    assert not any(secret in text for secret in (cluster.database_url, "JWT_SECRET", a.environ["JWT_SECRET"]))
    terminal.leave()


def test_the_stream_sends_changes_and_ends_when_the_permission_is_withdrawn(cluster: Cluster, lab: Lab) -> None:
    _, b = cluster.controllers
    operator = add_user(lab.api, "an-operator").at(b)
    headers = {"Authorization": f"Bearer {operator.token}"}
    url = f"{b.url}/api/v1/ha/stream"
    with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b"retry: 1000"
        views = (json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: "))
        assert next(views)["totals"]["total_sessions"] == 0
        terminal = lab.open(epoch=0, offset=0)
        assert any(view["totals"]["total_sessions"] == 1 for view in views)
        [user] = [each for each in lab.api.get("/api/users")["items"] if each["username"] == "an-operator"]
        lab.api.call("PUT", f"/api/users/{user['id']}", json={**user, "role": "viewer"})
        # It ends instead of sending on until the time-out of this request.
        for _ in views:
            pass
    terminal.leave()


def test_an_instance_is_drained_through_another_one(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    drained = a.health()["instance_id"]
    terminal = lab.open(epoch=0, offset=0)
    # Work that the drain waits for: the instance does not end meanwhile.
    terminal.type(prints("working"))
    terminal.expect("working\r\n")
    assert cluster.keys(f"netstacks:*{drained}")
    lab.api.at(b).post(f"/api/v1/ha/instances/{drained}/drain", {})

    def is_draining() -> bool:
        # One request for both: the instance may end before the next one.
        answer = requests.get(f"{a.url}/api/v1/health", timeout=30)
        return (answer.json()["status"], answer.status_code) == ("draining", 503)

    until(is_draining, "health that says so")
    # It leaves on purpose.
    assert lab.api.at(b).get("/api/v1/ha/status")["cluster"]["condition"] == "healthy"
    terminal.type(STOPS)
    assert terminal.closed(90)[0] == 1012
    again = come_back(terminal, b, epoch=1, offset=len(terminal.output))
    assert again.info["epoch"] > 1
    assert a.process is not None
    assert a.process.wait(60) == 0
    # Its history stays for two hours, if it has lived long enough to have one.
    assert set(cluster.keys(f"netstacks:*{drained}")) <= {keys.samples(drained)}
    # A view of a moment ago is shown again for a second.
    until(lambda: ("left", drained) in events(lab.api.at(b)), "its farewell")
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
    until(lambda: " active " in command(a, "ha", "sessions").stdout, "a session with its client")
    [session] = json.loads(command(a, "ha", "sessions", "--json").stdout)
    assert session["id"] == terminal.info["session_id"]
    assert terminal.info["session_id"] in command(a, "ha", "sessions").stdout
    assert "joined" in command(a, "ha", "events").stdout
    terminal.vanish()
    until(lambda: " detached " in command(a, "ha", "sessions").stdout, "a session without its client")

    wrong = command(a, "ha", "drain", "ctrl-00000000")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "netstacks: there is no instance ctrl-00000000: it has left, or it was reaped\n"
    drained = b.health()["instance_id"]
    assert command(a, "ha", "drain", drained).returncode == 0
    assert b.process is not None
    assert b.process.wait(60) == 0
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
        health = requests.get(f"{stranger.url}/api/v1/health", timeout=30)
        assert health.status_code == 503
        instance_id = health.json()["instance_id"]
        # Its next heartbeat says so.
        until(lambda: shown(lab.api).get(instance_id, {}).get("status") == "refused", "its row")
        assert "JWT_SECRET" in shown(lab.api)[instance_id]["problem"]
        assert command(a, "ha", "status").returncode == 1
        refused = stranger.login().open(lab.device, lab.credential)
        refused.closed()
        assert any("JWT_SECRET" in text for text in refused.errors), refused.errors
        assert a.health()["cluster"]["healthy_instances"] == 2
    finally:
        stranger.kill()
        stranger.stop()


def test_an_instance_that_cannot_serve_is_unhealthy_everywhere_and_gets_no_sessions(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    unfit = Controller("postgresql://nobody@127.0.0.1:1/none", **cluster.settings)
    unfit.start(wait_for="unhealthy")
    try:
        # Absent until the first facts are gathered.
        unfit_id = until(lambda: unfit.health().get("instance_id"), "its id")
        until(lambda: unfit_id in shown(lab.api), "its row")
        row = shown(lab.api)[unfit_id]
        assert row["status"] == row["condition"] == "unhealthy"
        assert row["problem"].startswith("starting")
        seen = status(lab.api)
        assert (seen["totals"]["registered_instances"], seen["totals"]["healthy_instances"]) == (3, 2)
        assert f"{unfit_id} on " in seen["cluster"]["reason"]
        until(lambda: a.health()["cluster"]["registered_instances"] == 3, "health that knows it")
        assert a.health()["cluster"]["healthy_instances"] == 2
        told = command(a, "ha", "status")
        assert told.returncode == 1
        assert "unhealthy" in told.stdout
        foreseen = lab.api.get(f"/api/v1/ha/instances/{a.health()['instance_id']}/forecast")
        assert [each["instance_id"] for each in foreseen["targets"]] == [b.health()["instance_id"]]
    finally:
        unfit.kill()
        unfit.stop()


def test_a_valkey_that_takes_no_heartbeats_is_named_with_its_reason(cluster: Cluster, lab: Lab) -> None:
    controllers = cluster.controllers
    with redis.Redis.from_url(cluster.valkey.url) as client:
        client.config_set("min-replicas-to-write", 1)
        for each in controllers:
            until(lambda each=each: "too few replicas" in each.health().get("reason", ""), "the reason")
            assert (each.health()["status"], each.health()["valkey"]) == ("degraded", "connected")
            assert each.health()["degraded"] == ["lease"]
        told = "Valkey takes no heartbeats: it refuses changes because too few replicas"
        until(lambda: told in (status(lab.api)["cluster"]["reason"] or ""), "the reason of the cluster")
        assert status(lab.api)["valkey"]["connection"] == "connected"
        client.config_set("min-replicas-to-write", 0)
    until(lambda: all(each.health()["status"] == "healthy" for each in controllers), "healthy again", 60)
    until(lambda: {each["status"] for each in shown(lab.api).values()} == {"healthy"}, "healthy rows")
