"""The pages LLM, Sessions and About of the administration: what administrators do on them, and how they look."""

import json
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import PHONE, Browser
from tests.browser.ha import WIDE, confirm, findings, session_row, shoot
from tests.controller import Api, until
from tests.llm.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.usefixtures("admin")


@pytest.fixture(autouse=True)
def no_providers(admin: Api) -> None:
    for each in admin.get("/api/v1/llm/providers")["items"]:
        admin.call("DELETE", f"/api/v1/llm/providers/{each['id']}")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


def listed(browser: Browser) -> list[str]:
    """The names of the providers, in their order."""
    script = "return [...document.querySelectorAll('[data-fragment] td.main strong')].map((each) => each.textContent)"
    found: list[str] = browser.run(script)
    return [each.partition(". ")[2] for each in found]


def value(browser: Browser, name: str) -> str:
    """The value of a field of the page."""
    found: str = browser.run(f"return document.querySelector('[name={name}]')?.value ?? ''")
    return found


def test_a_provider_is_added_tested_changed_and_deleted(
    browser: Browser, admin: Api, provider: ScriptedProvider
) -> None:
    browser.open("/admin/llm")
    browser.wait_for("No provider yet")
    browser.click("Add provider")
    browser.run("document.querySelector('dialog[open] [name=type]').value = 'custom'")
    browser.fill(name="Local", base_url="http://127.0.0.1:1/v1", models=f"small{Keys.ENTER}large", key="sk-secret")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("The provider was added.")
    [stored] = admin.get("/api/v1/llm/providers")["items"]
    assert (stored["models"], stored["has_key"], stored["daily_tokens"]) == (["small", "large"], True, 0)
    assert "sk-secret" not in browser.run("return document.documentElement.outerHTML")

    browser.click("Test Local")
    browser.wait_for("Check the base URL")
    browser.click("Edit Local")
    browser.fill(daily_tokens="1000", base_url=provider.chat_url, key="sk-other")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("Local was saved.")
    changed = admin.get(f"/api/v1/llm/providers/{stored['id']}")
    assert (changed["daily_tokens"], changed["has_key"], changed["connect_secs"]) == (1000, True, None)
    browser.click("Test Local")
    browser.wait_for("Local answers: small, ")

    browser.click("Delete Local")
    confirm(browser)
    browser.wait_for("No provider yet")
    assert browser.errors() == []


def test_a_wrong_value_is_said_at_its_field(browser: Browser, admin: Api) -> None:
    browser.open("/admin/llm")
    browser.click("Add provider")
    browser.fill(name="Local", base_url="ftp://x", models="small")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("Base URL: ")
    assert admin.get("/api/v1/llm/providers")["items"] == []


def test_the_order_and_the_circuits_are_changed(browser: Browser, admin: Api) -> None:
    for name in ("One", "Two", "Three"):
        admin.post("/api/v1/llm/providers", {"name": name, "type": "ollama", "models": ["small"]})
    browser.open("/admin/llm")
    assert listed(browser) == ["One", "Two", "Three"]
    browser.click("Move Three up")
    until(lambda: listed(browser) == ["One", "Three", "Two"], "the order")
    browser.click("Move One down")
    until(lambda: listed(browser) == ["Three", "One", "Two"], "the order")
    browser.click("Stop calls to One")
    confirm(browser)
    browser.wait_for("opened by admin")
    browser.click("Reset One")
    confirm(browser)
    browser.wait_for("opened by admin", gone=True)
    assert browser.errors() == []


