"""What administrators do to a running cluster: drains with a cancel, moves of single sessions, forecasts, watching."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.ha import command, events, shown
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import (
    NEW_SHELL,
    WAITING,
    Viewer,
    claimed,
    goes_on,
    is_served,
    opened,
    share,
    told,
    watching,
)
from tests.acceptance.shells import STOPS, prints, quiet, types_on
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2, DRAIN_TIMEOUT_SECS="120") as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def id_of(controller: Controller) -> str:
    return str(controller.health()["instance_id"])


def drain_path(instance_id: str) -> str:
    return f"/api/v1/ha/instances/{instance_id}/drain"


def session_path(terminal: Terminal, action: str) -> str:
    return f"/api/v1/ha/sessions/{terminal.info['session_id']}/{action}"


def printing(lab: Lab) -> Terminal:
    """A terminal whose device prints until it is typed STOPS: it is handed over last, after half of the window."""
    terminal = lab.open(epoch=0, offset=0)
    terminal.type(prints("tick"))
    terminal.expect("tick\r\n")
    return terminal


def owner_of(lab: Lab, terminal: Terminal) -> Any:
    found = lab.api.get("/api/sessions?state=live")["items"]
    return next(each["owner"] for each in found if each["id"] == terminal.info["session_id"])


def back(terminal: Terminal, *via: Controller) -> Terminal:
    return come_back(terminal, *via, epoch=terminal.info["epoch"], offset=len(terminal.output))


def test_a_drain_is_cancelled_in_the_middle_and_a_second_one_works(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    drained = id_of(a)
    idle = [quiet(lab.open(epoch=0, offset=0)) for _ in range(3)]
    busy = [printing(lab) for _ in range(3)]
    lab.api.at(b).post(drain_path(drained), {})
    for terminal in idle:
        assert terminal.closed()[0] == 1012
    assert a.health()["status"] == "draining"
    assert all(terminal.close is None for terminal in busy)

    answer = lab.api.at(b).call("DELETE", drain_path(drained), expect=200)
    assert answer == {"instance_id": drained, "state": "active"}
    assert a.health()["status"] == "healthy"
    until(lambda: shown(lab.api.at(b))[drained]["status"] == "healthy", "the table of the other instance")
    for terminal in busy:
        assert terminal.close is None
        terminal.type(STOPS)
    types_on(*busy)
    again = [back(terminal, b) for terminal in idle]
    types_on(*again)
    for terminal, former in zip(again, idle, strict=True):
        assert terminal.info["session_id"] == former.info["session_id"]
        # The release and the claim each begin an epoch.
        assert terminal.info["epoch"] == 3
    types_on(lab.open())
    until(lambda: ("drain_cancelled", drained) in events(lab.api.at(b)), "the event drain_cancelled")
    told = events(lab.api.at(b))
    assert told.index(("drain_cancelled", drained)) < told.index(("draining", drained))
    rows = lab.api.at(b).get("/api/audit?event=instance.drain_cancelled")["items"]
    assert [(each["actor"], each["resource"]) for each in rows] == [("admin", f"instance:{drained}")]
    nothing = lab.api.at(b).call("DELETE", drain_path(drained), expect=409)
    assert "not draining" in nothing["error"]

    # The heartbeats since then have not begun the drain anew, so the second one is a new one.
    assert a.health()["status"] == "healthy"
    lab.api.at(b).post(drain_path(drained), {})
    for terminal in busy:
        assert terminal.closed()[0] == 1012
    assert a.process is not None
    assert a.process.wait(60) == 0
    types_on(*(back(terminal, b) for terminal in busy), *again)
    gone = lab.api.at(b).call("DELETE", drain_path(drained), expect=404)
    assert "it has left" in gone["error"]


def test_a_drain_is_cancelled_on_the_page_of_the_instance_itself_while_valkey_is_away(
    cluster: Cluster, lab: Lab
) -> None:
    a, b = cluster.controllers
    terminal = printing(lab)
    lab.api.post(drain_path(id_of(a)), {})
    until(lambda: a.health()["status"] == "draining", "the drain")
    until(lambda: shown(lab.api.at(b))[id_of(a)]["status"] == "draining", "the table")
    cluster.valkey.stop()
    until(lambda: a.health()["valkey"] == "disconnected", "the loss of Valkey", 60)
    lab.api.call("DELETE", drain_path(id_of(a)), expect=200)
    assert a.health()["status"] == "degraded"
    cluster.valkey.start()
    # The registry has kept the drain: it must not begin anew.
    until(lambda: shown(lab.api.at(b)).get(id_of(a), {}).get("status") == "healthy", "the table", 60)
    until(lambda: a.health()["status"] == "healthy", "health")
    assert terminal.close is None
    terminal.type(STOPS)
    types_on(terminal)


def test_the_command_line_cancels_a_drain(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    drained = id_of(a)
    nothing = command(b, "ha", "drain", drained, "--cancel")
    assert (nothing.returncode, "is not draining" in nothing.stderr) == (1, True)
    terminal = printing(lab)
    assert command(b, "ha", "drain", drained).returncode == 0
    until(lambda: a.health()["status"] == "draining", "the drain")
    assert command(b, "ha", "drain", drained, "--cancel").returncode == 0
    until(lambda: a.health()["status"] == "healthy", "the end of the drain")
    until(lambda: ("drain_cancelled", drained) in events(lab.api), "the event drain_cancelled")
    assert terminal.close is None
    terminal.type(STOPS)
    types_on(terminal)


def test_the_drain_of_sigterm_cannot_be_cancelled_and_the_last_instance_is_drained_only_by_force(
    cluster: Cluster, lab: Lab
) -> None:
    a, b = cluster.controllers
    first, last = id_of(a), id_of(b)
    terminal = printing(lab)
    a.terminate()
    until(lambda: a.health()["status"] == "draining", "the drain")
    for api in (lab.api, lab.api.at(b)):
        assert "SIGTERM" in api.call("DELETE", drain_path(first), expect=409)["error"]
    until(lambda: shown(lab.api.at(b))[first]["status"] == "draining", "the table")
    refused = lab.api.at(b).post(drain_path(last), {}, expect=409)
    assert "the last healthy instance" in refused["error"]
    assert terminal.close is None
    terminal.type(STOPS)
    assert terminal.closed(90)[0] == 1012
    assert a.process is not None
    assert a.process.wait(60) == 0


def test_a_session_that_is_moved_away_goes_on_at_another_instance(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    terminal = quiet(lab.open(epoch=0, offset=0))
    terminal.type("seq 100000 104000\r")
    terminal.expect("104000\r\n")
    assert owner_of(lab, terminal) == id_of(a)
    answer = lab.api.at(b).post(session_path(terminal, "move"), {}, expect=202)
    assert answer == {"session_id": terminal.info["session_id"], "state": "moving"}
    assert terminal.closed() == (1012, "moved to another instance by admin")
    # Through the instance that must not take it back.
    again = back(terminal, a)
    assert again.info["session_id"] == terminal.info["session_id"]
    assert (again.info["epoch"], again.info["offset"]) == (3, len(terminal.output))
    assert again.token == terminal.token
    assert owner_of(lab, again) == id_of(b)
    quiet(again).type("seq 200000 200500\r")
    again.expect("200500\r\n")
    assert b"".join(b"%d\r\n" % number for number in range(200_000, 200_501)) in again.output
    assert NEW_SHELL in again.notices
    until(lambda: ("moved", id_of(a)) in events(lab.api), "the event moved")
    [row] = lab.api.get("/api/audit?event=session.moved")["items"]
    assert (row["actor"], row["resource"]) == ("admin", f"session:{terminal.info['session_id']}")
    again.leave()
    wanted = terminal.output + again.output
    until(lambda: wanted in recorded(lab, terminal), "every byte in the recording")


def test_viewers_and_shares_stay_with_a_session_that_is_moved(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    terminal = opened(lab)
    token = share(terminal, permission="read-write")
    viewers = [Viewer(via, token).joined() for via in (a, b)]
    lab.api.at(b).post(session_path(terminal, "move"), {}, expect=202)
    for each in viewers:
        told(each, WAITING)
        is_served(each)
    again = claimed(terminal, a)
    assert owner_of(lab, again) == id_of(b)
    goes_on(again, *viewers)
    assert {each["viewer_id"] for each in watching(again)} == {each.info["viewer_id"] for each in viewers}
    # The link still leads to the session, also through the instance that it has left.
    guest = Viewer(a, token).joined()
    guest.type("echo fr''om the guest\r")
    again.expect("from the guest")


def test_an_older_connection_does_not_take_a_moved_session_from_the_newer_one(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    terminal = quiet(lab.open(epoch=0, offset=0))
    b.freeze()
    try:
        lab.api.post(session_path(terminal, "move"), {}, expect=202)
        assert terminal.closed()[0] == 1012
        query = {"reconnect_token": terminal.token, "epoch": "1", "offset": str(len(terminal.output))}
        older, newer = (Terminal(lab.api.at(a), query) for _ in range(2))
        assert older.closed() == (4003, "this terminal was opened elsewhere")
    finally:
        b.thaw()
    until(lambda: newer.info, "SessionInfo", 90)
    types_on(newer)


def recorded(lab: Lab, terminal: Terminal) -> bytes:
    """The device's output in the recording."""
    cast = lab.api.get(f"/api/recordings/{terminal.info['session_id']}/data")
    lines = [json.loads(line) for line in cast.splitlines()[1:]]
    return "".join(text for _, kind, text in lines if kind == "o").encode()


