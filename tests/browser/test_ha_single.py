"""The HA status page of a single instance: nothing takes over, and a drain needs a second thought."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser
from tests.browser.ha import id_of, is_healthy, watch
from tests.browser.keyboard import Keyboard
from tests.controller import Controller, until


@pytest.fixture(scope="module")
def drained(controller: Controller) -> str:
    """The id of the instance, which does not survive the last test."""
    return id_of(controller)


def test_it_says_that_no_other_instance_takes_over(browser: Browser, drained: str) -> None:
    watch(browser)
    browser.wait_for("Single instance")
    browser.wait_for("VALKEY_URL")
    until(lambda: is_healthy(browser, drained), "its row")
    assert "Degraded" not in browser.text
    browser.screenshot("ha-single")
    assert browser.errors() == []


def test_the_drain_of_the_last_instance_is_asked_for_twice(
    browser: Browser, controller: Controller, drained: str
) -> None:
    watch(browser)
    keyboard = Keyboard(browser)
    keyboard.open(f"Drain {drained}")
    browser.wait_for("Proceed although no other instance can take the sessions over")
    submit = browser.find("dialog[open] [type=submit]")
    assert not submit.is_enabled()
    browser.screenshot("ha-force")
    keyboard.fill(force=Keys.SPACE)
    until(submit.is_enabled, "the button")
    keyboard.submit()
    assert controller.process is not None
    assert controller.process.wait(60) == 0