def test_the_switch_and_the_redaction_are_saved_and_tried(browser: Browser, admin: Api) -> None:
    browser.open("/admin/llm")
    browser.find("#switch [name=enabled]").click()
    browser.fill(disabled_roles="viewer")
    browser.click_on("#switch [type=submit]")
    browser.wait_for("The switch was saved.")
    stored = admin.get("/api/v1/llm/settings")
    assert (stored["enabled"], stored["disabled_roles"]) == (False, ["viewer"])
    assert browser.find("#switch [name=disabled_roles]").get_attribute("value") == "viewer"

    browser.click("Add pattern")
    browser.type("Site code", Keys.TAB, "a site", Keys.TAB, "SITE-(")
    browser.click("Save redaction")
    until(lambda: browser.find("#redaction [role=alert]").text, "why the pattern is refused")
    browser.fill(**{"pattern-regex": r"SITE-\d+"})
    browser.click("Save redaction")
    browser.wait_for("The redaction was saved.")
    [pattern] = admin.get("/api/admin/sanitization/config")["custom_patterns"]
    assert pattern == {"name": "Site code", "regex": r"SITE-\d+", "replacement": "a site"}
    browser.fill(text="hostname r1 at SITE-42")
    browser.click("Show what a provider would receive")
    browser.wait_for("hostname r1 at a site")
    browser.click("Remove pattern")
    browser.click("Save redaction")
    until(lambda: admin.get("/api/admin/sanitization/config")["custom_patterns"] == [], "no pattern")
    admin.call("PUT", "/api/v1/llm/settings", json={"enabled": True, "disabled_roles": []})


def test_of_two_administrators_the_later_one_is_told(browser: Browser, admin: Api) -> None:
    browser.open("/admin/llm")
    config = admin.get("/api/admin/sanitization/config")
    admin.call("PUT", "/api/admin/sanitization/config", json=config | {"allowlist": ["example.net"]})
    admin.call("PUT", "/api/v1/llm/settings", json={"enabled": True, "disabled_roles": ["viewer"]})
    browser.click("Save redaction")
    browser.wait_for("The redaction was changed meanwhile by admin")
    browser.click_on("#switch [type=submit]")
    browser.wait_for("The setting AI was changed meanwhile by admin")
    browser.click_on("#redaction [data-newest]")
    until(lambda: value(browser, "allowlist") == "example.net", "the values of the other one")
    assert value(browser, "disabled_roles") == "viewer"
    for form in ("redaction", "switch"):
        for _ in range(2):
            browser.click_on(f"#{form} [type=submit]")
            browser.wait_for(f"The {form} was saved.")
            browser.run("document.getElementById('toast').textContent = ''")
    assert admin.get("/api/admin/sanitization/config")["allowlist"] == ["example.net"]
    admin.call("PUT", "/api/admin/sanitization/config", json={})
    admin.call("PUT", "/api/v1/llm/settings", json={"enabled": True, "disabled_roles": []})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("wide", WIDE), ("phone", PHONE)])
def test_the_pages_are_whole_and_accessible(
    browser: Browser, admin: Api, known_lab: str, scheme: str, device: str, size: tuple[int, int]
) -> None:
    models = ["claude-sonnet-4-5", "claude-haiku-4-5"]
    admin.post("/api/v1/llm/providers", {"name": "Anthropic", "type": "anthropic", "models": models, "key": "sk-1"})
    made = admin.post("/api/v1/llm/providers", {"name": "Local", "type": "ollama", "models": ["small"]})
    admin.post(f"/api/v1/llm/providers/{made['id']}/trip", {"reason": "too slow today"})
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.new_tab()
    browser.prefer(scheme)
    browser.resize(size)
    for page in ("sessions", "llm", "about"):
        browser.open(f"/admin/{page}")
        browser.find("h1")
        shoot(browser, f"admin-{page}-{device}-{scheme}", size)
        assert findings(browser) == [], json.dumps(findings(browser), indent=1)
        assert browser.run("return document.documentElement.scrollWidth") <= size[0], page
    browser.open("/admin/llm")
    browser.click("Edit Anthropic")
    browser.screenshot(f"admin-llm-dialog-{device}-{scheme}")
    assert findings(browser) == [], "in the dialog"
    assert browser.errors() == []


def test_sessions_are_filtered_and_ended(browser: Browser, admin: Api, known_lab: str) -> None:
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.new_tab()
    browser.open("/admin/sessions?state=live&device=lab")
    browser.wait_for("lab-1")
    browser.fill(user="someone")
    browser.type(Keys.ENTER)
    browser.wait_for("No such sessions")
    browser.open("/admin/sessions?state=live")
    session_id = admin.get("/api/v1/sessions?state=live")["items"][0]["id"]
    browser.press_on(f"#session-{session_id} [data-method=DELETE]")
    confirm(browser)
    browser.wait_for("The session was ended.")
    until(lambda: not session_row(browser, session_id), "it is no longer listed")
    browser.open("/admin/sessions?state=ended")
    assert "ended by admin" in session_row(browser, session_id)
    assert browser.errors() == []
