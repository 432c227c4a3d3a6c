"""Limits of sessions and recordings for each user, on real instances."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import Lab, make_lab
from tests.acceptance.recorded import verified
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd

LIMIT = 200_000
UNRECORDED = b"is reached: from here on this session is not recorded]"
STOPS = "recording stops here: the limit of 195.3 KiB for the recording of one session is reached"


def events(lab: Lab, terminal: Terminal, kind: str) -> list[str]:
    """The events of one kind in the recording of a terminal's session; "m" are the recording's own notes."""
    lines = lab.api.get(f"/api/recordings/{terminal.info['session_id']}/data").splitlines()
    return [event[2] for event in map(json.loads, lines[1:]) if event[1] == kind]


def limited(lab: Lab) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lab.api.get("/api/audit?event=recording.limit_reached")["items"]
    return rows


def test_a_user_has_no_more_sessions_at_all_instances_together_and_keeps_those_that_there_are(
    postgres: Postgres, sshd: Sshd
) -> None:
    with Cluster(postgres, 2, USER_SESSIONS_MAX="2") as cluster:
        a, b = cluster.controllers
        lab = cluster.lab(sshd)
        first, _ = lab.open(), lab.at(b).open()
        for instance in (a, b):
            third = lab.at(instance).api.open(lab.device, lab.credential)
            assert "you have 2 sessions, the limit for one user" in third.refused()
            third.leave()
        first.vanish()
        first = first.again(b).connected()
        first.type("exit\r")
        first.ended()
        until(lambda: len(lab.api.get("/api/sessions?state=live")["items"]) == 1, "the end of one session")
        lab.at(b).open().leave()


def test_a_recording_at_its_limit_stops_in_words_verifies_and_stays_so_with_the_next_owner(
    postgres: Postgres, sshd: Sshd
) -> None:
    settings = {"RECORDING_SESSION_MAX_BYTES": str(LIMIT), "RECORDING_LIMIT_ACTION": "unrecorded"}
    with Cluster(postgres, 2, USER_SESSIONS_MAX="1", **settings) as cluster:
        a, b = cluster.controllers
        lab = cluster.lab(sshd)
        terminal = lab.open()
        terminal.type("stty -echo; seq 1 100000; echo e''nd\r")
        terminal.expect("end\r\n", 60)
        until(lambda: terminal.output.count(UNRECORDED) == 1, "the line about the recording")
        terminal.type("echo still he''re\r")
        terminal.expect("still here")
        at_b = lab.at(b)
        until(lambda: STOPS in " ".join(events(at_b, terminal, "m")), "the note in the recording")
        a.kill()
        terminal.closed()
        again = come_back(terminal, b)
        again.type("echo mo''re; seq 1 1000\r")
        again.expect("more")
        until(lambda: again.output.count(UNRECORDED) == 1, "the line about the recording")
        again.type("exit\r")
        again.ended()
        until(lambda: any("ended" in note for note in events(at_b, terminal, "m")), "the end of the recording")
        recorded = "".join(events(at_b, terminal, "o"))
        assert "still here" not in recorded
        assert len(recorded) < LIMIT + 70_000
        assert "1 recordings, 0 broken" in verified(b)


@pytest.fixture(scope="module")
def strict(postgres: Postgres) -> Iterator[Controller]:
    """An instance whose sessions end with their recordings, on a disk without room."""
    controller = Controller(
        postgres.create_database(), RECORDING_USER_DAILY_BYTES=str(LIMIT), DISK_FREE_MIN_BYTES=str(2**62)
    )
    yield controller.start(wait_for="degraded")
    controller.stop()


def test_a_day_that_is_used_up_ends_the_sessions_of_its_user_and_opens_no_more(strict: Controller, sshd: Sshd) -> None:
    lab = make_lab(strict.login(), sshd)
    terminal = lab.open()
    terminal.type("seq 1 100000\r")
    assert "recorded for one user in a day (UTC) is reached" in terminal.ended()
    terminal.leave()
    until(lambda: limited(lab), "the audit row")

    def refusal() -> str:
        another = lab.api.open(lab.device, lab.credential)
        until(lambda: b"Press Enter" in another.output, "an answer")
        text = another.output.decode()
        another.leave()
        return text

    until(lambda: "connect again after 00:00 UTC" in refusal(), "a refusal in words")
    lab.api.post("/api/users", {"username": "bob", "password": "battery staple correct horse", "role": "operator"})
    bob = strict.login("bob", "battery staple correct horse")
    free = bob.open(lab.device, lab.credential).connected()
    free.type("echo fr''ee\r")
    free.expect("free")
    free.leave()


def test_an_instance_whose_disk_is_nearly_full_says_so_and_serves(strict: Controller) -> None:
    health = strict.health()
    assert (health["status"], health["degraded"]) == ("degraded", ["disk"])
    assert "DISK_FREE_MIN_BYTES" in health["reason"]
    assert strict.login().get("/api/sessions")["items"]
