"""The terminal page after a silence: it reconnects, says which keys were lost, and leaves a frozen owner."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import Cluster
from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.sharing import Tabs, make_link
from tests.browser.silence import NEW_SHELL, NOTICE, connect, states, wait_for_hint, wait_for_state
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.wire import Wire


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
    return connect(browser, known_lab)


def test_a_new_connection_that_is_not_accepted_is_given_up_too(terminal: Browser, wire: Wire) -> None:
    terminal.resize(PHONE)
    wire.freeze()
    terminal.type("x")
    wait_for_state(terminal, "No answer", "for 3 s")
    # The first countdown lasts half a second.
    wait_for_state(terminal, "No answer", "Reconnecting in", timeout_secs=60)
    connections = wire.connections
    until(lambda: wire.connections > connections, "another connection")
    wire.thaw()
    # The connection that nothing has accepted is given up first, and the next one may be 15 s away.
    until(lambda: "Connected" in terminal.text, "the connection", timeout_secs=90)
    told = f"[1 key {NOTICE}: look before you type it again]"
    until(lambda: told in terminal.screen.replace("\n", " "), "the line about the key, broken between words")
    terminal.screenshot("terminal-keys-lost-phone")


def test_keys_typed_while_the_page_reconnects_are_told_once_and_never_sent(terminal: Browser, wire: Wire) -> None:
    wire.cut()
    wait_for_state(terminal, "Connection lost")
    terminal.type("ab")
    wait_for_hint(terminal, "Not sent: the terminal is not connected")
    told = "[the terminal is not connected: input is neither sent nor kept for later]"
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
    wait_for_state(terminal, "Connecting")
    until(lambda: wire.connections > connections, "a new connection")
    wire.thaw()
    wait_for_hint(terminal, f"2 keys {NOTICE}")
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
        wait_for_state(terminal, "No answer", "for 3 s")
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


def test_a_typing_guest_is_told_of_a_frozen_owner_too(terminal: Browser, cluster: Cluster, wire: Wire) -> None:
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
        wait_for_state(guest, "No answer", "for 3 s")
        guest.screenshot("share-no-answer")
        guest.wait_for("No answer", gone=True)
        guest.type("z")
        wait_for_hint(guest, "Not sent: the terminal is not connected")
        tabs.to_owner()
        terminal.type("echo un''sent", Keys.ENTER)
        wait_for_state(terminal, "No answer", "for 3 s")
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
