"""The actions of the HA status page: each says what would happen, then happens."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import Lab
from tests.browser.browser import Browser, is_done
from tests.browser.ha import confirm, foreseen, id_of, session_row, text_of, watch
from tests.browser.keyboard import Keyboard
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd

# A device that prints is handed over last, after half of the window.
PRINTS = "while sleep .2; do echo ti''ck; done\r"


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    # No instance is declared dead here, however long the machine stands still.
    with Cluster(postgres, 2, DRAIN_TIMEOUT_SECS="120", HA_STALE_INSTANCE_TTL_SECS="60") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    return cluster.controllers[0]


@pytest.fixture(scope="module")
def its_lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


@pytest.fixture
def terminal(its_lab: Lab, cluster: Cluster) -> Iterator[Terminal]:
    """A terminal whose session the second instance owns."""
    terminal = its_lab.at(cluster.controllers[1]).open()
    yield terminal
    terminal.leave()


def row(browser: Browser, terminal: Terminal) -> str:
    """The text of the row of the session."""
    return session_row(browser, terminal.info["session_id"])


def click(browser: Browser, terminal: Terminal, action: str) -> None:
    """Presses a button in the row of the session."""
    until(lambda: row(browser, terminal), "the session is listed")
    selector = f"#session-{terminal.info['session_id']} button"

    def press() -> None:
        [button] = [each for each in browser.driver.find_elements("css selector", selector) if each.text == action]
        button.send_keys(Keys.ENTER)

    until(lambda: is_done(press), f"the key on {action!r}")


def test_a_session_is_moved_away(browser: Browser, terminal: Terminal, cluster: Cluster) -> None:
    a, b = (id_of(each) for each in cluster.controllers)
    watch(browser)
    until(lambda: b in row(browser, terminal), "its owner")
    click(browser, terminal, "Move away")
    foreseen(browser, f"It goes to {a} on ")
    browser.screenshot("ha-move")
    confirm(browser)
    browser.wait_for("The session moves to another instance.")
    terminal.closed()
    again = come_back(terminal, cluster.controllers[1], cluster.controllers[0])
    until(lambda: a in row(browser, terminal), "its new owner")
    again.leave()


def test_a_session_is_ended(browser: Browser, terminal: Terminal) -> None:
    watch(browser)
    click(browser, terminal, "End")
    foreseen(browser, "At risk now", "No configuration and no output")
    browser.screenshot("ha-end")
    confirm(browser)
    browser.wait_for("The session was ended.")
    assert "admin" in terminal.ended()
    until(lambda: not row(browser, terminal), "it is no longer listed")


def test_a_session_is_watched(browser: Browser, terminal: Terminal) -> None:
    watch(browser)
    click(browser, terminal, "Watch")
    browser.wait_for("You see the terminal and cannot type into it.")
    browser.screenshot("ha-watch")
    confirm(browser)
    browser.switch_to_new_tab()
    terminal.type("echo visi''ble\n")
    until(lambda: "visible" in browser.screen, "the terminal in the new tab")


def test_a_drain_is_begun_and_cancelled_by_the_keyboard_alone(
    browser: Browser, terminal: Terminal, cluster: Cluster
) -> None:
    b = id_of(cluster.controllers[1])
    watch(browser)
    terminal.type(PRINTS)
    terminal.expect("tick")
    keyboard = Keyboard(browser)
    keyboard.open(f"Drain {b}")
    foreseen(browser, "At risk now")
    browser.screenshot("ha-drain-forecast")
    keyboard.leave(f"Drain {b}")
    keyboard.open(f"Drain {b}")
    foreseen(browser, "At risk now")
    keyboard.submit()
    until(lambda: cluster.controllers[1].health().get("status") == "draining", "the drain begins")
    # The button that was pressed has become another one, while it had the focus.
    until(lambda: "Cancel drain" in text_of(browser, f"row-{b}"), "the button")
    keyboard.open(f"Cancel drain of {b}")
    browser.screenshot("ha-cancel-drain")
    keyboard.submit()
    browser.wait_for(f"{b} stays.")
    browser.wait_for("cancelled")
    until(lambda: cluster.controllers[1].health().get("status") == "healthy", "it is healthy again")


def test_a_forecast_that_fails_says_so_and_does_not_prevent_the_action(
    browser: Browser, terminal: Terminal, cluster: Cluster
) -> None:
    watch(browser)
    owner = row_owner(browser, terminal)
    cluster.controllers[1].freeze()
    try:
        browser.press(f"Drain {owner}")
        browser.wait_for("It is not known what would happen.")
        browser.screenshot("ha-no-forecast")
        until(lambda: browser.find("dialog[open] [type=submit]").is_enabled(), "the button can be pressed")
    finally:
        cluster.controllers[1].thaw()
    foreseen(browser, "in use now")
    browser.type(Keys.ESCAPE)


def row_owner(browser: Browser, terminal: Terminal) -> str:
    until(lambda: "ctrl-" in row(browser, terminal), "its owner")
    words = row(browser, terminal).split()
    return next(word for word in words if word.startswith("ctrl-"))
