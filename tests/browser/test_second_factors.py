"""Two-step log-in in a real browser, with a virtual authenticator for passkeys and pyotp for the app on a phone."""

import time
from collections.abc import Iterator

import pyotp
import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions

from netstacks.store import settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import SECOND_FACTOR
from tests.acceptance.cluster import Cluster
from tests.browser.browser import PHONE, Browser
from tests.browser.ha import WIDE, findings
from tests.controller import Api, Controller, until
from tests.postgres import Postgres
from tests.wire import Wire

PASSWORD = "a password of hers"

# Holds what a passkey has signed back until `release`.
_HOLD = """
const send = window.fetch;
window.fetch = async (...given) => {
  if (given[0].endsWith("/login/passkey")) {
    window.isHeld = true;
    await new Promise((resolve) => (window.release = resolve));
  }
  return send(...given);
};
"""


@pytest.fixture
def database(controller: Controller, admin: Api) -> Iterator[Database]:
    database = Database(controller.environ["DATABASE_URL"])
    database.open()
    yield database
    with database.transaction() as tx:
        settings.put(tx, SECOND_FACTOR.key, "optional")
    database.close()
    headers = {"Authorization": f"Bearer {admin.token}"}
    until(lambda: requests.get(f"{controller.url}/api/users", headers=headers, timeout=30).ok, "the setting counts")


@pytest.fixture
def lee(admin: Api) -> Iterator[str]:
    """A user of the test's own."""
    user = admin.post("/api/users", {"username": "lee", "role": "operator", "password": PASSWORD})
    yield "lee"
    admin.call("DELETE", f"/api/users/{user['id']}")


@pytest.fixture
def site(chromium: webdriver.Chrome, controller: Controller, lee: str) -> Iterator[Browser]:
    """A browser at a host name, as passkeys need one, with an authenticator; lee is logged in."""
    browser = Browser(chromium, f"http://localhost:{controller.port}")
    with_authenticator(browser)
    browser.log_in(lee, PASSWORD)
    yield browser
    browser.driver.remove_virtual_authenticator()


def with_authenticator(browser: Browser) -> None:
    options = VirtualAuthenticatorOptions()
    options.has_resident_key = options.has_user_verification = options.is_user_verified = True
    options.transport = VirtualAuthenticatorOptions.Transport.INTERNAL.value
    browser.driver.add_virtual_authenticator(options)


def prove(browser: Browser, password: str = PASSWORD) -> None:
    """Types the password into the dialog that asks for it."""
    browser.wait_for("Confirm that it is you")
    browser.type(password, Keys.ENTER)


def secret_on(browser: Browser) -> str:
    def shown() -> str:
        return browser.find("dialog[open] [data-slot=secret]").text.replace(" ", "")

    return str(until(shown, "the key"))


def code_of(app: pyotp.TOTP, used: str = "") -> str:
    """A code that was not used yet: that of the next 30 seconds is accepted, too."""
    now = app.now()
    return now if now != used else app.at(time.time(), counter_offset=1)


def set_app_up(browser: Browser) -> pyotp.TOTP:
    """Sets an authenticator app up on the account page; its code of the moment is used then."""
    browser.open("/account")
    browser.click("Set up an authenticator app")
    prove(browser)
    app = pyotp.TOTP(secret_on(browser))
    browser.fill(code=app.now())
    browser.type(Keys.ENTER)
    return app


def add_app(browser: Browser) -> list[str]:
    """Sets an authenticator app up as the first factor, which comes with recovery codes."""
    set_app_up(browser)
    return keep_codes(browser)


def add_another_app(browser: Browser) -> pyotp.TOTP:
    """The same for a user who has recovery codes."""
    app = set_app_up(browser)
    browser.wait_for("The authenticator app was set up.")
    return app


