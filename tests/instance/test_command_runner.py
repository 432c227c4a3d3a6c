"""A run of commands: its ends, and its report. The sessions are opened by the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netstacks.errors import DeviceLoginRefused, LimitReached, OpeningAbandoned, StoreUnavailable
from netstacks.instance import command_runner
from netstacks.instance.command_runner import Batch, CommandRunner, Run
from netstacks.instance.targets import ConnectRequest
from netstacks.store.audit import Actor
from netstacks.terminal import cli
from netstacks.terminal.unattended import UnattendedDialogue
from tests.clocks import SteadyClock
from tests.terminal.test_cli import CLOCK_STEP_SECS, Desk

WISH = ConnectRequest(Actor("ana", None, None), None, "device-x", None, None, "vt100", 200, 50)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    clock = SteadyClock(CLOCK_STEP_SECS)
    for module in (cli, command_runner):
        monkeypatch.setattr(module, "time", clock)
    desk = Desk(is_in_use=False)
    desk.device.says(b"R1#")
    yield desk
    desk.room.close()


def run(
    open_session: Callable[[ConnectRequest], Any],
    *commands: str,
    is_abandoned: bool = False,
    timeout_secs: float = 5,
    **rest: Any,
) -> Run:
    batch = Batch(commands or ("show a",), timeout_secs, **{"total_secs": 20.0, **rest})
    return CommandRunner(open_session, purpose="AI commands").run(WISH, batch, lambda: is_abandoned)


def failing(error: Exception) -> Callable[[ConnectRequest], Any]:
    def open_session(_: ConnectRequest) -> Any:
        raise error

    return open_session


def opened(desk: Desk) -> Callable[[ConnectRequest], Any]:
    def open_session(connect_request: ConnectRequest) -> Any:
        assert isinstance(connect_request.dialogue, UnattendedDialogue)
        return desk.room.session

    return open_session


def test_the_session_ends_with_its_commands(desk: Desk) -> None:
    desk.device.answers[b"show a"] = b"one\r\nR1#"
    ran = run(opened(desk))
    assert [(each.output, each.error) for each in ran.results] == [("one", None)]
    assert (ran.session_id, ran.error) == (desk.room.session.id, None)
    assert desk.room.gone == ["AI commands done"]
    assert "opened for AI commands of ana" in desk.room.recording.notes


def test_why_there_is_no_session_is_told() -> None:
    assert run(failing(DeviceLoginRefused("it refused the password"))) == Run(None, (), "it refused the password")
    assert run(failing(LimitReached("you have 5 sessions"))) == Run(None, (), "you have 5 sessions")
    late = run(failing(OpeningAbandoned("the client has left")), total_secs=7.0)
    assert late == Run(None, (), "the log-in did not end within 7 s")
    assert run(failing(OpeningAbandoned("")), is_abandoned=True).error == "the client has left"
    with pytest.raises(StoreUnavailable):
        run(failing(StoreUnavailable("away")))


def test_a_session_that_has_ended_at_once_is_told(desk: Desk) -> None:
    desk.room.session.end("the device closed the connection")
    assert run(opened(desk)).error == "the session has ended: the device closed the connection"


def test_a_command_without_time_left_is_not_typed(desk: Desk) -> None:
    desk.device.answers |= {b"show a": b"", b"\x03": b"\r\nR1#"}
    ran = run(opened(desk), "show a", "show b", "show c", timeout_secs=60, total_secs=5.5)
    assert [each.command for each in ran.results] == ["show a", "show b"]
    assert "it was interrupted after" in (ran.results[0].error or "")
    assert ran.results[1].error == "no time was left for it: there are 6 s in all"
    assert b"show b" not in desk.device.typed


def test_a_client_that_leaves_ends_the_session(desk: Desk) -> None:
    desk.device.answers[b"show a"] = b"!!!!"
    ran = run(opened(desk), is_abandoned=True)
    assert (ran.results[0].output, ran.error) == ("!!!!", "the client has left")
    assert desk.room.gone == ["AI commands done"]


@pytest.mark.parametrize(
    "answer",
    [
        "        ^\r\n% Invalid input detected at '^' marker.",
        "% Incomplete command.",
        '% Ambiguous command:  "show a"',
        "syntax error, expecting <command>.",
        "unknown command.",
        "Error: Unrecognized command found at '^' position.",
        "-bash: show: command not found",
        "Command fail. Return code -61",
        "% Unknown command",
    ],
)
def test_an_answer_that_refuses_the_command_is_a_failure(desk: Desk, answer: str) -> None:
    desk.device.answers |= {b"show a": answer.encode() + b"\r\n\r\nR1#", b"show b": b"ok\r\nR1#"}
    ran = run(opened(desk), "show a", "show b", stop_on_error=True)
    assert len(ran.results) == 1
    assert (ran.error or "").startswith("the device did not accept the command: ")


def test_a_log_that_speaks_of_wrong_commands_is_none(desk: Desk) -> None:
    lines = b"% Invalid input detected\r\n" * 20
    desk.device.answers |= {b"show a": lines + b"R1#", b"show b": b"an unknown command was entered\r\nR1#"}
    assert run(opened(desk), "show a", "show b").error is None
