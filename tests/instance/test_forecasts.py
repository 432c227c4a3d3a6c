"""Forecasts of an instance: which of its sessions are at risk, and how much work is spent on them."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Snapshot
from netstacks.instance import forecasts as module
from netstacks.instance.forecasts import Forecasts
from netstacks.recording.chunks import Event, EventKind, make_chunk
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import Recording
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.terminal import risk
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session
from tests.cluster.facts import instance
from tests.terminal.test_hub import add

NOWHERE = Database("postgresql://nobody@127.0.0.1:1/x")
COMMIT = b"lab@mx# commit confirmed 5\r\ncommit complete\r\nlab@mx> "


@pytest.fixture(autouse=True)
def time_to_examine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of this machine leaves all sessions the time to be examined, and makes no device silent."""
    monkeypatch.setattr(module, "_EXAMINE_SECS", 60.0)
    monkeypatch.setattr(risk, "OUTPUT_SECS", 60.0)


@pytest.fixture
def hub() -> Hub:
    return Hub(DeferredWrites(NOWHERE), detach_ttl_secs=60, close_grace_secs=10)


def of_instance(hub: Hub, **options: Any) -> dict[str, Any]:
    return forecasts(hub, **options).of_instance()


def forecasts(hub: Hub, **options: Any) -> Forecasts:
    each = [instance(name, last_heartbeat_at=1000.0, opens_per_sec=20.0) for name in ("me", "b")]
    agent = SimpleNamespace(me=each[0], snapshot=Snapshot(1000.0, {one.id: one for one in each}))
    return Forecasts(hub, cast(Any, agent), NOWHERE, drain_timeout_secs=20.0, ttl_secs=30.0, **options)


def shows(hub: Hub, name: str, output: bytes, *, attached: bool = True) -> Session:
    """A session whose device has printed this, a minute ago."""
    session = add(hub, name, attached=attached, silent_secs=60)
    session.take(output)
    session.recording.printed_at -= 60
    return session


def test_the_gravest_risks_come_first_and_silent_sessions_are_none(hub: Hub) -> None:
    shows(hub, "silent", b"R1#")
    add(hub, "busy", attached=False, silent_secs=0)
    shows(hub, "configures", b"R1(config)#")
    shows(hub, "commits", COMMIT)
    found = of_instance(hub)
    assert [(each["device_name"], each["risk"]) for each in found["at_risk"]] == [
        ("commits", "commit-confirmed"),
        ("configures", "configuration"),
        ("busy", "output"),
    ]
    assert (found["sessions"], found["attached"], found["detached"]) == (4, 3, 1)
    assert [(each["instance_id"], each["sessions"]) for each in found["targets"]] == [("b", 3)]
    assert (found["has_secs"], found["is_too_short"]) == (10.0, False)


def test_an_instance_without_sessions_has_nothing_to_warn_of(hub: Hub) -> None:
    found = of_instance(hub)
    assert (found["sessions"], found["at_risk"], found["warning"]) == (0, [], None)


def test_viewers_at_one_time_share_a_forecast(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    shows(hub, "configures", b"R1(config)#")
    examined = 0

    def examine(*_: object) -> tuple[list[tuple[Session, Any]], int]:
        nonlocal examined
        examined += 1
        greenlets.sleep(0)
        return [], 0

    monkeypatch.setattr(Forecasts, "_examine", examine)
    shared = forecasts(hub)
    viewers = [greenlets.spawn("viewer", shared.of_instance) for _ in range(20)]
    greenlets.joinall(viewers, raise_error=True)
    assert {viewer.value["sessions"] for viewer in viewers} == {1}
    # One run for the first viewer, and at most one for those that came after it had begun.
    assert examined <= 2


def test_fifty_sessions_are_listed_and_all_are_counted(hub: Hub) -> None:
    for number in range(60):
        shows(hub, f"r{number}", b"R1(config)#")
    found = of_instance(hub)
    assert len(found["at_risk"]) == 50
    assert "60 sessions are in configuration mode" in found["warning"]


def test_the_work_is_bounded_and_what_was_not_examined_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXAMINE_SECS", 1.5)
    for number in range(4):
        shows(hub, f"r{number}", b"R1(config)#")
    times = iter([0.0, 0.1, 1.0, 2.0])
    found = of_instance(hub, clock=lambda: next(times))
    assert len(found["at_risk"]) == 2
    assert "2 sessions were not examined" in found["warning"]


def test_a_commit_that_was_just_sent_has_its_time_and_without_postgresql_it_is_unknown(hub: Hub) -> None:
    session = shows(hub, "r1", COMMIT)
    [risk] = forecasts(hub).of_session(session)["at_risk"]
    assert "rolls it back at " in risk["text"]
    session.recording.stored_offset = session.output.end
    [risk] = forecasts(hub).of_session(session)["at_risk"]
    assert "rolls it back 5 minutes after `commit confirmed`" in risk["text"]


@pytest.mark.parametrize(("age_secs", "risks"), [(60.0, ["commit-confirmed"]), (600.0, [])])
def test_the_recording_tells_whether_a_commit_was_rolled_back_by_now(
    database: Database, hub: Hub, age_secs: float, risks: list[str]
) -> None:
    recorder = Recorder(database)
    session = add(hub, "r1", attached=True, silent_secs=60, recorder=recorder)
    began_at = time.time() - age_secs
    _store(database, session.recording, began_at, [b"lab@mx# show\r\n", COMMIT])
    session.output.append(b"lab@mx# show\r\n" + COMMIT, keep_from=0)
    own = forecasts(hub)
    own._database = database
    found = own.of_session(session)
    assert [each["risk"] for each in found["at_risk"]] == risks
    due = time.strftime("%H:%M:%S UTC", time.gmtime(began_at + 1 + 300))
    assert all(due in each["text"] for each in found["at_risk"])


def _store(database: Database, recording: Recording, began_at: float, outputs: list[bytes]) -> None:
    """Stores outputs as a chunk, one second after another."""
    events = [Event(began_at + index, EventKind.OUTPUT, data) for index, data in enumerate(outputs)]
    chunk = make_chunk(b"", recording.session_id, 1, 0, 0, events)
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO recording_chunks (session_id, epoch, seq, first_offset, end_offset, began_at, ended_at,"
            " events, sha256) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                chunk.session_id,
                chunk.epoch,
                chunk.seq,
                chunk.first_offset,
                chunk.end_offset,
                chunk.began_at,
                chunk.ended_at,
                chunk.events,
                chunk.sha256,
            ),
        )
    recording.stored_offset = chunk.end_offset


def test_other_greenlets_run_while_many_sessions_are_examined(hub: Hub) -> None:
    for number in range(300):
        shows(hub, f"r{number}", b"line of output\r\n" * 100 + b"R1(config)#")
    turns = 0

    def count() -> None:
        nonlocal turns
        while turns >= 0:
            turns += 1
            greenlets.sleep(0)

    greenlets.spawn("counter", count)
    of_instance(hub)
    seen, turns = turns, -(10**9)
    assert seen > 5
