"""The terminal page while nobody answers: a frozen owner, a network that swallows everything, a computer that slept."""

import hashlib
import re
import time
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import Cluster
from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.sharing import Tabs, make_link
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.wire import Wire

NOTICE = "typed while the controller did not answer may not have reached the device"
NEW_SHELL = "the SSH connection was re-established at"


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    """The one that the browser talks to first."""
    return cluster.controllers[0]


@pytest.fixture
def terminal(browser: Browser, known_lab: str) -> Browser:
    """The browser with a terminal that is connected, its prompt in sight, and a list of all that its status says."""
    browser.eavesdrop()
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.type("PS1='lab> '; clear", Keys.ENTER)
    until(lambda: browser.screen.strip() == "lab>", "a clear screen")
    note_states(browser)
    return browser


def note_states(browser: Browser) -> None:
    browser.run("""
        const state = document.getElementById("state");
        window.states = [];
        new MutationObserver(() => states.push(state.textContent)).observe(state, { childList: true });
    """)


def states(browser: Browser) -> list[str]:
    """What the status of this page has said since `note_states`, in turn."""
    found: list[str] = browser.run("return window.states")
    return found


def test_a_silent_network_is_told_and_the_page_comes_back_by_itself_at_the_exact_byte(
    terminal: Browser, wire: Wire
) -> None:
    terminal.type("for i in $(seq -w 400); do echo line-$i; sleep 0.01; done; echo counted-$?", Keys.ENTER)
    until(lambda: "line-100" in terminal.received, "a good part of the output")
    connections = wire.connections
    wire.freeze()
    terminal.type("typed-blindly")
    terminal.wait_for("No answer for 3 s")
    terminal.screenshot("terminal-no-answer")
    terminal.resize(PHONE)
    terminal.screenshot("terminal-no-answer-phone")
    until(lambda: wire.connections > connections, "a new connection")
    wire.thaw()
    terminal.wait_for("Connected")
    until(lambda: "counted-0" in terminal.received, "the end of the output")
    assert re.findall(r"line-(\d+)\r", terminal.received) == [f"{number:03}" for number in range(1, 401)]
    assert "blindlytyped" not in terminal.received
    assert "No answer" in states(terminal)
    assert terminal.errors() == []


def test_an_answer_in_time_ends_the_alarm(terminal: Browser, wire: Wire) -> None:
    wire.freeze()
    terminal.type("echo in''ti", "me", Keys.ENTER)
    terminal.wait_for("No answer for 3 s")
    wire.thaw()
    terminal.wait_for("Connected")
    until(lambda: "\nintime" in terminal.screen, "what was typed meanwhile")
    assert states(terminal) == ["No answer", "Connected"]
    assert "typed while" not in terminal.screen


def test_a_controller_that_answers_is_never_called_silent_though_the_device_is(terminal: Browser) -> None:
    terminal.type("stty -echo; echo si''lent; cat >/dev/null", Keys.ENTER)
    until(lambda: "\nsilent" in terminal.screen, "the silent device")
    since = terminal.run("return performance.now()")
    typing_ends_at = time.monotonic() + 9
    while time.monotonic() < typing_ends_at:
        terminal.type("x")
        time.sleep(0.1)
    assert terminal.longest_silence_secs(since) < 5
    assert states(terminal) == []


def test_a_large_paste_on_a_slow_line_is_no_silence(terminal: Browser, wire: Wire) -> None:
    terminal.type("stty -echo -icanon; echo re''ady; head -c 1000000 | sha256sum; stty sane", Keys.ENTER)
    until(lambda: "\nready" in terminal.screen, "the reader of the paste")
    wire.delay(0.6)
    terminal.paste("0123456789" * 100_000)
    digest = hashlib.sha256(b"0123456789" * 100_000).hexdigest()
    until(lambda: digest in terminal.screen, "the checksum of what was pasted", timeout_secs=60)
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
def test_a_page_that_wakes_up_finds_out_at_once_though_nobody_types(terminal: Browser, wire: Wire, event: str) -> None:
    terminal.run(event)
    time.sleep(2)
    assert states(terminal) == []
    wire.freeze()
    terminal.run(event)
    terminal.wait_for("No answer for 3 s")
    until(lambda: "Connecting" in states(terminal), "a new attempt")
    wire.thaw()
    terminal.wait_for("Connected")
    assert "typed while" not in terminal.screen