def keep_codes(browser: Browser) -> list[str]:
    browser.wait_for("Each of these codes replaces your second factor once")
    codes = [each.text for each in browser.driver.find_elements("css selector", ".codes code")]
    browser.click("I have kept them")
    return codes


def add_passkey(browser: Browser, name: str = "Work laptop") -> None:
    browser.open("/account")
    browser.click("Add a passkey")
    prove(browser)
    browser.wait_for("What you call the device")
    browser.type(name, Keys.ENTER)


def log_out(browser: Browser) -> None:
    browser.click("Log out")
    browser.wait_for("User name or e-mail")


def give_password(browser: Browser, username: str = "lee") -> None:
    browser.open("/login")
    browser.fill(username=username, password=PASSWORD)
    browser.type(Keys.ENTER)


def test_an_app_is_set_up_and_used_with_the_keyboard_alone(site: Browser) -> None:
    site.open("/account")
    site.run("document.querySelector('[data-factor=set-up-app]').focus()")
    site.type(Keys.ENTER)
    prove(site, "wrong")
    site.wait_for("Current password is not correct")
    site.screenshot("second-factor-prove")
    site.run("document.activeElement.select?.()")
    site.fill(password=PASSWORD)
    site.type(Keys.ENTER)
    app = pyotp.TOTP(secret_on(site))
    site.screenshot("second-factor-app")
    site.fill(code="000000")
    site.type(Keys.ENTER)
    site.wait_for("Code is not correct")
    used = app.now()
    site.fill(code=used)
    site.type(Keys.ENTER)
    site.wait_for("Each of these codes replaces your second factor once")
    site.screenshot("second-factor-codes")
    assert len(site.driver.find_elements("css selector", ".codes li")) == 10
    site.type(Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER)
    site.wait_for("10 unused recovery codes")
    site.screenshot("second-factor-account")

    log_out(site)
    give_password(site)
    site.wait_for("Enter the code that your authenticator app shows.")
    assert site.run("return document.activeElement.name") == "code"
    assert site.run("return document.activeElement.autocomplete") == "one-time-code"
    site.screenshot("second-factor-code")
    site.type(used, Keys.ENTER)
    site.wait_for("The code is not correct, or it was used already.")
    site.type(code_of(app, used), Keys.ENTER)
    site.wait_for("Log out")
    # The refused steps are answered with 401, which the browser reports.
    assert all("status of 401" in error or "status of 403" in error or "422" in error for error in site.errors())


def test_a_recovery_code_logs_in_once(site: Browser) -> None:
    codes = add_app(site)
    log_out(site)
    for outcome in ("Log out", "The code is not correct"):
        give_password(site)
        site.click("Use a recovery code")
        assert site.run("return document.activeElement.name") == "recovery_code"
        site.type(codes[0].upper(), Keys.ENTER)
        site.wait_for(outcome)
        if outcome == "Log out":
            log_out(site)
    site.click("Start again")
    assert site.run("return document.activeElement.name") == "password"
    site.type(PASSWORD, Keys.ENTER)
    site.click("Use a recovery code")
    site.type(codes[1], Keys.ENTER)
    site.wait_for("Log out")
    site.open("/account")
    site.wait_for("8 unused recovery codes")


def test_recovery_codes_are_copied_downloaded_and_renewed(site: Browser) -> None:
    old = add_app(site)
    site.click("New recovery codes")
    prove(site)
    site.wait_for("Each of these codes replaces your second factor once")
    shown = [each.text for each in site.driver.find_elements("css selector", ".codes code")]
    assert not set(shown) & set(old)
    link = site.find("[data-codes=download]").get_attribute("href")
    script = "const done = arguments[1]; fetch(arguments[0]).then((r) => r.text()).then(done, (e) => done(String(e)));"
    # The policy of the page forbids scripts to read the file; a click saves it.
    assert link.startswith("blob:")
    assert "Failed to fetch" in site.driver.execute_async_script(script, link)
    site.click("Copy")
    site.wait_for("The codes")
    assert site.find("[data-slot=kept]").text.startswith("The codes ")
    site.click("I have kept them")
    site.wait_for("The recovery codes were renewed.")


