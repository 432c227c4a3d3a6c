"""Helpers of the tests of shared terminals."""

from tests.browser.browser import Browser
from tests.browser.silence import note_states
from tests.controller import until


def make_link(owner: Browser, what: str = "Watch only") -> str:
    """Makes a link in the owner's dialog, which stays open."""
    owner.click("Share")
    owner.choose(what)
    owner.click("Create link")
    link: str = until(
        lambda: owner.run("return document.querySelector('#share-dialog li input')?.value"), "a link in the dialog"
    )
    return link


class Tabs:
    """The owner's tab and a guest's: another site to the browser, without a log-in."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._owners = browser.driver.current_window_handle
        self._guests = ""

    def invite(self, link: str) -> Browser:
        self._browser.new_tab()
        self._guests = self._browser.driver.current_window_handle
        self._browser.driver.get(link.replace("127.0.0.1", "localhost"))
        note_states(self._browser)
        return self._browser

    def to_owner(self) -> None:
        self._browser.driver.switch_to.window(self._owners)

    def to_guest(self) -> None:
        self._browser.driver.switch_to.window(self._guests)
