"""`netstacks ha`: sessions, events and drains from the command line."""

import json
import re
from dataclasses import replace

from netstacks.cluster.model import Sample
from netstacks.errors import NotFound
from netstacks.store import sessions
from netstacks.store.pool import Database
from tests.commands.conftest import FIGURES, Registry, Run
from tests.rows import make_session


def test_sessions_without_an_owner_are_listed(run: Run, registry: Registry, database: Database) -> None:
    waiting, orphan = make_session(database, owner="ctrl-b"), make_session(database, owner="ctrl-x")
    with database.transaction() as tx:
        sessions.release(tx, waiting, 1)
    rows = {each["id"]: each["owner"] for each in json.loads(run("sessions", "--json").stdout)}
    assert rows == {str(waiting): None, str(orphan): "ctrl-x"}
    assert "none (was ctrl-x)" in run("sessions").stdout
    assert [each["id"] for each in json.loads(run("sessions", "--json", "--instance", "ctrl-x").stdout)] == [
        str(orphan)
    ]


def test_right_after_a_restart_of_valkey_an_owner_may_be_about_to_register(
    run: Run, registry: Registry, database: Database
) -> None:
    orphan = make_session(database, owner="ctrl-x")
    registry.figures = replace(FIGURES, up_since=registry.now() - 5)
    [row] = [line.split() for line in run("sessions").stdout.splitlines() if line.startswith(str(orphan))]
    assert row[1] == "ctrl-x"


def test_events_are_sentences_and_can_be_filtered(run: Run, registry: Registry) -> None:
    registry.record_event("joined", "ctrl-b")
    registry.record_event("reaped", "ctrl-x", by="ctrl-a")
    registry.record_event("left", "ctrl-y")
    assert "ctrl-a declared ctrl-x dead and removed it" in run("events").stdout
    assert [each["kind"] for each in json.loads(run("events", "--json", "--instance", "ctrl-a").stdout)] == ["reaped"]
    kinds = run("events", "--json", "--kind", "left", "--kind", "joined").stdout
    assert [each["text"] for each in json.loads(kinds)] == ["ctrl-y shut down cleanly", "ctrl-b joined"]
    wrong = run("events", "--kind", "lefft")
    assert wrong.exit_code == 2
    assert "'lefft' is not one of 'joined'" in wrong.stderr


def test_names_of_other_systems_do_not_control_the_terminal(run: Run, registry: Registry, database: Database) -> None:
    make_session(database, owner="ctrl-x", device_name="r1\x1b[2J", username="lee\x9b31m")
    registry.record_event("dismissed", "ctrl-x", by="lee\x1b]0;title\x07")
    for shown in (run("sessions"), run("events"), run("status")):
        assert not {"\x1b", "\x9b", "\x07"} & {*shown.stdout}
    assert "r1[2J" in run("sessions").stdout
    assert "lee]0;title removed" in run("events").stdout


def test_without_postgresql_sessions_without_an_owner_are_left_out(run: Run) -> None:
    left_out = run("sessions", DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    assert left_out.exit_code == 0
    assert left_out.stderr.startswith("sessions without an owner are left out: ")


def test_a_drain_is_refused_for_a_dead_instance_only(run: Run, registry: Registry) -> None:
    """After a restart of Valkey an old heartbeat is not a death."""
    registry.age(1000, "ctrl-a")
    refused = run("drain", "ctrl-a")
    assert refused.exit_code == 1
    assert "sends no heartbeats" in str(refused.exception)
    registry.figures = replace(FIGURES, up_since=registry.now() - 5)
    assert run("drain", "ctrl-a").exit_code == 0
    drained = registry.instance("ctrl-a")
    assert drained is not None
    assert drained.state == "draining"


def test_the_history_is_printed_in_figures(run: Run, registry: Registry) -> None:
    now = registry.now()
    registry.add_samples(
        "ctrl-a", [Sample(now - 70, 9, 0.5, 0.25, 0.001, 90 << 20), Sample(now, 3, 1.5, 0.0, 0.002, 80 << 20)]
    )
    result = run("history")
    assert result.exit_code == 0, result.output
    lines = [re.split(r" {2,}", line) for line in result.stdout.splitlines()]
    assert lines[0] == ["INSTANCE", "FIGURE", "NOW", "LEAST", "MOST"]
    assert lines[1:6] == [
        ["ctrl-a", "sessions", "3", "3", "9"],
        ["ctrl-a", "heartbeat age", "1.5 s", "0.5 s", "1.5 s"],
        ["ctrl-a", "loop lag", "0 ms", "0 ms", "250 ms"],
        ["ctrl-a", "Valkey latency", "2 ms", "1 ms", "2 ms"],
        ["ctrl-a", "memory", "80 MiB", "80 MiB", "90 MiB"],
    ]
    assert lines[6] == ["ctrl-b", "sessions", "-", "-", "-"]
    found = json.loads(run("history", "--json", "--instance", "ctrl-a").stdout)
    assert found["step_secs"] == 60
    assert list(found["instances"]) == ["ctrl-a"]
    assert found["instances"]["ctrl-a"]["sessions"][-1] == 3
    assert len(found["instances"]["ctrl-a"]["memory_mib"]) == 60
    missing = run("history", "--instance", "ctrl-z")
    assert isinstance(missing.exception, NotFound)
    assert "there is no instance ctrl-z" in str(missing.exception)