def test_a_passkey_is_added_used_renamed_and_removed(site: Browser) -> None:
    add_passkey(site)
    keep_codes(site)
    site.wait_for("Work laptop")
    site.screenshot("second-factor-passkey")
    assert len(site.driver.get_credentials()) == 1

    # The same device is not added twice.
    add_passkey(site, "Again")
    site.wait_for("This device has a passkey for your account already.")
    site.click("Cancel")

    site.click("Rename Work laptop")
    prove(site)
    site.wait_for("Rename Work laptop")
    site.fill(name="Old laptop")
    site.type(Keys.ENTER)
    site.wait_for("The passkey was renamed.")

    site.click("Remove Old laptop")
    site.wait_for("Confirm that it is you")
    site.click("Use a passkey")
    site.wait_for("Old laptop was removed.")
    site.wait_for("Your password alone logs you in.")


def test_a_passkey_completes_a_log_in(site: Browser) -> None:
    add_passkey(site)
    keep_codes(site)
    # An authenticator that does not offer itself in the field for the user name.
    site.driver.set_user_verified(False)
    log_out(site)
    give_password(site)
    site.wait_for("Confirm with your passkey")
    site.screenshot("second-factor-passkey-step")
    site.driver.set_user_verified(True)
    site.click("Use the passkey")
    site.wait_for("Log out")


def test_a_passkey_alone_logs_in(site: Browser) -> None:
    add_passkey(site)
    keep_codes(site)
    site.driver.set_user_verified(False)
    log_out(site)
    site.screenshot("second-factor-login")
    site.driver.set_user_verified(True)
    site.click("Log in with a passkey")
    site.wait_for("Log out")
    site.open("/account")
    site.wait_for("Work laptop")


def test_a_passkey_that_is_refused_when_the_field_offers_it_is_explained(site: Browser, admin: Api) -> None:
    add_passkey(site)
    keep_codes(site)
    (lee,) = (each for each in admin.get("/api/users")["items"] if each["username"] == "lee")
    admin.call("DELETE", f"/api/v1/users/{lee['id']}/second-factors")
    # The authenticator of this test takes the offer as soon as the page makes it.
    site.open("/login")
    site.wait_for("The passkey was not accepted. Try again, or log in another way.")


def test_an_authenticator_without_a_passkey_is_explained(site: Browser) -> None:
    log_out(site)
    site.click("Log in with a passkey")
    site.wait_for("No passkey was used")


def test_an_expired_log_in_is_renewed_with_the_second_factor(site: Browser) -> None:
    add_passkey(site)
    keep_codes(site)
    app = add_another_app(site)
    used = app.now()
    site.open("/credentials")
    site.click("Add credential")
    site.fill(name="My TACACS", username="lee", secret="s3cret")
    site.driver.delete_cookie("netstacks_page")
    site.type(Keys.ENTER)
    site.wait_for("Your log-in has expired")
    site.type(PASSWORD, Keys.ENTER)
    site.wait_for("Confirm with your passkey")
    site.screenshot("second-factor-renewal")
    site.click("Use an authenticator app")
    site.type(code_of(app, used), Keys.ENTER)
    site.wait_for("The credential was added.")
    site.wait_for("My TACACS")


def test_a_required_factor_is_set_up_before_anything_else(site: Browser, database: Database) -> None:
    with database.transaction() as tx:
        settings.put(tx, SECOND_FACTOR.key, "all")

    def is_led() -> bool:
        site.open("/")
        return site.path == "/account/second-factor"

    until(is_led, "the setting counts")
    site.wait_for("Before you go on, lee")
    site.screenshot("second-factor-required")
    assert findings(site) == []
    site.click("Set up an authenticator app")
    prove(site)
    app = pyotp.TOTP(secret_on(site))
    site.fill(code=app.now())
    site.type(Keys.ENTER)
    keep_codes(site)
    until(lambda: site.path == "/", "the devices")
    site.open("/account")
    site.click("Remove the authenticator app")
    prove(site)
    site.wait_for("This is your last second factor, and your account must have one")


