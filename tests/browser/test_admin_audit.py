"""The page Audit and the targets of the log in a real browser, for administrators and others."""

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.audit_receivers import syslog_udp
from tests.browser.browser import PHONE, Browser
from tests.browser.ha import WIDE, findings, shoot
from tests.controller import Api, Controller, until

LONG_NAME = "core-router-1.a-point-of-presence-with-a-rather-long-name.frankfurt"


@pytest.fixture(scope="module")
def deleted_device(admin: Api) -> str:
    """The id of a device that is no more; the log has more entries, too, short and long."""
    for number in range(3):
        device = admin.add_device(f"192.0.2.{number + 1}", 22, name=f"edge-{number + 1}")
    device = admin.add_device("192.0.2.9", 22, name=LONG_NAME, site="Frankfurt")
    admin.call("DELETE", f"/api/devices/{device['id']}")
    admin.post(
        "/api/users",
        {
            "username": "lee",
            "display_name": "Lee",
            "email": "lee@example.net",
            "role": "operator",
            "password": "a password of theirs",
        },
    )
    device_id: str = device["id"]
    return device_id


def first_row(browser: Browser) -> str:
    text: str = browser.run("return document.querySelector('table.list tbody tr')?.innerText ?? ''")
    return text


def rows(browser: Browser) -> int:
    number: int = browser.run("return document.querySelectorAll('table.list tbody tr').length")
    return number


def test_entries_have_names_and_filters_narrow_them(browser: Browser, deleted_device: str) -> None:
    browser.open("/admin/audit")
    browser.wait_for("Sealed up to")
    browser.fill(event="device.*", q="FRANKFURT")
    browser.type(Keys.ENTER)
    until(lambda: "q=FRANKFURT" in browser.path, "the filter")
    browser.wait_for("device.deleted")
    # A deleted device has its name, and the resource leads to all that was done to it.
    browser.click_on(f'a[title="device:{deleted_device}"]')
    until(lambda: "resource=device" in browser.path, "the resource")
    browser.wait_for("device.created")
    assert rows(browser) == 2
    assert LONG_NAME in first_row(browser)
    assert browser.find("[name=resource]").get_attribute("value") == f"device:{deleted_device}"
    browser.follow("Clear")
    browser.click("Last hour")
    until(lambda: browser.path == "/admin/audit?range=hour", "the range")
    browser.wait_for("user.created")
    browser.run("document.querySelector('[name=until]').value = '2020-01-01T00:00'")
    browser.follow("All")
    browser.run("document.querySelector('[name=until]').value = '2020-01-01T00:00'")
    browser.click("Filter")
    browser.wait_for("No event matches these filters")
    assert findings(browser) == []
    assert browser.errors() == []


def test_a_filter_is_saved_used_and_deleted(browser: Browser, deleted_device: str) -> None:
    browser.open("/admin/audit?event=device.*&range=week")
    browser.click("Save this filter")
    browser.fill(name="Devices / the week & more?")
    browser.type(Keys.ENTER)
    browser.wait_for("The filter was saved.")
    browser.open("/admin/audit")
    browser.click("Devices / the week & more?")
    until(lambda: "event=device" in browser.path and "range=week" in browser.path, "the filters")
    browser.click("Delete the filter Devices / the week & more?")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("The filter was deleted.")
    browser.wait_for("Devices / the week & more?", gone=True)


def test_new_entries_appear_while_the_page_follows(browser: Browser, admin: Api, deleted_device: str) -> None:
    browser.open("/admin/audit?event=credential.*")
    browser.find("#follow").click()
    browser.wait_for("Live")
    admin.add_credential("x", "secret", name="seen at once")
    browser.wait_for("seen at once")
    # Other events are none of this page's.
    admin.add_device("192.0.2.77", 22, name="not shown")
    admin.add_credential("x", "secret", name="seen later")
    browser.wait_for("seen later")
    assert "not shown" not in browser.text
    assert browser.errors() == []


def test_a_target_is_added_tested_changed_and_deleted_by_keyboard(browser: Browser, admin: Api) -> None:
    with syslog_udp() as receiver:
        browser.open("/admin/audit/targets")
        browser.button("Add target").send_keys(Keys.ENTER)
        browser.fill(name="SIEM", address="nowhere")
        browser.pick("dialog[open] [name=type]", "Syslog over U")
        browser.find("dialog[open] [name=address]").send_keys(Keys.ENTER)
        browser.wait_for("Address: must be a host and a port")
        browser.screenshot("audit-target-refused")
        assert len(browser.errors()) == 1
        assert findings(browser) == []
        browser.fill(address=receiver.address)
        browser.type(Keys.ENTER)
        browser.wait_for("The target was added.")
        browser.button("Test SIEM").send_keys(Keys.ENTER)
        browser.wait_for("UDP does not tell whether it arrived")
        until(lambda: "audit.test" in receiver.events(), "the test message")
        admin.add_credential("x", "secret", name="sent on")
        until(lambda: "credential.created" in receiver.events(), "the entry")
        browser.button("Edit SIEM").send_keys(Keys.ENTER)
        browser.fill(name="SIEM of the house")
        browser.type(Keys.ENTER)
        browser.wait_for("SIEM was saved.")
        browser.wait_for("SIEM of the house")
        browser.button("Delete SIEM of the house").send_keys(Keys.ENTER)
        browser.find("dialog[open] [type=submit]").send_keys(Keys.ENTER)
        browser.wait_for("SIEM of the house was deleted.")
        browser.wait_for("No targets")
    assert browser.errors() == []


def test_the_exports_have_what_the_page_shows(
    browser: Browser, admin: Api, deleted_device: str, tmp_path: Path
) -> None:
    browser.open("/admin/audit?event=device.deleted")
    for name in ("Export CSV", "Export JSON lines"):
        address = browser.button(name).get_attribute("href")
        assert address is not None
        text = browser.run("return fetch(arguments[0]).then((answer) => answer.text())", address)
        assert LONG_NAME in text
        assert "device.created" not in text


def test_others_are_refused(stranger: Browser, deleted_device: str) -> None:
    stranger.log_in("lee", "a password of theirs")
    for path in ("/admin/audit", "/admin/audit/targets"):
        stranger.open(path)
        stranger.wait_for("Not allowed")
    stranger.open("/")
    assert "Audit" not in stranger.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looks(browser: Browser, admin: Api, controller: Controller, deleted_device: str, scheme: str) -> None:
    for name, address in (("SIEM", "127.0.0.1:9"), (LONG_NAME, f"{LONG_NAME}.example.net:6514")):
        if name not in [each["name"] for each in admin.get("/api/v1/audit/targets")["items"]]:
            admin.post("/api/v1/audit/targets", {"name": name, "type": "syslog_tcp", "address": address})
    admin.call(
        "POST", "/api/v1/audit/filters", json={"name": "Devices of this week", "event": "device.*", "range": "week"}
    )
    browser.prefer(scheme)
    for page, path in (("audit", "/admin/audit"), ("audit-targets", "/admin/audit/targets")):
        for device, size in (("wide", WIDE), ("phone", PHONE)):
            browser.resize(size)
            browser.open(path)
            browser.wait_for("Log out")
            if size == WIDE:
                shoot(browser, f"admin-{page}-{device}-{scheme}", size)
            else:
                browser.screenshot(f"admin-{page}-{device}-{scheme}")
            assert browser.run("return document.documentElement.scrollWidth") <= size[0], (page, device)
            assert findings(browser) == [], (page, device)
    assert browser.errors() == []
