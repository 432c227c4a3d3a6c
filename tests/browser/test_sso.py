"""Single sign-on in a real browser: at a real provider, on one controller and on two behind nginx; and its page."""

from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver

from tests.acceptance.cluster import Cluster
from tests.acceptance.controller_admin import ControllerAdmin
from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.ha import WIDE, findings, shoot
from tests.controller import ADMIN, Api, Controller, until
from tests.deploy.balancers import Balancer, is_installed
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.postgres import Postgres

PATH = "/api/v1/identity-providers"


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        provider.shows_form = True
        yield provider


def enter(admin: Api, provider: OidcProvider, *origins: str) -> dict[str, Any]:
    """Enters the provider, with a role for each of two groups; `origins` are the addresses that users open."""
    body = {"name": "Example ID", "issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    entry: dict[str, Any] = admin.post(PATH, body | {"origins": origins} if origins else body)
    for group, role in (("network-admins", "admin"), ("network-operators", "operator")):
        entry = admin.post(f"{PATH}/{entry['id']}/mappings", {"group": group, "role": role})
    return entry


@pytest.fixture
def entry(admin: Api, provider: OidcProvider, stranger: Browser) -> Iterator[dict[str, Any]]:
    """The entry of the provider, without the users of an earlier one."""
    entry = enter(admin, provider, stranger.origin)
    yield entry
    admin.call("DELETE", f"{PATH}/{entry['id']}")
    for user in admin.get("/api/users")["items"]:
        if user["auth_provider"] == "oidc" or user["username"] == "kim":
            admin.call("DELETE", f"/api/users/{user['id']}")


def log_in(browser: Browser, path: str = "/sessions") -> None:
    browser.open(path)
    browser.click("Log in with Example ID")
    browser.wait_for("The provider")
    browser.click("Continue as Lee")


def test_a_user_logs_in_at_the_provider_and_out_there_too(
    stranger: Browser, entry: dict[str, Any], provider: OidcProvider
) -> None:
    log_in(stranger)
    stranger.wait_for("Log out")
    assert stranger.path == "/sessions"
    assert "lee" in stranger.find(".account").text
    stranger.click("Log out")
    stranger.wait_for("Logged out at the provider")
    stranger.click("Back")
    stranger.wait_for("Log in with Example ID")
    assert stranger.errors() == []


def test_a_refusal_is_a_sentence_on_the_log_in_page(
    stranger: Browser, entry: dict[str, Any], provider: OidcProvider
) -> None:
    provider.user["groups"] = ["kitchen"]
    log_in(stranger)
    stranger.wait_for("None of your groups at Example ID has a role in this controller.")
    stranger.screenshot("sso-refused")
    assert findings(stranger) == []
    provider.user["groups"] = ["network-operators"]
    stranger.click("Log in with Example ID")
    stranger.click("Continue as Lee")
    stranger.wait_for("Log out")
    assert stranger.path == "/sessions"


def test_without_the_provider_its_button_says_so_and_local_users_log_in(
    stranger: Browser, entry: dict[str, Any], provider: OidcProvider
) -> None:
    provider.faults["/.well-known/openid-configuration"] = "error"
    stranger.open("/login")
    stranger.wait_for("Example ID does not work now. It answered 503.")
    stranger.click("Log in with Example ID")
    stranger.wait_for("Example ID cannot be used for the log-in now.")
    for size, name in ((WIDE, "wide"), (PHONE, "phone")):
        for scheme in ("light", "dark"):
            stranger.resize(size)
            stranger.prefer(scheme)
            stranger.screenshot(f"sso-login-{name}-{scheme}")
            assert findings(stranger) == []
    stranger.prefer("light")
    stranger.resize(DESKTOP)
    stranger.log_in(*ADMIN)


def test_back_at_the_provider_leads_to_a_log_in_page_that_works(stranger: Browser, entry: dict[str, Any]) -> None:
    stranger.open("/sessions")
    stranger.click("Log in with Example ID")
    stranger.wait_for("The provider")
    stranger.driver.back()
    stranger.click("Log in with Example ID")
    stranger.click("Continue as Lee")
    stranger.wait_for("Log out")


def test_an_expired_log_in_is_renewed_in_another_window(stranger: Browser, admin: Api, entry: dict[str, Any]) -> None:
    log_in(stranger)
    stranger.wait_for("Log out")
    [user] = [each for each in admin.get("/api/users")["items"] if each["username"] == "lee"]
    admin.call("DELETE", f"/api/users/{user['id']}/logins")
    stranger.run(
        "import('/static/api.js').then(({ api }) => api('/api/auth/me')).then(() => (document.title = 'renewed'))"
    )
    stranger.wait_for("Your log-in has expired")
    stranger.screenshot("sso-renewal")
    assert findings(stranger) == []
    here = stranger.driver.current_window_handle
    stranger.click("log in in another window")
    stranger.switch_to_new_tab()
    stranger.click("Log in with Example ID")
    stranger.click("Continue as Lee")
    stranger.wait_for("Log out")
    stranger.driver.close()
    stranger.driver.switch_to.window(here)
    until(lambda: stranger.driver.title == "renewed", "the call that was repeated")


def test_another_browser_cannot_finish_the_log_in(stranger: Browser, entry: dict[str, Any]) -> None:
    """Log-in CSRF: a victim opens the last address of an attacker's log-in."""
    stranger.open("/sessions")
    stranger.click("Log in with Example ID")
    stranger.wait_for("The provider")
    # As in the victim's browser, which has not begun it.
    stranger.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    stranger.click("Continue as Lee")
    stranger.wait_for("This log-in was not begun in this browser")


def test_the_page_enters_tests_and_maps_a_provider(
    browser: Browser, controller: Controller, provider: OidcProvider, admin: Api
) -> None:
    browser.open("/admin/sso")
    browser.wait_for("No identity provider yet")
    browser.click("Add provider")
    browser.fill(name="Staff", issuer="http://login.example.net", client_id=CLIENT_ID, client_secret="wrong")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("must begin with https")
    browser.fill(issuer=provider.issuer)
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("No user can log in by this provider.")
    [entry] = admin.get(PATH)["items"]
    assert f"{browser.origin}/api/auth/sso/{entry['id']}/callback" in browser.text
    browser.click("Edit Staff")
    browser.fill(origins=f"{browser.origin}\nhttps://second.example/path")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("must be an origin")
    browser.fill(origins=f"{browser.origin}\nhttps://second.example")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for(f"https://second.example/api/auth/sso/{entry['id']}/callback")
    browser.click("Test Staff")
    browser.wait_for("with 1 key for signatures")

    for group, role in (("network-operators", "operator"), ("everybody", "viewer")):
        browser.click("Add group of Staff")
        browser.fill(group=group)
        browser.find(f"dialog[open] option[value={role}]").click()
        browser.click_on("dialog[open] [type=submit]")
        browser.wait_for(group)
    browser.click("Move everybody up")
    browser.wait_for("everybody was moved up.")
    [entry] = admin.get(PATH)["items"]
    assert [each["group"] for each in entry["mappings"]] == ["everybody", "network-operators"]
    browser.click("Remove everybody")
    browser.click("Remove")
    browser.wait_for("everybody has no role now.")

    admin.post("/api/users", {"username": "kim", "password": "several words of kim", "role": "viewer"})
    browser.click("Link user to Staff")
    browser.fill(username="kim", subject="user-7")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("user-7")
    for size, name in ((WIDE, "wide"), (PHONE, "phone")):
        for scheme in ("light", "dark"):
            browser.resize(size)
            browser.prefer(scheme)
            shoot(browser, f"sso-page-{name}-{scheme}", size)
            assert findings(browser) == []
    browser.click("Edit Staff")
    browser.screenshot("sso-dialog-phone")
    assert findings(browser) == []
    browser.resize(DESKTOP)
    browser.prefer("light")
    browser.screenshot("sso-dialog")

    # Another administrator has saved meanwhile.
    values = {name: entry[name] for name in ("issuer", "client_id")}
    version = admin.get(f"{PATH}/{entry['id']}")["version"]
    admin.call("PUT", f"{PATH}/{entry['id']}", json={**values, "name": "Staff of all", "version": version})
    browser.fill(name="Mine")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("was changed meanwhile by admin")
    browser.open("/admin/sso")
    browser.click("Delete Staff of all")
    browser.click("Delete")
    browser.wait_for("No identity provider yet")
    assert [each for each in browser.errors() if " 409 " not in each and " 422 " not in each] == []


@pytest.mark.skipif(not is_installed("nginx"), reason="needs Debian's nginx")
def test_the_second_half_of_a_log_in_is_done_by_another_instance(
    postgres: Postgres, chromium: webdriver.Chrome, provider: OidcProvider
) -> None:
    with Cluster(postgres, 2) as cluster:
        first, second = cluster.controllers
        with Balancer("nginx", [first.port, second.port]) as balancer:
            enter(first.login(), provider, balancer.url)
            second.kill()
            browser = Browser(chromium, balancer.url)
            browser.open("/sessions")
            browser.click("Log in with Example ID")
            browser.wait_for("The provider")
            second.start()
            first.kill()
            until(balancer.answers, "an answer of the second instance through nginx")
            browser.click("Continue as Lee")
            browser.wait_for("Log out")
            assert browser.path == "/sessions"
            until(lambda: "lee" in browser.find(".account").text, "the user's name")


def test_an_administrator_logs_in_at_a_controller_admin(
    postgres: Postgres, chromium: webdriver.Chrome, provider: OidcProvider
) -> None:
    controller = Controller(postgres.create_database(), TRUSTED_PROXIES="127.0.0.1").start()
    try:
        entry = enter(controller.login(), provider)
        provider.user["groups"] = ["network-admins"]
        with ControllerAdmin(controller) as site:
            browser = Browser(chromium, site.url)
            browser.open("/admin/sso")
            browser.click("Log in with Example ID")
            browser.wait_for(f"does not work at the address {site.url}. An administrator can add it")
            change = {**entry, "client_secret": "", "origins": [controller.url, site.url]}
            controller.login().call("PUT", f"{PATH}/{entry['id']}", json=change)
            browser.click("Log in with Example ID")
            browser.wait_for("The provider")
            browser.click("Continue as Lee")
            browser.wait_for("Groups of Example ID")
            assert browser.path == "/admin/sso"
            assert f"{site.url}/api/auth/sso/{entry['id']}/callback" in browser.text
            browser.click("Test Example ID")
            browser.wait_for("with 1 key for signatures")
            browser.click("Log out")
            browser.wait_for("Logged out at the provider")
    finally:
        controller.stop()