def test_a_new_connection_that_nobody_accepts_is_given_up_too(terminal: Browser, wire: Wire) -> None:
    terminal.resize(PHONE)
    wire.freeze()
    terminal.type("x")
    terminal.wait_for("No answer for 3 s")
    until(lambda: re.search(r"No answer\s+Reconnecting in \d+ s", terminal.text), "the countdown", timeout_secs=60)
    connections = wire.connections
    until(lambda: wire.connections > connections, "another connection")
    wire.thaw()
    terminal.wait_for("Connected")
    told = f"[1 key {NOTICE}: look before you type it again]"
    until(lambda: told in terminal.screen.replace("\n", " "), "the line about the key, broken between words")
    terminal.screenshot("terminal-keys-lost-phone")


def test_what_is_typed_while_the_page_reconnects_is_told_once_and_never_sent(terminal: Browser, wire: Wire) -> None:
    wire.cut()
    terminal.wait_for("Connection lost")
    terminal.type("ab")
    terminal.wait_for("Not sent: the terminal is not connected")
    told = "[the terminal is not connected: what you type now is not sent, nor kept for later]"
    until(lambda: told in terminal.screen, "the line that tells")
    terminal.screenshot("terminal-not-sent")
    terminal.resize(PHONE)
    terminal.type("c")
    terminal.screenshot("terminal-not-sent-phone")
    terminal.resize(DESKTOP)
    wire.restore()
    terminal.wait_for("Connected")
    terminal.type("echo a''gain", Keys.ENTER)
    until(lambda: "\nagain" in terminal.screen, "the same shell")
    assert terminal.screen.count(told) == 1
    assert "abca" not in terminal.received


def test_a_full_screen_program_is_not_written_across(terminal: Browser, wire: Wire) -> None:
    terminal.type("printf '\\033[?1049h\\033[H~ an %s' editor; cat", Keys.ENTER)
    until(lambda: terminal.screen.startswith("~ an editor"), "the alternate screen")
    connections = wire.connections
    wire.freeze()
    terminal.type("dd")
    until(lambda: wire.connections > connections, "a new connection")
    wire.thaw()
    terminal.wait_for(f"2 keys {NOTICE}")
    terminal.screenshot("terminal-keys-lost-in-full-screen")
    terminal.resize(PHONE)
    terminal.screenshot("terminal-keys-lost-in-full-screen-phone")
    assert "typed while" not in terminal.screen


def test_a_frozen_owner_is_told_left_and_replaced(terminal: Browser, cluster: Cluster, wire: Wire) -> None:
    a, b = cluster.controllers
    wire.lead_to(b.port)
    a.freeze()
    try:
        terminal.type("echo un''sent", Keys.ENTER)
        terminal.wait_for("No answer for 3 s")
        until(lambda: NEW_SHELL in terminal.screen, "the line that tells", timeout_secs=90)
        terminal.wait_for("Connected")
        until(lambda: f"[14 keys {NOTICE}" in terminal.screen, "the line about the keys")
        terminal.type("echo af''ter", Keys.ENTER)
        until(lambda: "\nafter" in terminal.screen, "the new shell")
    finally:
        a.thaw()
    cluster.gathered(2)
    assert "\nunsent" not in terminal.received
    assert "No answer" in states(terminal)


def test_a_guest_who_types_is_told_of_a_frozen_owner_too(terminal: Browser, cluster: Cluster, wire: Wire) -> None:
    """Both are connected through an instance that answers; the one behind it does not."""
    a, b = cluster.controllers
    tabs = Tabs(terminal)
    link = make_link(terminal, "Watch and type")
    terminal.click("Close")
    wire.lead_to(b.port)
    wire.cut()
    wire.restore()
    terminal.wait_for("Connected")
    guest = tabs.invite(link)
    guest.wait_for("Collaborating")
    until(lambda: "lab>" in guest.screen, "the owner's screen")
    a.freeze()
    try:
        guest.type("id")
        guest.wait_for("No answer for 3 s")
        guest.screenshot("share-no-answer")
        guest.wait_for("No answer", gone=True)
        guest.type("z")
        guest.wait_for("Not sent: the terminal is not connected")
        tabs.to_owner()
        terminal.type("echo un''sent", Keys.ENTER)
        terminal.wait_for("No answer for 3 s")
        until(lambda: NEW_SHELL in terminal.screen, "the line that tells", timeout_secs=90)
        until(lambda: f"[14 keys {NOTICE}" in terminal.screen, "the line about the keys")
        terminal.screenshot("terminal-keys-lost")
        tabs.to_guest()
        guest.wait_for("Collaborating")
        until(lambda: f"[2 keys {NOTICE}" in guest.screen, "the line about the guest's keys")
        guest.screenshot("share-keys-lost")
    finally:
        a.thaw()
    cluster.gathered(2)