def test_the_password_on_one_instance_and_the_code_on_another(chromium: webdriver.Chrome, postgres: Postgres) -> None:
    with Cluster(postgres, 2) as cluster:
        first, second = cluster.controllers
        first.login().post("/api/users", {"username": "lee", "role": "operator", "password": PASSWORD})
        wire = Wire(first.port)
        try:
            browser = Browser(chromium, f"http://localhost:{wire.port}")
            with_authenticator(browser)
            browser.log_in("lee", PASSWORD)
            add_passkey(browser)
            keep_codes(browser)
            app = add_another_app(browser)
            used = app.now()
            browser.driver.set_user_verified(False)
            log_out(browser)
            give_password(browser)
            browser.wait_for("Confirm with your passkey")
            browser.click("Use an authenticator app")
            wire.lead_to(second.port)
            wire.abort()
            browser.type(code_of(app, used), Keys.ENTER)
            browser.wait_for("Log out")

            # The challenge of one instance, the answer at the other.
            log_out(browser)
            browser.driver.set_user_verified(True)
            browser.run(_HOLD)
            browser.click("Log in with a passkey")
            until(lambda: browser.run("return window.isHeld"), "the answer of the passkey")
            wire.lead_to(first.port)
            wire.abort()
            browser.run("window.release()")
            browser.wait_for("Log out")
        finally:
            browser.driver.remove_virtual_authenticator()
            wire.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_and_dialogs_are_accessible_and_fit(site: Browser, scheme: str) -> None:
    add_passkey(site, "A laptop with a rather long name")
    keep_codes(site)
    add_another_app(site)
    site.prefer(scheme)
    for name, size in (("wide", WIDE), ("phone", PHONE)):
        site.resize(size)
        site.open("/account")
        site.wait_for("A laptop with a rather long name")
        look(site, f"second-factor-account-{name}-{scheme}", size)
        site.click("Replace the authenticator app")
        site.wait_for("Confirm that it is you")
        look(site, f"second-factor-prove-{name}-{scheme}", size)
        site.type(PASSWORD, Keys.ENTER)
        secret_on(site)
        look(site, f"second-factor-app-{name}-{scheme}", size)
        site.click("Cancel")
        site.click("Rename A laptop with a rather long name")
        prove(site)
        site.wait_for("What you call the device")
        look(site, f"second-factor-name-{name}-{scheme}", size)
        site.click("Cancel")
        site.click("New recovery codes")
        prove(site)
        site.wait_for("Each of these codes replaces your second factor once")
        look(site, f"second-factor-codes-{name}-{scheme}", size)
        site.click("I have kept them")
    site.driver.set_user_verified(False)
    log_out(site)
    for name, size in (("phone", PHONE), ("wide", WIDE)):
        site.resize(size)
        site.open("/login")
        site.wait_for("Log in with a passkey")
        look(site, f"second-factor-login-{name}-{scheme}", size)
        give_password(site)
        site.wait_for("Confirm with your passkey")
        look(site, f"second-factor-step-{name}-{scheme}", size)
        site.click("Use an authenticator app")
        look(site, f"second-factor-code-{name}-{scheme}", size)


def look(browser: Browser, name: str, size: tuple[int, int]) -> None:
    browser.screenshot(name)
    assert findings(browser) == [], name
    assert browser.run("return document.documentElement.scrollWidth") <= size[0], name
    dialog = "const dialog = document.querySelector('dialog[open]'); return dialog ? dialog.scrollWidth : 0"
    assert browser.run(dialog) <= size[0], name
