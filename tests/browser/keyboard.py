"""A browser that is used by the keyboard alone, and users of custom roles."""

import time
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser
from tests.controller import Api, until

PASSWORD = "a password of theirs"
# More than any page has.
MAX_STOPS = 300

_NAME = """((element) => element.getAttribute("aria-label") ?? (element.labels?.[0] ?? element).textContent.trim())
  (document.activeElement)"""
# Keys that choose from a list do so only without a pause between them.
_HAS_PICKED = """
const field = document.activeElement;
return !field.matches("select") || field.selectedOptions[0].text.startsWith(arguments[0]);
"""
_NOTE_CHOOSER = "document.activeElement.addEventListener('cancel', ({ target }) => (target.dataset.wasOpen = true))"
_IN_DIALOG = "(document.activeElement.closest('dialog') === document.querySelector('dialog[open]'))"


class Keyboard:
    """Presses keys, and looks where the focus is."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def press(self, *keys: str) -> None:
        ActionChains(self.browser.driver).send_keys(*keys).perform()

    def go_to(self, name: str) -> None:
        """To the button, link or box of that name, in the open dialog if there is one."""
        self._tab_until(f"return {_IN_DIALOG} && {_NAME} === arguments[0]", name)

    def activate(self, name: str) -> None:
        self.go_to(name)
        self.press(Keys.ENTER)

    def open(self, name: str) -> None:
        """Opens the dialog of the button of that name."""
        self.activate(name)
        until(self.is_open, f"the dialog of {name!r}")
        assert self.is_in_dialog()

    def fill(self, **values: str) -> None:
        """Types into the fields of these names; a text for a checkbox is the key for it."""
        for name, value in values.items():
            self._tab_until(f"return {_IN_DIALOG} && document.activeElement.name === arguments[0]", name)
            if self.browser.run("return document.activeElement.matches('input:not([type=checkbox]), textarea')"):
                ActionChains(self.browser.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
            self.press(value)
            if not self.browser.run(_HAS_PICKED, value):
                # The browser takes keys that follow within a second for more of the same text.
                time.sleep(1.2)
                self.press(value)

    def choose_file(self, label: str, path: Path) -> None:
        """Opens the file chooser of the field by Space, and chooses the file in the place of the system's dialog."""
        self.go_to(label)
        self.browser.run(_NOTE_CHOOSER)
        self.press(Keys.SPACE)
        # No file is chosen: a browser without a screen closes the chooser at once.
        until(lambda: self.browser.run("return document.activeElement.dataset.wasOpen"), "the file chooser")
        self.browser.type(str(path))

    def submit(self) -> None:
        self._tab_until(f"return {_IN_DIALOG} && document.activeElement.matches('dialog [type=submit]')")
        self.press(Keys.ENTER)

    def leave(self, opener: str) -> None:
        """Closes the dialog by Escape, back to the button that has opened it."""
        self.press(Keys.ESCAPE)
        self.is_back_at(opener)

    def is_back_at(self, opener: str) -> None:
        until(lambda: not self.is_open(), "the dialog is closed")
        until(lambda: self.at() == opener, f"the focus, which is at {self.at()!r}, is at {opener!r}")

    def is_open(self) -> bool:
        return bool(self.browser.run("return !!document.querySelector('dialog[open]')"))

    def is_in_dialog(self) -> bool:
        return bool(self.browser.run(f"return !!document.activeElement.closest('dialog') && {_IN_DIALOG}"))

    def at(self) -> str:
        """The name of what has the focus."""
        name: str = self.browser.run(f"return {_NAME}")
        return name

    def value(self, name: str) -> str:
        script = "return document.querySelector(`dialog[open] [name='${arguments[0]}']:enabled`)?.value ?? ''"
        value: str = self.browser.run(script, name)
        return value

    def _tab_until(self, condition: str, *arguments: str) -> None:
        for _ in range(MAX_STOPS):
            if self.browser.run(condition, *arguments):
                return
            self.press(Keys.TAB)
        pytest.fail(f"Tab does not lead to {arguments} on {self.browser.path}")


def log_in_with(browser: Browser, admin: Api, *permissions: str) -> str:
    """Logs in a new user of a custom role with these permissions only; returns the name of the user."""
    name = f"only-{len(admin.get('/api/v1/roles')['items'])}"
    admin.post("/api/v1/roles", {"name": name, "permissions": list(permissions)})
    admin.post("/api/users", {"username": name, "password": PASSWORD, "role": name})
    browser.log_in(name, PASSWORD)
    return name
