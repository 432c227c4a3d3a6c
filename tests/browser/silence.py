"""Helpers of the tests of a silent network: what the page has said, and how fast its clock goes."""

from itertools import groupby

from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser
from tests.controller import until

NOTICE = "typed while the controller did not answer may not have reached the device"
NEW_SHELL = "the SSH connection was re-established at"

_NOTE = """
{
  window.said = [];
  window.hints = [];
  const text = (id) => document.getElementById(id)?.textContent ?? "";
  const note = () => {
    const now = [text("state"), text("detail")];
    if (now.join("|") !== said.at(-1)?.join("|")) said.push(now);
    if (text("hint") !== hints.at(-1)) hints.push(text("hint"));
  };
  note();
  new MutationObserver(note).observe(document, { childList: true, characterData: true, subtree: true });
}
"""
# `pace(rate)` sets how fast the page's clock goes from now on.
_CLOCK = """
if (!window.pace) {
  const paces = [Date, performance].map((clock) => {
    const real = clock.now.bind(clock);
    let [at, since, rate] = [real(), real(), 1];
    clock.now = () => at + (real() - since) * rate;
    const now = clock.now;
    return (next) => ([at, since, rate] = [now(), real(), next]);
  });
  window.pace = (next) => paces.forEach((pace) => pace(next));
}
"""


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
    """From now on all is noted that the page's status says, and all its hints: each is there for a moment only."""
    browser.run(_NOTE)


def note_all_states(browser: Browser) -> None:
    """The same from the beginning of each page that is opened from now on."""
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _NOTE})


def states(browser: Browser) -> list[str]:
    """The texts of the page's status since `note_states`, in order."""
    said: list[list[str]] = browser.run("return window.said")
    return [state for state, _ in groupby(state for state, _ in said)][1:]


def details(browser: Browser, state: str) -> list[str]:
    """The page's texts beside `state` since `note_states`, in order."""
    said: list[list[str]] = browser.run("return window.said")
    return [detail for shown, detail in said if shown == state]


def wait_for_state(browser: Browser, state: str, detail: str = "", timeout_secs: float = 30) -> None:
    """Waits until the page's status has been `state` since `note_states`, with a text beside it that has `detail`."""
    what = f"{state!r} {detail!r} in the status"
    until(lambda: any(detail in each for each in details(browser, state)), what, timeout_secs)


def wait_for_hint(browser: Browser, hint: str) -> None:
    """Waits until the page has given a hint with this text since `note_states`."""
    until(lambda: any(hint in each for each in browser.run("return window.hints")), f"the hint {hint!r}")


def pace(browser: Browser, rate: float) -> None:
    """How fast the page's clock goes, from which it knows silences and countdowns: at 0 it stands.

    A page with a slow clock takes no pause of the machine for a silence; one whose clock stands waits for the test.
    """
    browser.run(f"{_CLOCK} window.pace(arguments[0]);", rate)


def stop_clock_at(browser: Browser, state: str) -> None:
    """The page's clock stands from the moment that its status is `state`."""
    script = """
        const [wanted] = arguments;
        const status = document.getElementById("state");
        const look = (_, observer) => {
          if (status.textContent !== wanted) return;
          window.pace(0);
          observer.disconnect();
        };
        new MutationObserver(look).observe(status, { childList: true, subtree: true });
    """
    browser.run(_CLOCK + script, state)
