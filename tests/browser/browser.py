"""A headless Chromium, used as a reader of the page does: elements are found by the words that they show."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.controller import until

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
ARTEFACTS = Path(__file__).parents[2] / "artefacts"

DESKTOP = (1280, 800)
TABLET = (820, 1180)
PHONE = (390, 844)

_SCRIPT_SECS = 100
# What a busy machine needs at most, not what a page may take.
_WAIT_SECS = 60
# What a page says when PostgreSQL stood still for two seconds; a user does what it says.
_TRY_AGAIN = ("are busy: try again in a moment", "did not answer in time: try again")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Notes what the device sent, as bytes on the socket: the screen shows only the end of it. And counts all frames.
_EAVESDROP = """
window.received = [];
window.framesHeard = 0;
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      window.framesHeard += 1;
      const bytes = new Uint8Array(data);
      if (bytes[0] === 1) window.received.push(new TextDecoder("latin1").decode(bytes.subarray(1)));
    });
  }
};
"""

# The buttons and links that have this text, or may have a name from elsewhere.
_MAY_BE_NAMED = """
const squeezed = (text) => (text ?? "").replace(/\\s+/g, " ").trim().toLowerCase();
const wanted = squeezed(arguments[0]);
const elsewhere = "[aria-labelledby], :has([aria-label], img, svg, input)";
return [...document.querySelectorAll("button, a")].filter((each) =>
  [each.getAttribute("aria-label"), each.title, each.textContent].some((text) => squeezed(text).includes(wanted))
    || each.matches(elsewhere));
"""


def launch() -> webdriver.Chrome:
    """Starts Chromium; `quit()` ends it and deletes its profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    # axe-core examines thousands of elements on the longest page.
    driver.set_script_timeout(_SCRIPT_SECS)
    return driver


def unless_replaced(look: Callable[[], Any]) -> Any:
    """The result of `look`, or None when the page has replaced that part meanwhile."""
    try:
        return look()
    except StaleElementReferenceException:
        return None


def is_done(act: Callable[[], object]) -> bool:
    """Does it, unless the page has replaced, moved or covered that part since it was looked for."""
    try:
        act()
        return True
    except (StaleElementReferenceException, ElementClickInterceptedException, ElementNotInteractableException):
        return False


