"""The page API in a browser: search, links to operations and schemas, looks."""

import pytest

from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.ha import WIDE, findings
from tests.controller import until

CREATE_DEVICE = "post_api_devices"


def shown(browser: Browser) -> list[str]:
    """The ids of the operations and schemas that are not filtered out."""
    script = "return [...document.querySelectorAll('.operation:not([hidden])')].map((each) => each.id)"
    found: list[str] = browser.run(script)
    return found


def is_open(browser: Browser, id: str) -> bool:
    return bool(browser.run("return document.getElementById(arguments[0]).open", id))


def test_the_search_leaves_the_operations_that_match(browser: Browser) -> None:
    browser.open("/admin/api")
    everything = shown(browser)
    browser.find("[data-reference-search] input").send_keys("devices.manage post")
    until(lambda: "get_api_devices_browse" not in shown(browser), "the search")
    assert CREATE_DEVICE in shown(browser)
    assert len(shown(browser)) < len(everything)
    browser.find("[data-reference-search] input").send_keys(" no such words")
    browser.wait_for("No operation matches")
    assert browser.errors() == []


def test_an_address_names_an_operation_and_a_body_leads_to_its_schema(browser: Browser) -> None:
    browser.open(f"/admin/api#{CREATE_DEVICE}")
    until(lambda: is_open(browser, CREATE_DEVICE), "the named operation")
    assert not is_open(browser, "schema-NewDevice")
    browser.find(f"#{CREATE_DEVICE} a[href='#schema-NewDevice']").click()
    until(lambda: is_open(browser, "schema-NewDevice"), "the schema")
    text = browser.find("#schema-NewDevice").text
    assert "port" in text
    assert "at least 1; at most 65535; default: 22" in text


def test_an_answer_leads_to_its_schema(browser: Browser) -> None:
    browser.open(f"/admin/api#{CREATE_DEVICE}")
    until(lambda: is_open(browser, CREATE_DEVICE), "the named operation")
    browser.find(f"#{CREATE_DEVICE} a[href='#schema-DeviceJson']").click()
    until(lambda: is_open(browser, "schema-DeviceJson"), "the schema")
    text = browser.find("#schema-DeviceJson").text
    assert "date-time" in text
    assert "The timeout of each step of a log-in; null for the default." in text


def test_the_menu_of_an_administrator_has_it(browser: Browser) -> None:
    browser.open("/admin/about")
    browser.find("nav.side a[href='/admin/api']").click()
    until(lambda: browser.path == "/admin/api", "the page")
    assert browser.find("h1").text == "API"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.timeout(300)
def test_it_can_be_read_on_a_phone_and_by_a_screen_reader(browser: Browser, scheme: str) -> None:
    browser.prefer(scheme)
    try:
        for name, size in (("desktop", WIDE), ("phone", PHONE)):
            browser.resize(size)
            browser.open(f"/admin/api#{CREATE_DEVICE}")
            until(lambda: is_open(browser, CREATE_DEVICE), "the named operation")
            browser.screenshot(f"api-operation-{name}-{scheme}")
            browser.find(f"#{CREATE_DEVICE} a[href='#schema-NewDevice']").click()
            assert findings(browser) == []
            wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not browser.run(wide)
            browser.screenshot(f"api-{name}-{scheme}")
            browser.open("/admin/api#schema-DeviceJson")
            until(lambda: is_open(browser, "schema-DeviceJson"), "the schema of the answer")
            browser.screenshot(f"api-answer-{name}-{scheme}")
    finally:
        browser.prefer("light")
        browser.resize(DESKTOP)
