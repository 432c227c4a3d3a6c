"""The terminal page while a device is logged in to: what it asks and says is in the terminal, and Cancel is at hand."""

from collections.abc import Callable

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser
from tests.controller import Api, until
from tests.zoo.scripts import Console, offering, password, questions
from tests.zoo.server import Animal, Script, ScriptedServer, Visit

SECRET = "s3cret"

AddDevice = Callable[[ScriptedServer], str]


@pytest.fixture
def add(admin: Api) -> AddDevice:
    """Adds a scripted device, and returns the path of its terminal."""

    def add(server: ScriptedServer) -> str:
        credential = admin.add_credential("ada", SECRET, name=f"For {server.port}")
        device = admin.add_device(
            server.host, server.port, host_key=server.host_key, default_credential_id=credential["id"]
        )
        return f"/terminals/new?device={device['id']}"

    return add


def device(log_in: Script) -> ScriptedServer:
    return ScriptedServer(Animal(log_in, Console(greeting="Welcome\r\n", prompt="r1# ")))


def test_a_code_is_typed_into_the_terminal(browser: Browser, add: AddDevice) -> None:
    def log_in(visit: Visit) -> None:
        visit.banner("Authorised use only\n")
        check = questions((("Password: ", False, SECRET),), (("Enter PASSCODE: ", False, "123456"),))
        offering("keyboard-interactive", keyboard_interactive=check)(visit)

    with device(log_in) as server:
        browser.open(add(server))
        browser.wait_for("Logging in")
        until(lambda: "Enter PASSCODE:" in browser.screen, "the question")
        browser.screenshot("device-asks")
        browser.type("123456", Keys.ENTER)
        browser.wait_for("Connected")
        until(lambda: "r1#" in browser.screen, "the prompt")
        assert browser.screen.count("Authorised use only") == 1
        assert "123456" not in browser.screen
        browser.screenshot("device-asked")
        assert browser.errors() == []


def test_a_slow_device_is_told_of_and_can_be_cancelled(browser: Browser, add: AddDevice) -> None:
    with device(offering("password", password=password(SECRET, after_secs=60))) as server:
        browser.open(add(server))
        until(lambda: "waiting for the device to check the password" in browser.screen, "what is waited for")
        browser.screenshot("device-is-slow")
        browser.click("Cancel")
        browser.wait_for("Cancelled")
        assert browser.button("Try again").is_displayed()


def test_a_refused_password_is_not_sent_again_by_trying_again(browser: Browser, add: AddDevice) -> None:
    with device(offering("password", password=password("another"))) as server:
        browser.open(add(server))
        browser.wait_for("refused the password of ada")
        browser.click("Try again")
        browser.wait_for("is not tried again before")
        browser.screenshot("device-refuses")
        assert len(server.attempts) == 1
