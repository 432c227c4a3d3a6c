"""Helpers of the tests of a silent network."""

from itertools import groupby

from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser
from tests.controller import until

NOTICE = "typed while the controller did not answer may not have reached the device"
NEW_SHELL = "the SSH connection was re-established at"


def connect(browser: Browser, known_lab: str) -> Browser:
    """Opens a terminal, and waits until its prompt is in sight; from then on all is noted that its status says."""
    browser.eavesdrop()
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.type("PS1='lab> '; clear", Keys.ENTER)
    until(lambda: browser.screen.strip() == "lab>", "a clear screen")
    note_states(browser)
    return browser


def note_states(browser: Browser) -> None:
    browser.run("""
        const status = document.querySelector("p.state");
        const said = () => ["state", "detail"].map((id) => document.getElementById(id).textContent);
        window.said = [said()];
        new MutationObserver(() => window.said.push(said())).observe(status, { childList: true, subtree: true });
    """)


def states(browser: Browser) -> list[str]:
    """The texts of the page's status since `note_states`, in order."""
    said: list[list[str]] = browser.run("return window.said")
    return [state for state, _ in groupby(state for state, _ in said)][1:]


def details(browser: Browser, state: str) -> list[str]:
    """The page's texts beside `state` since `note_states`, in order."""
    said: list[list[str]] = browser.run("return window.said")
    return [detail for shown, detail in said if shown == state]
