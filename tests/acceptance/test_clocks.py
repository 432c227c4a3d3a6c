"""Instances whose hosts have no time service serve each other all the same, and say how far their clocks differ."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.ha import command, events, shown
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import Viewer, share, shares_path
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

needs_faketime = pytest.mark.skipif(not os.path.exists(FAKETIME), reason="needs Debian's faketime")
pytestmark = needs_faketime


def off_by(secs: int) -> dict[str, str]:
    """The settings of a process whose clock is ahead by `secs`; its durations are right."""
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{secs:+d}s"}


@pytest.fixture(scope="module", params=[40, -290], ids=["ahead", "behind"])
def skew_secs(request: pytest.FixtureRequest) -> int:
    secs: int = request.param
    return secs


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, skew_secs: int) -> Iterator[Cluster]:
    """Two instances; the clock of the second one is off."""
    cluster = Cluster(postgres, 2)
    cluster.controllers[1].environ |= off_by(skew_secs)
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def test_a_terminal_goes_on_through_an_instance_with_another_clock(cluster: Cluster, lab: Lab) -> None:
    for owner, other in (cluster.controllers, cluster.controllers[::-1]):
        api = lab.api.at(owner)
        terminal = api.open(lab.device, lab.credential).connected()
        again = terminal.again(other).connected()
        assert again.info["session_id"] == terminal.info["session_id"]
        again.type("echo by-$((6*7))-way\n")
        again.expect("by-42-way")
        again.leave()


def test_the_difference_is_shown_told_once_and_kept_as_an_event(cluster: Cluster, lab: Lab, skew_secs: int) -> None:
    right, off = cluster.controllers
    ids = [each.health()["instance_id"] for each in cluster.controllers]

    def tells(text: str) -> bool:
        """Whether it has the difference in words; a busy host measures it by half a second wrong."""
        found = re.findall(rf"\b([\d.]+) s {'ahead' if skew_secs > 0 else 'behind'}", text)
        return any(float(secs) == pytest.approx(abs(skew_secs), abs=1) for secs in found)

    def seen(controller: Controller, instance_id: str) -> Any:
        return until(lambda: shown(lab.api.at(controller))[instance_id]["clock_skew_secs"], "a measurement")

    assert seen(right, ids[1]) == pytest.approx(skew_secs, abs=1)
    assert seen(off, ids[0]) == pytest.approx(-skew_secs, abs=1)
    warning = lab.api.get("/api/v1/ha/status")["clocks"]["warning"]
    assert f"{ids[1]} on " in warning
    assert tells(warning), warning

    until(lambda: ("clock", ids[1]) in events(lab.api), "the event")
    recorded = command(right, "ha", "events").stdout
    assert tells(recorded), recorded
    assert right.log().count("clock.differs") == 1
    assert "peer token" not in right.log() + off.log()

    doctor = command(right, "doctor", "--json")
    assert doctor.returncode == 1, doctor.stdout
    [found] = [each for each in json.loads(doctor.stdout) if each["level"] != "ok"]
    assert ids[1] in found["what"]
    assert tells(found["what"]), found
    assert "run a time service" in found["do"]


def test_log_ins_of_one_instance_are_good_at_the_other(cluster: Cluster, lab: Lab) -> None:
    for issuer, other in (cluster.controllers, cluster.controllers[::-1]):
        api = issuer.login().at(other)
        assert api.get("/api/auth/me")["username"] == "admin"
        refreshed = api.post("/api/auth/refresh", {"refresh_token": api.refresh_token})
        assert refreshed["access_token"]


def test_a_share_of_five_minutes_can_be_joined_through_either_instance(cluster: Cluster, lab: Lab) -> None:
    terminal = lab.open()
    token = share(terminal, ttl_minutes=5)
    for controller in cluster.controllers:
        # The viewer of before has left; its instance may notice later.
        path = f"{shares_path(terminal)}/{token}"
        until(lambda at=controller, path=path: lab.api.at(at).get(path)["viewer_count"] == 0, "no viewer")
        Viewer(controller, token).joined().leave()
    terminal.leave()
