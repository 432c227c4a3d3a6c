"""The page of the jump box in a real browser, on a real device, over a network that fails."""

import re

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.silence import note_states, wait_for_hint
from tests.controller import ADMIN, Api, until
from tests.sshd import Sshd
from tests.wire import Wire


@pytest.fixture
def box(browser: Browser, lab: str) -> Browser:
    """The browser with a jump box that is ready, reached by the keyboard's way through the navigation."""
    browser.click("Jump box")
    browser.wait_for("Ready")
    until(lambda: browser.screen.rstrip().endswith("jump>"), "the prompt")
    return browser


def ask(browser: Browser, line: str, answer: str) -> None:
    browser.type(line, Keys.ENTER)
    until(lambda: answer in browser.screen, f"{answer!r} on the screen")


def test_from_the_prompt_to_the_device_and_back(box: Browser, sshd: Sshd) -> None:
    ask(box, "devices", "lab-1")
    box.type("conn", Keys.TAB, "la", Keys.TAB)
    until(lambda: "jump> connect lab-1" in box.screen, "the completed line")
    box.screenshot("jumpbox")
    box.type(Keys.ENTER)
    box.wait_for("Is this the right device?")
    box.wait_for("Waiting for your host key decision")
    box.screenshot("jumpbox-host-key")
    box.click("Trust and connect")
    box.wait_for("Connected")
    ask(box, "PS1='lab> '; clear; stty size", "lab>")
    size = until(lambda: re.match(r"(\d+) (\d+)\n", box.screen), "the size")
    assert (int(size[1]), int(size[2])) > (24, 80)
    box.type("exit", Keys.ENTER)
    until(lambda: "Session ended" in box.screen and box.screen.rstrip().endswith("jump>"), "the prompt")
    box.wait_for("Ready")
    box.screenshot("jumpbox-session-ended")
    box.type(Keys.ARROW_UP)
    until(lambda: box.screen.rstrip().endswith("jump> connect lab-1"), "the line from the history")
    assert box.errors() == []


def test_a_lost_network_is_told_and_another_connection_offered(box: Browser, wire: Wire, known_lab: str) -> None:
    box.type("connect lab-1", Keys.ENTER)
    box.wait_for("Connected")
    note_states(box)
    wire.cut()
    box.wait_for("Disconnected")
    box.wait_for("kept for some minutes")
    box.type("x")
    wait_for_hint(box, "Not sent: the jump box is not connected")
    box.screenshot("jumpbox-lost")
    wire.restore()
    box.type(Keys.CONTROL + Keys.SHIFT + Keys.ARROW_UP)
    assert box.driver.switch_to.active_element.accessible_name == "Connect again"
    box.type(Keys.ENTER)
    box.wait_for("Ready")
    ask(box, "sessions", "waits for you")
    ask(box, "exit", "You have left the jump box")
    box.wait_for("Closed")


def test_an_expired_log_in_is_renewed_over_it(box: Browser, admin: Api, wire: Wire) -> None:
    box.driver.delete_cookie("netstacks_page")
    wire.cut()
    box.wait_for("Disconnected")
    wire.restore()
    box.click("Connect again")
    box.wait_for("Your log-in has expired")
    box.fill(password=ADMIN[1])
    box.type(Keys.ENTER)
    box.wait_for("Ready")
    ask(box, "whoami", "with the role admin")


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_last_line_is_whole_and_long_lines_stay_in_theirs(box: Browser, size: tuple[int, int]) -> None:
    box.resize(size)
    ask(box, "help", "clears the screen")
    box.type("devices " + "x" * 300)
    until(lambda: box.screen.rstrip().endswith("xxxx"), "the line")
    box.screenshot(f"jumpbox-{size[0]}")
    last = box.screen.rstrip().split("\n")[-1]
    assert last.startswith("jump> ")
    below = "return document.querySelector('.xterm-screen').getBoundingClientRect().bottom - innerHeight"
    # A terminal takes its new size a moment later.
    until(lambda: box.run(below) <= 0, "the last line is whole")
    until(
        lambda: box.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the page"
    )
