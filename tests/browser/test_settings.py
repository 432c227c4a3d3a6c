"""The pages Settings and Licence: change, refuse, undo, two administrators at once, keyboard, phone, axe."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import TEAMS_LICENSE
from tests.browser.browser import PHONE, Browser, unless_replaced
from tests.browser.ha import WIDE, confirm, findings, shoot
from tests.controller import Api, Controller, until
from tests.postgres import Postgres
from tests.smtp_server import SmtpServer

PAGE = "/admin/settings"


@pytest.fixture(scope="module")
def controller(postgres: Postgres, chromium: object) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), RECORDING_RETENTION_DAYS="30").start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def admin(controller: Controller) -> Api:
    api = controller.login()
    user = {"username": "oda", "password": "an operator of the tests", "role": "operator"}
    api.post("/api/users", user)
    return api


@pytest.fixture(autouse=True)
def defaults(admin: Api) -> Iterator[None]:
    yield
    for each in admin.get("/api/v1/settings")["items"]:
        if each["source"] == "stored":
            admin.call("DELETE", f"/api/v1/settings/{each['key']}")


def row(browser: Browser, key: str) -> str:
    """The text of the row of a setting."""
    text: str = browser.run("return document.getElementById(arguments[0])?.innerText ?? ''", key.replace(".", "-"))
    return text


def value(browser: Browser, key: str) -> str:
    text: str = browser.run(
        "return document.querySelector(`#${arguments[0]} .value`)?.innerText ?? ''", key.replace(".", "-")
    )
    return text


def alert(browser: Browser) -> str:
    """The error in the open dialog."""
    text: str = browser.run("return document.querySelector('dialog[open] [role=alert]')?.textContent ?? ''")
    return text


def is_open(browser: Browser) -> bool:
    return bool(browser.run("return !!document.querySelector('dialog[open]')"))


def test_a_number_is_changed_refused_reloaded_and_set_back(browser: Browser, admin: Api) -> None:
    browser.open(PAGE)
    assert value(browser, "sessions.idle_minutes") == "never"
    browser.click("Change End after idle time")
    assert "From 0 to 10080 minutes." in browser.find("dialog[open]").text
    browser.fill(value="99999")
    browser.type(Keys.ENTER)
    until(lambda: alert(browser) == "Value: must be less than or equal to 10080", "the refusal")
    assert admin.get("/api/v1/settings/sessions.idle_minutes")["value"] == 0
    browser.fill(value="30")
    browser.type(Keys.ENTER)
    until(lambda: value(browser, "sessions.idle_minutes") == "30 minutes", "the new value")
    assert "admin" in row(browser, "sessions.idle_minutes")
    # A reload in the middle of another change: nothing of it is kept.
    browser.click("Change End after idle time")
    browser.fill(value="45")
    browser.open(PAGE)
    assert value(browser, "sessions.idle_minutes") == "30 minutes"
    assert not is_open(browser)
    browser.click("Back to default: End after idle time")
    assert "The value becomes: never." in browser.find("dialog[open]").text
    confirm(browser)
    until(lambda: value(browser, "sessions.idle_minutes") == "never", "the default")
    assert "Back to default" not in row(browser, "sessions.idle_minutes")
    assert browser.errors() == [] or all("422" in each for each in browser.errors())


def test_a_feature_is_switched_off_for_a_role(browser: Browser, admin: Api) -> None:
    browser.open(PAGE)
    browser.click("Change Sharing of sessions")
    browser.choose("operator")
    confirm(browser)
    until(lambda: value(browser, "features.sharing") == "on, but off for operator", "the new value")
    assert admin.get("/api/v1/settings/features.sharing")["value"] == {"enabled": True, "disabled_roles": ["operator"]}
    browser.click("Change Sharing of sessions")
    ticked = browser.run("return [...document.querySelectorAll('dialog[open] :checked')].map((each) => each.name)")
    assert "role operator" not in ticked
    assert {"enabled", "role admin", "role viewer"} <= set(ticked)
    browser.choose("On")
    confirm(browser)
    until(lambda: value(browser, "features.sharing") == "off", "off for all")


def test_of_two_administrators_the_second_sees_what_the_first_has_changed(browser: Browser, admin: Api) -> None:
    browser.open(PAGE)
    browser.click("Change Longest duration")
    admin.call("PUT", "/api/v1/settings/sessions.longest_hours", json={"value": 8})
    browser.fill(value="12")
    browser.type(Keys.ENTER)
    until(lambda: "was changed meanwhile by admin" in alert(browser), "the refusal")
    browser.type(Keys.ESCAPE)
    until(lambda: value(browser, "sessions.longest_hours") == "8 hours", "the value of the other one")
    browser.click("Change Longest duration")
    browser.fill(value="12")
    browser.type(Keys.ENTER)
    until(lambda: value(browser, "sessions.longest_hours") == "12 hours", "the own value")


def test_a_switch_that_another_administrator_has_changed_shows_its_state(browser: Browser, admin: Api) -> None:
    browser.open(PAGE)
    admin.call("PUT", "/api/v1/settings/mail.on_license", json={"value": False})
    browser.click("Switch off: Licence")
    browser.wait_for("The setting Licence was changed meanwhile by admin")
    until(lambda: value(browser, "mail.on_license") == "off", "the value of the other one")
    browser.click("Switch on: Licence")
    until(lambda: value(browser, "mail.on_license") == "on", "the own value")


def test_what_the_environment_sets_is_shown_and_cannot_be_changed(browser: Browser) -> None:
    browser.open(PAGE)
    text = row(browser, "recordings.retention_days")
    assert "30 days" in text
    assert "set by the environment variable RECORDING_RETENTION_DAYS" in text
    assert browser.run("return document.querySelectorAll('#recordings-retention_days button').length") == 0


def test_the_banner_is_shown_before_log_in(browser: Browser, stranger: Browser) -> None:
    browser.open(PAGE)
    browser.click("Change Banner before log-in")
    browser.fill(value="Only for staff.\nAll sessions are <b>recorded</b>.")
    confirm(browser)
    until(lambda: "Only for staff." in value(browser, "login.banner"), "the new value")
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.open("/login")
    browser.wait_for("Only for staff.\nAll sessions are <b>recorded</b>.")
    assert findings(browser) == []
    browser.screenshot("settings-banner")


def test_mail_with_the_password_in_the_vault_and_a_test_message(browser: Browser, admin: Api) -> None:
    with SmtpServer() as smtp:
        for key, wanted in {
            "mail.host": "127.0.0.1",
            "mail.port": smtp.port,
            "mail.from": "netstacks@example.com",
            "mail.to": "noc@example.com",
        }.items():
            admin.call("PUT", f"/api/v1/settings/{key}", json={"value": wanted})
        browser.open(PAGE)
        browser.click("Change Password")
        browser.fill(value="s3cret-word")
        confirm(browser)
        until(lambda: value(browser, "mail.password") == "set", "the password")
        assert "s3cret-word" not in browser.driver.page_source
        # The server offers no STARTTLS, which is the default.
        browser.click("Send a test message")
        confirm(browser)
        until(lambda: "offers no STARTTLS" in alert(browser), "the failure in words")
        browser.screenshot("settings-mail-failed")
        browser.type(Keys.ESCAPE)
        browser.click("Change Encryption")
        browser.run("document.querySelector('dialog[open] select').value = 'none'")
        confirm(browser)
        browser.wait_for("Password: enter it again, the stored one was for the former value.")
        until(lambda: value(browser, "mail.security") == "not encrypted", "the encryption")
        until(lambda: value(browser, "mail.password") == "not set", "the password's end")
        browser.click("Send a test message")
        confirm(browser)
        browser.wait_for("The test message was sent.")
        assert [each.recipients for each in smtp.mails] == [["noc@example.com"]]
    browser.click("Switch off: Licence")
    until(lambda: value(browser, "mail.on_license") == "off", "the switch")


def test_by_keyboard_alone(browser: Browser) -> None:
    browser.open(PAGE)
    button = browser.button("Change Sessions of one user")
    browser.run("arguments[0].focus()", button)
    browser.type(Keys.ENTER)
    until(lambda: is_open(browser), "the dialog")
    assert browser.driver.switch_to.active_element.get_attribute("name") == "value"
    browser.type(Keys.CONTROL, "a")
    browser.type("7", Keys.ENTER)
    until(lambda: value(browser, "sessions.per_user") == "7", "the new value")

    def focused() -> str:
        return browser.driver.switch_to.active_element.accessible_name

    # The list, and the button in it, is replaced.
    until(lambda: unless_replaced(focused) == "Change Sessions of one user", "the focus at the button")


def test_an_operator_has_neither_page_nor_entry(stranger: Browser, admin: Api) -> None:
    stranger.log_in("oda", "an operator of the tests")
    for path in (PAGE, "/admin/license"):
        stranger.open(path)
        stranger.wait_for("You need the")
    stranger.open("/admin")
    entries = [each.text for each in stranger.driver.find_elements(By.CSS_SELECTOR, "nav.side a")]
    assert not {"Settings", "Licence"} & set(entries)


@pytest.mark.parametrize("path", [PAGE, "/admin/license"])
def test_pages_have_no_findings_and_fit_a_phone(browser: Browser, admin: Api, path: str) -> None:
    text = "Authorised users only.\n" + "All sessions are recorded and can be replayed by administrators. " * 5
    admin.call("PUT", "/api/v1/settings/login.banner", json={"value": text})
    admin.call("PUT", "/api/v1/settings/features.jump_box", json={"value": {"disabled_roles": ["viewer", "operator"]}})
    name = path.rsplit("/", 1)[1]
    for size, width in ((WIDE, "wide"), (PHONE, "phone")):
        browser.resize(size)
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            browser.open(path)
            assert findings(browser) == [], (width, scheme)
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), (width, scheme)
            shoot(browser, f"{name}-{width}-{scheme}", size)
    if path == PAGE:
        for opener in (
            "Change End after idle time",
            "Change Jump box",
            "Change Banner before log-in",
            "Change Password",
        ):
            browser.click(opener)
            until(lambda: is_open(browser), opener)
            assert findings(browser) == [], opener
            browser.screenshot(f"settings-dialog-{re.sub('[^a-z]+', '-', opener.lower())}")
            browser.type(Keys.ESCAPE)


def test_a_licence_is_activated_from_a_file(browser: Browser, tmp_path: Path) -> None:
    browser.open("/admin/license")
    browser.wait_for("evaluation")
    browser.click("Activate a licence")
    browser.fill(license_key="no licence")
    confirm(browser)
    until(lambda: "This is not a licence key" in alert(browser), "the refusal")
    file = tmp_path / "netstacks.lic"
    file.write_text(TEAMS_LICENSE + "\n")
    browser.find("dialog[open] input[type=file]").send_keys(str(file))
    until(lambda: browser.run("return document.querySelector('dialog[open] textarea').value") == TEAMS_LICENSE, "it")
    assert findings(browser) == []
    browser.screenshot("license-dialog")
    confirm(browser)
    browser.wait_for("Teams")
    assert "of 5" in browser.text
    assert "High availability" in browser.text
