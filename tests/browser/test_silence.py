"""The terminal page without answers of the controller: the page reports a silence, and only a real one."""

import hashlib
import re

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import PHONE, Browser
from tests.browser.silence import connect, pace, states, stop_clock_at, wait_for_state
from tests.controller import until
from tests.wire import Wire


@pytest.fixture
def terminal(browser: Browser, known_lab: str) -> Browser:
    return connect(browser, known_lab)


def test_a_silent_network_is_told_and_the_page_comes_back_by_itself_at_the_exact_byte(
    terminal: Browser, wire: Wire
) -> None:
    terminal.type("for i in $(seq -w 400); do echo line-$i; sleep 0.01; done; echo counted-$?", Keys.ENTER)
    until(lambda: "line-100" in terminal.received, "a good part of the output")
    connections = wire.connections
    wire.freeze()
    terminal.type("typed-blindly")
    wait_for_state(terminal, "No answer", "for 3 s")
    terminal.screenshot("terminal-no-answer")
    terminal.resize(PHONE)
    terminal.screenshot("terminal-no-answer-phone")
    wait_for_state(terminal, "Connecting")
    until(lambda: wire.connections > connections, "a new connection")
    wire.thaw()
    terminal.wait_for("Connected")
    until(lambda: "counted-0" in terminal.received, "the end of the output")
    assert re.findall(r"line-(\d+)\r", terminal.received) == [f"{number:03}" for number in range(1, 401)]
    assert "blindlytyped" not in terminal.received
    assert "No answer" in states(terminal)
    assert terminal.errors() == []


def test_an_answer_in_time_ends_the_alarm(terminal: Browser, wire: Wire) -> None:
    # The answer comes in time, however slow this test is.
    stop_clock_at(terminal, "No answer")
    wire.freeze()
    terminal.type("echo in''ti", "me", Keys.ENTER)
    wait_for_state(terminal, "No answer", "for 3 s")
    wire.thaw()
    terminal.wait_for("Connected")
    until(lambda: "\nintime" in terminal.screen, "what was typed meanwhile")
    assert states(terminal) == ["No answer", "Connected"]
    assert "typed while" not in terminal.screen


def test_a_controller_that_answers_is_never_called_silent_though_the_device_is(terminal: Browser) -> None:
    pace(terminal, 1 / 3)
    terminal.type("stty -echo; echo si''lent; cat >/dev/null", Keys.ENTER)
    until(lambda: "\nsilent" in terminal.screen, "the silent device")
    clock = "return Date.now()"
    since, frames = terminal.run(clock), terminal.frames

    def has_typed_for_long() -> bool:
        """For longer than the page's patience with a silence; only the controller's answers can come meanwhile."""
        terminal.type("x")
        return terminal.run(clock) - since > 6_500 and terminal.frames - frames >= 4

    until(has_typed_for_long, "answers to the page's questions", timeout_secs=90)
    assert states(terminal) == []


def test_a_large_paste_on_a_slow_line_is_no_silence(terminal: Browser, wire: Wire) -> None:
    # It is about the time since the paste.
    pace(terminal, 0)
    terminal.type("stty -echo -icanon; echo re''ady; head -c 1000000 | sha256sum; stty sane", Keys.ENTER)
    until(lambda: "\nready" in terminal.screen, "the reader of the paste")
    wire.delay(0.6)
    terminal.paste("0123456789" * 100_000)
    pace(terminal, 1)
    digest = hashlib.sha256(b"0123456789" * 100_000).hexdigest()
    until(lambda: digest in terminal.screen, "the checksum of what was pasted", timeout_secs=90)
    assert states(terminal) == []


@pytest.mark.parametrize(
    "event",
    [
        "document.dispatchEvent(new Event('visibilitychange'))",
        "dispatchEvent(new Event('online'))",
        # As after a sleep: the timer finds that a minute has passed.
        "const now = Date.now; Date.now = () => now() + 60_000",
    ],
)
def test_a_page_that_wakes_up_checks_the_connection_at_once_without_a_key(
    terminal: Browser, wire: Wire, event: str
) -> None:
    pace(terminal, 1 / 3)
    frames = terminal.frames
    terminal.run(event)
    until(lambda: terminal.frames > frames, "the answer to the page's question")
    assert states(terminal) == []
    pace(terminal, 1)
    wire.freeze()
    terminal.run(event)
    wait_for_state(terminal, "No answer", "for 3 s")
    wait_for_state(terminal, "Connecting")
    wire.thaw()
    terminal.wait_for("Connected")
    assert "typed while" not in terminal.screen