class Browser:
    """A browser on one site that remembers nothing of what was done in it before."""

    def __init__(self, driver: webdriver.Chrome, origin: str) -> None:
        self.driver = driver
        self.origin = origin
        self._has_tried_again = False
        old = driver.window_handles
        self.new_tab()
        new = driver.current_window_handle
        for handle in old:
            driver.switch_to.window(handle)
            driver.close()
        driver.switch_to.window(new)
        driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.errors()

    def new_tab(self) -> None:
        """Opens an empty tab and goes there; its storage, size and preferences are its own."""
        self.driver.switch_to.new_window("tab")
        self.resize(DESKTOP)

    def resize(self, size: tuple[int, int]) -> None:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """`light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, path: str) -> None:
        def is_open() -> bool:
            self.driver.get(self.origin + path)
            return not self._must_try_again()

        until(is_open, f"an answer to {path}")

    def _must_try_again(self) -> bool:
        text = self.text
        must = any(each in text for each in _TRY_AGAIN)
        self._has_tried_again |= must
        return must

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.origin)

    @property
    def text(self) -> str:
        """The text that the page shows."""
        text: str = self.run("return document.body?.innerText ?? ''")
        return text

    def find(self, selector: str) -> WebElement:
        """The first element on screen that matches; waits for it."""
        return self._first(selector, lambda element: True, selector)

    def button(self, name: str) -> WebElement:
        """The button or link of that name, as assistive technology reads it."""

        def look() -> WebElement | None:
            # To ask for the names of all is slow: there are hundreds on some pages.
            found = self.run(_MAY_BE_NAMED, name)
            return next((each for each in found if each.is_displayed() and each.accessible_name == name), None)

        return self._look_for(look, f"a button {name!r}")

    def _first(self, selector: str, fits: Callable[[WebElement], bool], what: str) -> WebElement:
        def look() -> WebElement | None:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return next((each for each in found if each.is_displayed() and fits(each)), None)

        return self._look_for(look, what)

    def _look_for(self, look: Callable[[], WebElement | None], what: str) -> WebElement:
        element: WebElement = until(lambda: unless_replaced(look), f"{what} on {self.path}", _WAIT_SECS)
        return element

    def click(self, name: str) -> None:
        """Clicks the button or link of that name."""
        until(lambda: is_done(lambda: self.button(name).click()), f"a click on {name!r}")

    def click_on(self, selector: str) -> None:
        """Clicks the first element on screen that matches."""
        until(lambda: is_done(lambda: self.find(selector).click()), f"a click on {selector}")

    def follow(self, name: str) -> None:
        """Clicks the link of that name, and waits until another page is there."""
        self.run("window.isLeft = true")
        self.click(name)
        until(lambda: not self.run("return window.isLeft"), f"the page of {name!r}")

    def press(self, name: str) -> None:
        """Presses the button or link of that name by the keyboard, which does not miss one that moves."""
        until(lambda: is_done(lambda: self.button(name).send_keys(Keys.ENTER)), f"the key on {name!r}")

    def press_on(self, selector: str) -> None:
        """Presses the first element on screen that matches."""
        until(lambda: is_done(lambda: self.find(selector).send_keys(Keys.ENTER)), f"the key on {selector}")

    def choose(self, label: str) -> None:
        """Clicks the option whose label begins with this text, in the open dialog."""
        what = f"the option {label!r}"

        def choose() -> None:
            self._first("dialog[open] label", lambda option: option.text.startswith(label), what).click()

        until(lambda: is_done(choose), f"a click on {label!r}")

    def fill(self, **fields: str) -> None:
        """Types into the fields of these names, in the open dialog if there is one."""
        scope = "dialog[open] " if self.run("return !!document.querySelector('dialog[open]')") else ""
        for name, value in fields.items():
            self._fill(f"{scope}[name={name}]", value)

    def _fill(self, selector: str, value: str) -> None:
        def write() -> None:
            field = self.find(selector)
            field.clear()
            field.send_keys(value)

        until(lambda: is_done(write), f"a value of {selector}")

    def pick(self, selector: str, text: str) -> None:
        """Types the beginning of an option's text into a list, as the keyboard's way to choose it."""
        selected = "return arguments[0].selectedOptions[0].text"

        def is_picked() -> bool:
            field = self.find(selector)
            field.send_keys(text)
            if self.run(selected, field).startswith(text):
                return True
            # The browser takes keys that follow within a second for more of the same text.
            time.sleep(1.2)
            return False

        until(lambda: unless_replaced(is_picked), f"the option {text!r} of {selector}")

    def type(self, *keys: str) -> None:
        """Types where the keyboard is."""

        def type_there() -> bool:
            self.driver.switch_to.active_element.send_keys(*keys)
            return True

        until(lambda: unless_replaced(type_there), "the keys")

    def paste(self, text: str) -> None:
        """Pastes into the terminal."""
        script = """
            const data = new DataTransfer();
            data.setData("text/plain", arguments[0]);
            document.querySelector(".xterm-helper-textarea").dispatchEvent(
              new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        """
        self.run(script, text)

    def wait_for(self, text: str, *, gone: bool = False) -> None:
        """Waits until the page shows `text`, or no longer does."""
        what = f"{text!r} {'gone from' if gone else 'in'} {self.text[-600:]!r}"
        until(lambda: (text in self.text) != gone, what, _WAIT_SECS)

    def log_in(self, username: str, password: str) -> None:
        self.open("/login")
        self.fill(username=username, password=password)
        self.type(Keys.ENTER)

        def is_in() -> bool:
            if self._must_try_again():
                if self.path.startswith("/login"):
                    self.fill(username=username, password=password)
                    self.type(Keys.ENTER)
                else:
                    self.driver.refresh()
            return "Log out" in self.text

        until(is_in, f"the log-in of {username} in {self.text!r}", _WAIT_SECS)

    def switch_to_new_tab(self) -> None:
        """Goes to the second tab, once there is one."""
        here = self.driver.current_window_handle
        others = until(lambda: [each for each in self.driver.window_handles if each != here], "a second tab")
        self.driver.switch_to.window(others[0])
        self.resize(DESKTOP)

    def eavesdrop(self) -> None:
        """From the next page on, `received` has every byte that the device sent."""
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _EAVESDROP})

    @property
    def received(self) -> str:
        text: str = self.run("return window.received.join('')")
        return text

    @property
    def frames(self) -> int:
        """The number of frames that came since the page was loaded, of any kind."""
        frames: int = self.run("return window.framesHeard")
        return frames

    @property
    def screen(self) -> str:
        """The terminal's screen, line by line."""
        script = "return [...document.querySelectorAll('.xterm-rows > div')].map((row) => row.textContent).join('\\n')"
        text: str = self.run(script)
        return "\n".join(line.rstrip() for line in text.replace("\xa0", " ").split("\n"))

    def screenshot(self, name: str) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        self.driver.save_screenshot(str(ARTEFACTS / f"{name}.png"))

    def errors(self) -> list[str]:
        """The browser's complaints since the last call: scripts that failed, policies that were violated.

        An answer after which this class has tried again is none.
        """
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        found = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        return [each for each in found if not (self._has_tried_again and "status of 503" in each)]
