"""Commands that a program types: the end of a command, and the output of devices in between."""

from collections.abc import Callable, Iterator

import pytest

from netstacks import greenlets
from netstacks.errors import DeviceError
from netstacks.terminal import cli
from netstacks.terminal.cli import MAX_OUTPUT_CHARS, CommandLine
from netstacks.terminal.output_log import OutputLog
from tests.clocks import SteadyClock
from tests.terminal.test_session import Device, Room

PATIENCE_SECS = 60
# Less than any silence by which the end of a command is recognised.
CLOCK_STEP_SECS = 0.05


class Console(Device):
    """Answers what is typed: `answers` by line, or by the single key of a pager that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[bytes, bytes | Callable[[], None]] = {}
        self.prompt = b"R1#"
        self.line = b""

    def try_write(self, data: bytes) -> int:
        super().try_write(data)
        for key in (data[at : at + 1] for at in range(len(data))):
            self._take(key)
        return len(data)

    def _take(self, key: bytes) -> None:
        if key in self.answers:
            self._answer(self.answers[key])
        elif key == b"\r":
            line, self.line = self.line, b""
            self.says(b"\r\n")
            self._answer(self.answers.get(line, self.prompt))
        else:
            self.line += key
            self.says(key)

    def _answer(self, answer: bytes | Callable[[], None]) -> None:
        if isinstance(answer, bytes):
            self.says(answer)
        else:
            answer()


class Desk:
    """A command line on a device that does what the test says; without one unless its session `is_in_use`."""

    def __init__(self, *, is_in_use: bool = True) -> None:
        self.room = Room()
        self.device = Console()
        session = self.room.session
        session._transport = session._reader._transport = session._input._writer._transport = self.device
        session.output = OutputLog(100_000)
        session.start()
        self.is_left = False
        if is_in_use:
            self.line = CommandLine(session, None, "ana", self._check)

    def _check(self) -> None:
        if self.is_left:
            raise DeviceError("left")

    def find_prompt(self) -> None:
        self.line.find_prompt(cli.time.monotonic() + PATIENCE_SECS)

    def run(self, command: str, secs: float = PATIENCE_SECS) -> tuple[bool, str]:
        return self.line.run(command, cli.time.monotonic() + secs), self.line.output(command)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(cli, "time", SteadyClock(CLOCK_STEP_SECS))
    desk = Desk()
    yield desk
    desk.room.close()


def at_prompt(desk: Desk) -> Desk:
    desk.device.says(b"Welcome\r\nto R1>\r\n\r\nR1#")
    desk.find_prompt()
    return desk


def test_the_output_is_without_echo_and_prompt(desk: Desk) -> None:
    at_prompt(desk).device.answers[b"show clock"] = b"12:00\r\n\r\nR1#"
    assert desk.run("show clock") == (True, "12:00")
    assert desk.device.typed == b"\rshow clock\r"


def test_a_line_of_output_that_begins_like_the_prompt_is_not_the_prompt(desk: Desk) -> None:
    def history() -> None:
        desk.device.says(b"R1#show a\r\nR1#")
        greenlets.spawn("rest", desk.device.says, b"show b\r\nR1#")

    at_prompt(desk).device.answers[b"show history"] = history
    assert desk.run("show history") == (True, "R1#show a\nR1#show b")


@pytest.mark.parametrize(
    "question", [b" --More-- ", b"<--- More --->", b"  ---- More ----", b"-- MORE --, next page: Space, quit: q",
                 b"---(more 42%)---", b"Press any key to continue (Q to quit)", b"lines 1-24", b"--More-- or (q)uit"],
)  # fmt: skip
def test_pagers_are_answered(desk: Desk, question: bytes) -> None:
    pages = [b"\r\x1b[Kpage 2\r\n" + question, b"\r\x1b[Kpage 3\r\nR1#"]
    at_prompt(desk).device.answers |= {
        b"showrun": b"page 1\r\n" + question,
        b" ": lambda: desk.device.says(pages.pop(0)) if pages else None,
    }
    assert desk.run("showrun") == (True, "page 1\npage 2\npage 3")


def test_a_pager_that_shows_more_than_is_kept_is_quit(desk: Desk) -> None:
    line = b"x" * 99 + b"\r\n"
    at_prompt(desk).device.answers |= {
        b"showtech": line * 900 + b"--More--",
        b" ": b"\r\x1b[K" + line * 900 + b"--More--",
        b"q": b"\r\x1b[KR1#",
    }
    is_done, output = desk.run("showtech")
    assert is_done
    assert MAX_OUTPUT_CHARS - 200 < len(output) < MAX_OUTPUT_CHARS + 200
    assert output.endswith(f"[The output is longer than {MAX_OUTPUT_CHARS} characters: the rest was left out.]")
    assert desk.device.typed.endswith(b"showtech\r  q")


def test_a_pager_that_stays_behind_its_last_page_is_quit(desk: Desk) -> None:
    at_prompt(desk).device.answers |= {b"showlog": b"page 1\r\n\x1b[7m(END)\x1b[m", b"q": b"\r\x1b[KR1#"}
    assert desk.run("showlog") == (True, "page 1")


def test_a_device_that_waits_for_a_key_before_its_prompt_gets_one(desk: Desk) -> None:
    desk.device.answers[b" "] = b"\r\x1b[KR1#"
    desk.device.says(b"Registered products\r\nPress any key to continue")
    desk.find_prompt()
    del desk.device.answers[b" "]
    desk.device.answers[b"list"] = b"ok\r\nR1#"
    assert desk.run("list") == (True, "ok")


@pytest.mark.parametrize("question", [b"Username: ", b"Enter the initial dialog? [yes/no]", b"Continue?"])
def test_a_question_is_no_prompt(desk: Desk, question: bytes) -> None:
    desk.device.prompt = question
    desk.device.says(question)
    with pytest.raises(DeviceError, match="needs a person"):
        desk.find_prompt()


def test_a_last_line_that_changes_with_every_enter_is_no_prompt(desk: Desk) -> None:
    desk.device.answers[b"\r"] = lambda: desk.device.says(b"\r\n%d>" % len(desk.device.typed))
    desk.device.says(b"0>")
    with pytest.raises(DeviceError, match="no prompt that comes again"):
        desk.find_prompt()


def test_a_command_that_does_not_end_is_interrupted_and_the_next_one_runs(desk: Desk) -> None:
    at_prompt(desk).device.answers |= {b"ping": b"!!!!", b"\x03": b"^C\r\nR1#", b"list": b"ok\r\nR1#"}
    assert desk.run("ping", 0.3) == (False, "!!!!")
    assert desk.line.interrupt()
    assert desk.run("list") == (True, "ok")


def test_the_escape_of_ios_ends_a_command_that_ctrl_c_does_not(desk: Desk) -> None:
    at_prompt(desk).device.answers |= {b"ping": b"!!!!", b"\x03": b"", b"\x1e": b"\r\nR1#"}
    assert not desk.run("ping", 0.3)[0]
    assert desk.line.interrupt()


def test_a_device_that_hangs_up_ends_the_wait(desk: Desk) -> None:
    at_prompt(desk).device.answers[b"list"] = desk.device.hangs_up
    with pytest.raises(DeviceError, match="the device closed the connection"):
        desk.run("list")


def test_a_caller_that_leaves_ends_the_wait(desk: Desk) -> None:
    at_prompt(desk).device.answers[b"ping"] = b"!!!!"
    desk.is_left = True
    with pytest.raises(DeviceError, match="left"):
        desk.run("ping")