def test_a_session_is_not_moved_when_no_other_instance_could_take_it(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    terminal = quiet(lab.open(epoch=0, offset=0))
    b.terminate()
    assert b.process is not None
    b.process.wait(60)
    until(lambda: len(shown(lab.api)) == 1, "the end of the other instance")
    until(lambda: a.health()["cluster"]["registered_instances"] == 1, "health that knows")
    refused = lab.api.post(session_path(terminal, "move"), {}, expect=409)
    assert "the only healthy instance" in refused["error"]
    assert "the only healthy instance" in lab.api.get(session_path(terminal, "forecast"))["warning"]
    types_on(terminal)


def test_a_moved_session_is_claimed_again_here_when_the_others_are_gone(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    terminal = quiet(lab.open(epoch=0, offset=0))
    b.freeze()
    try:
        lab.api.post(session_path(terminal, "move"), {}, expect=202)
        assert terminal.closed()[0] == 1012
        again = come_back(terminal, a, epoch=1, offset=len(terminal.output), timeout_secs=90)
        assert again.info["epoch"] == 3
        types_on(again)
    finally:
        b.thaw()


def test_the_forecast_names_what_a_drain_would_cost(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    idle, configuring, commits, busy = (lab.open(epoch=0, offset=0) for _ in range(4))
    quiet(idle)
    configuring.type("PS1='R1(config-''if)#'; stty -echo\r")
    configuring.expect("R1(config-if)#")
    commits.type("PS1='lab@mx# '; commit() { echo commit ''complete; }\r")
    commits.expect("lab@mx# ")
    commits.type("commit confirmed 5\r")
    commits.expect("commit complete\r\n")
    busy.type(prints("tick"))
    busy.expect("tick\r\n")
    lost = lab.open()
    lost.vanish()
    path = f"/api/v1/ha/instances/{id_of(a)}/forecast"

    def forecast() -> dict[str, Any]:
        found: dict[str, Any] = lab.api.at(b).get(path)
        return found

    expected = {commits: "commit-confirmed", configuring: "configuration", busy: "output"}
    wanted = {terminal.info["session_id"]: kind for terminal, kind in expected.items()}

    def foreseen() -> dict[str, Any] | None:
        found = forecast()
        risks = {each["session_id"]: each["risk"] for each in found["at_risk"]}
        return found if risks == wanted and found["detached"] == 1 else None

    found = until(foreseen, "the risks of the sessions that are not silent, and the lost client")
    assert [each["risk"] for each in found["at_risk"]] == ["commit-confirmed", "configuration", "output"]
    assert (found["instance_id"], found["sessions"], found["attached"]) == (id_of(a), 5, 4)
    assert (found["has_secs"], found["is_too_short"]) == (110.0, False)
    assert [(each["instance_id"], each["sessions"]) for each in found["targets"]] == [(id_of(b), 4)]
    assert "1 session has a confirmed commit under way" in found["warning"]
    assert {each["username"] for each in found["at_risk"]} == {"admin"}
    until(lambda: "rolls it back at " in forecast()["at_risk"][0]["text"], "the time of the rollback")
    # The instance itself answers the same.
    assert lab.api.get(path)["sessions"] == 5
    single = lab.api.at(b).get(session_path(configuring, "forecast"))
    assert [each["risk"] for each in single["at_risk"]] == ["configuration"]
    assert (single["instance_id"], single["username"]) == (id_of(a), "admin")


def test_an_administrator_watches_and_ends_a_session_and_its_user_is_told(cluster: Cluster, lab: Lab) -> None:
    b = cluster.controllers[1]
    terminal = opened(lab)
    answer = lab.api.at(b).post(session_path(terminal, "watch"), {}, expect=201)
    terminal.expect("administrator admin may watch this session for the next 60 minutes")
    token = answer["share_url"].partition("#")[2]
    viewer = Viewer(b, token).joined()
    assert viewer.info["permission"] == "read-only"
    types_on(terminal)
    viewer.expect("typed-")
    second = Viewer(b, token)
    assert "viewer limit" in " ".join(until(lambda: second.errors, "a refusal"))
    rows = lab.api.get("/api/audit?event=session.watched")["items"]
    assert [(each["actor"], each["resource"]) for each in rows] == [("admin", f"session:{terminal.info['session_id']}")]
    lab.api.at(b).call("DELETE", f"/api/sessions/{terminal.info['session_id']}", expect=204)
    assert terminal.ended() == "ended by admin"
    assert "ended by admin" in viewer.closed()[1]
