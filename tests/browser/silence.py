"""What the tests of a silent network have in common."""

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
        const state = document.getElementById("state");
        window.states = [];
        new MutationObserver(() => states.push(state.textContent)).observe(state, { childList: true });
    """)


def states(browser: Browser) -> list[str]:
    """What the status of this page has said since `note_states`, in turn."""
    found: list[str] = browser.run("return window.states")
    return found
