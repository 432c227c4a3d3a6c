"""Every page and every dialog: axe-core objects to nothing in either theme, and all of it fits on a phone.

The keyboard opens the dialogs and closes them.
"""

import json

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.ha import findings
from tests.controller import ADMIN, Api, until

PATHS = {
    "pages of users": ("/", "/account", "/credentials", "/jumpbox", "/sessions", "/nothing-here"),
    "pages of one thing": (
        *("/admin/credentials/{credential}", "/admin/sessions/{session}/replay", "/admin/users/{user}"),
        *("/sessions/{session}/replay", "/terminals/new?device={device}", "/login"),
    ),
    "lists of administration": (
        *("/admin/about", "/admin/audit", "/admin/audit/targets", "/admin/credentials", "/admin/devices"),
        *("/admin/devices/import", "/admin/ha", "/admin/host-keys", "/admin/license"),
    ),
    "other pages of administration": (
        *("/admin/llm", "/admin/roles", "/admin/sessions", "/admin/settings", "/admin/sso", "/admin/users"),
    ),
}
# The page is so large that it has a test of its own: test_api_reference.py.
ELSEWHERE = {"/admin/api"}
# They are the same on each page.
COMMON = {"confirm": "/admin/users", "login-dialog": "/"}

# Opens a dialog as its script does, with a text where that fills one in.
_SHOW = """
const dialog = document.getElementById(arguments[0]);
dialog.showModal();
for (const other of dialog.querySelectorAll("[data-when=first]")) other.hidden = true;
for (const slot of dialog.querySelectorAll("[data-slot]:empty:not(ul, ol, div)")) slot.textContent = "A text";
"""

# The dialogs that a button of the page opens.
_WITH_BUTTON = """
const opened = new Set([...document.querySelectorAll("[data-dialog]")].map(({ dataset }) => dataset.dialog));
return [...opened].filter((id) => document.getElementById(id));
"""
_ROWS = "return document.querySelectorAll('main tbody tr').length"


@pytest.fixture(scope="module")
def stock(admin: Api, recorded: str, lab: str) -> dict[str, str]:
    """Something in each list; the ids in the addresses of pages."""
    password = {"name": "Stocked", "credential_type": "ssh_password", "username": "lee", "secret": "x"}
    credential = admin.post("/api/credentials", password)["id"]
    admin.post("/api/credentials/personal", password)
    user = admin.post("/api/users", {"username": "kim", "password": ADMIN[1], "role": "operator"})["id"]
    admin.post("/api/v1/roles", {"name": "noc", "permissions": ["devices.access"], "device_tags": ["core"]})
    target = {"name": "SIEM", "type": "syslog_tcp", "address": "127.0.0.1:9", "is_enabled": False}
    admin.post("/api/v1/audit/targets", target)
    admin.call("POST", "/api/v1/audit/filters", json={"name": "Devices", "event": "device.*"})
    admin.post("/api/v1/llm/providers", {"name": "Local", "type": "ollama", "models": ["small"], "enabled": False})
    path = "/api/v1/identity-providers"
    facts = {"name": "Example ID", "issuer": "https://login.example.net", "client_id": "n", "enabled": False}
    provider = admin.post(path, facts)["id"]
    admin.post(f"{path}/{provider}/mappings", {"group": "noc", "role": "viewer"})
    admin.call("PUT", "/api/v1/settings/sessions.per_user", json={"value": 20})
    return {"credential": credential, "user": user, "session": recorded, "device": lab}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("paths", PATHS.values(), ids=PATHS)
def test_pages_and_their_dialogs_have_no_findings_and_fit_a_phone(
    browser: Browser, stock: dict[str, str], paths: tuple[str, ...]
) -> None:
    for path in paths:
        if path == "/login":
            browser.driver.delete_all_cookies()
        browser.open(path.format(**stock))
        until(lambda: browser.run("return !!document.querySelector('h1, .xterm, .ap-player')"), path)
        check(browser, path)
        for dialog in dialogs(browser):
            if COMMON.get(dialog, path) == path:
                has_button = open_by_keyboard(browser, dialog)
                check(browser, f"{path} {dialog}")
                close(browser, dialog, has_button=has_button)
    browser.prefer("light")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("paths", PATHS.values(), ids=PATHS)
def test_a_reload_in_the_middle_of_a_form_gives_it_up(
    browser: Browser, stock: dict[str, str], paths: tuple[str, ...]
) -> None:
    for path in paths:
        browser.open(path.format(**stock))
        rows = browser.run(_ROWS)
        for dialog in browser.run(_WITH_BUTTON):
            open_by_keyboard(browser, dialog)
            browser.type("half-a-text")
            browser.driver.refresh()
            assert not is_open(browser, dialog), f"{path} {dialog}"
            assert browser.run(_ROWS) == rows, f"{path} {dialog}"


def test_no_entry_of_a_menu_is_left_out(browser: Browser) -> None:
    browser.open("/admin/about")
    script = "return [...document.querySelectorAll('.side a, .top nav a')].map((each) => each.pathname)"
    entries = set(browser.run(script)) - {"/admin", "/admin/"}
    assert entries <= {path for paths in PATHS.values() for path in paths} | ELSEWHERE


def check(browser: Browser, name: str) -> None:
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        found = findings(browser)
        assert found == [], f"{name} {scheme}: {json.dumps(found, indent=1)}"
    browser.resize(PHONE)
    fits = """
        const dialog = document.querySelector("dialog[open]");
        return Math.max(document.documentElement.scrollWidth, dialog?.scrollWidth ?? 0) <= arguments[0];
    """
    # A terminal takes its new size a moment later.
    until(lambda: browser.run(fits, PHONE[0]), f"{name} fits a phone")
    browser.resize(DESKTOP)


def dialogs(browser: Browser) -> list[str]:
    found: list[str] = browser.run("return [...document.querySelectorAll('dialog')].map((each) => each.id)")
    return found


def open_by_keyboard(browser: Browser, dialog: str) -> bool:
    """Opens the dialog by its button; returns False for a dialog that a script of the page opens."""
    focus = "const opener = document.querySelector(`[data-dialog='${arguments[0]}']`); opener?.focus(); return !!opener"
    has_button: bool = browser.run(focus, dialog)
    if has_button:
        browser.type(Keys.ENTER)
    else:
        browser.run(_SHOW, dialog)
    until(lambda: is_open(browser, dialog), f"{dialog} is open")
    return has_button


def close(browser: Browser, dialog: str, *, has_button: bool) -> None:
    """Closes the dialog by the keyboard, which then is at the button again."""
    browser.type(Keys.ESCAPE)
    until(lambda: not is_open(browser, dialog), f"{dialog} is closed")
    assert not has_button or browser.run("return document.activeElement.dataset.dialog") == dialog


def is_open(browser: Browser, dialog: str) -> bool:
    found: bool = browser.run("return document.getElementById(arguments[0]).open", dialog)
    return found
