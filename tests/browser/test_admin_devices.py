"""Devices, credentials and host keys in administration, in a real browser."""

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import PHONE, Browser
from tests.browser.ha import WIDE, confirm, findings, shoot
from tests.controller import ADMIN, Api, Controller, until
from tests.ports import free_port
from tests.sshd import Sshd

OPERATOR = ("opal", "a password of theirs")
VIEWER = ("vera", "a password of hers")
FILE = """name,host,port,site,tags
core-1,192.0.2.1,,Berlin,"core, backbone"
renamed,192.0.2.2,,Paris,
brand-new,192.0.2.50,,Rome,edge
wrong,not a host!,,,
brand-new,192.0.2.51,,,
"""


@pytest.fixture(scope="module")
def users(admin: Api) -> None:
    for (name, password), role in ((OPERATOR, "operator"), (VIEWER, "viewer")):
        admin.post("/api/users", {"username": name, "password": password, "role": role})


@pytest.fixture
def devices(admin: Api) -> dict[str, str]:
    """The ids of five devices by name; there are no others."""
    while found := admin.get("/api/v1/devices?limit=500")["items"]:
        admin.call("PATCH", "/api/v1/devices", json={"ids": [each["id"] for each in found], "delete": True})
    ids = {}
    for number, site in enumerate(("Berlin", "Berlin", "Paris", "Paris", "Rome"), 1):
        device = admin.add_device(f"192.0.2.{number}", 22, name=f"core-{number}", site=site, tags=["core"])
        ids[device["name"]] = device["id"]
    return ids


def names(browser: Browser) -> list[str]:
    rows = "table.devices tbody .main > :first-child"
    found: list[str] = browser.run(f"return [...document.querySelectorAll('{rows}')].map((each) => each.textContent)")
    return found


def pick(browser: Browser, name: str, value: str) -> None:
    """Chooses the option with that value, as a browser does: the driver's own click on an option is silent."""
    script = """
        arguments[0].value = arguments[1];
        for (const kind of ["input", "change"]) arguments[0].dispatchEvent(new Event(kind, { bubbles: true }));
    """
    browser.run(script, browser.find(f"[name={name}]"), value)


def said(browser: Browser) -> str:
    text: str = browser.run(
        "return document.querySelector('#selection:not([hidden]) [data-slot=count]')?.textContent ?? ''"
    )
    return text


def device(admin: Api, device_id: str) -> Any:
    return admin.get(f"/api/devices/{device_id}")


def add_many(admin: Api, prefix: str) -> None:
    """Adds 120 devices whose names begin so."""
    rows = "".join(f"{prefix}-{number:03},198.51.100.{number}\n" for number in range(120))
    path, file = "/api/v1/devices/import", f"name,host\n{rows}"
    digest = admin.call("POST", f"{path}?dry_run=1", data=file)["digest"]
    admin.call("POST", f"{path}?digest={digest}", data=file)


def choices(browser: Browser, name: str) -> set[str]:
    script = f"return [...document.querySelector('dialog[open] [name={name}]').options].map((each) => each.text)"
    return set(browser.run(script))


def choose_found(browser: Browser, name: str) -> None:
    """Searches the device in the dialog, by Enter too, and chooses it for the test."""
    browser.find("dialog[open] [type=search]").send_keys(name, Keys.ENTER)
    until(lambda: choices(browser, "test_device_id") == {"No test", name}, "the device is found")
    # The list of a former search may be replaced while the name is typed.
    browser.pick("dialog[open] [name=test_device_id]", name)


def test_selected_devices_are_changed_after_a_preview(browser: Browser, admin: Api, devices: dict[str, str]) -> None:
    browser.resize(WIDE)
    browser.open("/admin/devices")
    browser.wait_for("5 devices")
    for name in ("core-1", "core-3"):
        browser.find(f"[aria-label='Select {name}']").click()
    until(lambda: said(browser) == "2 selected", "the selection")
    browser.click("Edit")
    browser.find("[data-member=site]").click()
    browser.fill(site="Paris")
    browser.find("[data-member=add_tags]").click()
    browser.fill(add_tags="lab, core")
    browser.click("Preview")
    browser.wait_for("2 of 2 devices change")
    browser.wait_for("site: Berlin → Paris")
    browser.screenshot("devices-bulk-preview")
    assert findings(browser) == []
    assert device(admin, devices["core-1"])["site"] == "Berlin"
    browser.click("Change 2 devices")
    browser.wait_for("2 devices changed.")
    changed = [device(admin, devices[name]) for name in ("core-1", "core-3")]
    assert [(each["site"], each["tags"]) for each in changed] == [("Paris", ["core", "lab"])] * 2
    assert device(admin, devices["core-2"])["site"] == "Berlin"
    assert said(browser) == ""
    assert findings(browser) == []
    browser.screenshot("devices-bulk-undo")
    # The other administrator changes one of them before the undo.
    admin.call("PUT", f"/api/devices/{devices['core-3']}", json={"description": "new lines"})
    browser.click("Undo")
    browser.wait_for("1 device is as before. 1 stays as it is: core-3 was changed since by admin.")
    assert findings(browser) == []
    browser.screenshot("devices-bulk-undone")
    browser.click("Close")
    until(lambda: "as before" not in browser.text, "the notice is closed")
    back = [device(admin, devices[name]) for name in ("core-1", "core-3")]
    assert [(each["site"], each["tags"]) for each in back] == [("Berlin", ["core"]), ("Paris", ["core", "lab"])]
    assert browser.errors() == []


def test_a_preview_that_is_cancelled_changes_nothing(browser: Browser, admin: Api, devices: dict[str, str]) -> None:
    browser.open("/admin/devices")
    browser.find("[data-tick-all]").click()
    browser.click("Edit")
    browser.click("Preview")
    browser.wait_for("Choose what to change.")
    browser.find("[data-member=site]").click()
    browser.fill(site="Rome")
    browser.click("Preview")
    browser.wait_for("4 of 5 devices change, 1 is so already.")
    browser.click("Back")
    browser.fill(site="Paris")
    browser.click("Preview")
    browser.wait_for("3 of 5 devices change")
    browser.click("Cancel")
    assert {each["site"] for each in admin.get("/api/v1/devices")["items"]} == {"Berlin", "Paris", "Rome"}
    assert said(browser) == "5 selected"


def test_all_that_match_are_changed_unless_another_administrator_was_faster(
    browser: Browser, admin: Api, devices: dict[str, str]
) -> None:
    for number in range(60, 180):
        admin.add_device(f"192.0.2.{number}", 22, name=f"many-{number}", site="Lyon")
    browser.open("/admin/devices?site=Lyon")
    browser.wait_for("120 devices found, 100 are shown")
    browser.find("[data-tick-all]").click()
    until(lambda: said(browser) == "100 selected", "those that are shown")
    browser.click("Select all 120 that match")
    until(lambda: said(browser) == "120 selected", "all")
    browser.click("Edit")
    browser.find("[data-member=device_type]").click()
    browser.fill(device_type="ios")
    # The other administrator adds one to that site meanwhile.
    admin.add_device("192.0.2.200", 22, name="many-200", site="Lyon")
    browser.click("Preview")
    browser.wait_for("The list has changed: 121 of the devices are there now, not 120.")
    browser.click("Cancel")
    browser.driver.refresh()
    browser.wait_for("121 devices found")
    assert said(browser) == ""
    browser.find("[data-tick-all]").click()
    browser.click("Select all 121 that match")
    browser.click("Delete")
    browser.wait_for("Sessions and recordings stay.")
    browser.screenshot("devices-bulk-delete")
    browser.click("Delete 121 devices")
    browser.wait_for("121 devices deleted.")
    assert admin.get("/api/v1/devices")["total"] == 5


def test_the_list_is_filtered_sorted_and_continued(browser: Browser, admin: Api, devices: dict[str, str]) -> None:
    browser.open("/admin/devices")
    pick(browser, "site", "Paris")
    until(lambda: names(browser) == ["core-3", "core-4"], "the filter")
    pick(browser, "site", "")
    until(lambda: len(names(browser)) == 5, "all again")
    browser.click("Name")
    until(lambda: names(browser)[0] == "core-5", "the order")
    browser.find("[name=q]").send_keys("core-2")
    until(lambda: names(browser) == ["core-2"], "the search")
    for number in range(60, 180):
        admin.add_device(f"192.0.2.{number}", 22, name=f"many-{number}")
    browser.open("/?q=many")
    browser.wait_for("100 are shown")
    browser.click("Show more")
    until(lambda: len(names(browser)) == 120, "the others")
    browser.wait_for("120 are shown")
    assert len(set(names(browser))) == 120
    assert "Show more" not in browser.text


def test_the_keyboard_is_enough(browser: Browser, admin: Api, devices: dict[str, str]) -> None:
    browser.open("/admin/devices")
    browser.run("document.querySelector('[data-tick-all]').focus()")
    # Over the links of the header to the first row.
    browser.type(Keys.TAB * 6, Keys.SPACE)
    until(lambda: said(browser) == "1 selected", "the first row")
    browser.run("document.querySelector('#selection [data-act=edit]').focus()")
    browser.type(Keys.ENTER)
    browser.find("dialog[open]")
    browser.run("document.querySelector('[data-member=site]').focus()")
    browser.type(Keys.SPACE)
    browser.type("Oslo", Keys.ENTER)
    browser.wait_for("1 of 1 device changes")
    browser.type(Keys.ENTER)
    browser.wait_for("1 device changed.")
    assert device(admin, devices["core-1"])["site"] == "Oslo"
    # The page of users: from the search field into the list.
    browser.open("/")
    browser.run("document.querySelector('[name=q]').focus()")
    browser.type(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert browser.run("return document.activeElement.textContent") == "core-2"


def test_a_file_is_imported_after_a_dry_run(
    browser: Browser, admin: Api, devices: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(FILE)
    browser.resize(WIDE)
    browser.open("/admin/devices")
    browser.click("Import")
    browser.find("[name=file]").send_keys(str(file))
    browser.click("Check the file")
    browser.wait_for("5 rows read, nothing is changed yet")
    browser.wait_for("'not a host!' is neither a host name nor an IP address")
    browser.wait_for("line 4 is for the same device")
    browser.wait_for("tags: core → core, backbone")
    shoot(browser, "devices-import-dry-run", WIDE)
    assert findings(browser) == []
    browser.prefer("dark")
    shoot(browser, "devices-import-dry-run-dark", WIDE)
    assert findings(browser) == []
    browser.prefer("light")
    browser.resize(PHONE)
    shoot(browser, "devices-import-dry-run-phone", PHONE)
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    browser.resize(WIDE)
    browser.click("Refused 1")
    until(lambda: browser.run("return document.querySelectorAll('#fates tbody tr').length") == 1, "the refused row")
    browser.click("Import 3 devices")
    browser.wait_for("2 rows are refused: nothing was imported.")
    assert admin.get("/api/v1/devices")["total"] == 5
    browser.find("[name=skip_refused]").click()
    browser.click("Import 3 devices")
    browser.wait_for("Imported: 1 added, 2 changed")
    items = {each["name"]: each for each in admin.get("/api/v1/devices")["items"]}
    assert sorted(items) == ["brand-new", "core-1", "core-3", "core-4", "core-5", "renamed"]
    assert items["core-1"]["tags"] == ["core", "backbone"]
    assert browser.errors() == [] or all("409" in each for each in browser.errors())


def test_nothing_is_imported_after_a_change_or_a_reload_in_between(
    browser: Browser, admin: Api, devices: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("name,host\ncore-1,192.0.2.99\n")
    browser.open("/admin/devices/import")
    browser.find("[name=file]").send_keys(str(file))
    browser.click("Check the file")
    browser.wait_for("1 row read")
    # The second administrator.
    admin.call("PUT", f"/api/devices/{devices['core-1']}", json={"host": "192.0.2.98"})
    browser.click("Import 1 device")
    browser.wait_for("devices were changed since then: nothing was imported")
    browser.driver.refresh()
    browser.wait_for("Check the file")
    assert "row read" not in browser.text
    assert device(admin, devices["core-1"])["host"] == "192.0.2.98"
    file.write_bytes(b"name,host\n\xe4,192.0.2.9\n")
    browser.find("[name=file]").send_keys(str(file))
    browser.click("Check the file")
    browser.wait_for("Line 2 is not UTF-8")


def test_a_check_shows_which_devices_answer(browser: Browser, admin: Api, devices: dict[str, str], sshd: Sshd) -> None:
    reached = admin.add_device(sshd.host, sshd.port, name="a-reached")["id"]
    gone = admin.add_device("127.0.0.1", free_port(), name="a-gone")["id"]
    browser.resize(WIDE)
    browser.open("/admin/devices?q=a-")
    browser.wait_for("No contact yet")
    browser.find("[data-tick-all]").click()
    browser.click("Check")
    browser.wait_for("Reached")
    browser.wait_for("Connection refused")
    shoot(browser, "devices-check", WIDE)
    states = {each["id"]: each["reachability"] for each in admin.get("/api/v1/devices?search=a-")["items"]}
    assert states == {reached: "reached", gone: "unreachable"}
    browser.open("/admin/devices?reachability=unreachable")
    until(lambda: names(browser) == ["a-gone"], "the filter")


def test_a_terminal_leaves_its_contact_and_the_use_of_its_credential(
    browser: Browser, admin: Api, devices: dict[str, str], sshd: Sshd
) -> None:
    key = f"{sshd.host_key_type} {sshd.host_key_base64}"
    admin.post("/api/host-keys", {"host": sshd.host, "port": sshd.port, "public_key": key})
    credential = admin.add_credential(sshd.user, sshd.private_key, "ssh_key", name="Team key")
    entry = admin.add_device(sshd.host, sshd.port, name="b-lab", default_credential_id=credential["id"])
    terminal = admin.open(entry, credential).connected()
    terminal.type("exit\n")
    terminal.ended()
    terminal.leave()

    def item() -> Any:
        return admin.get("/api/v1/devices?search=b-lab")["items"][0]

    until(lambda: item()["reachability"] == "reached", "the contact")
    assert item()["session_at"]
    assert item()["contact_by"] == ADMIN[0]
    wrong = admin.add_credential("nobody-here", "wrong", name="Wrong")
    admin.open(entry, wrong).refused()
    until(lambda: item()["reachability"] == "refused", "the refusal")
    assert item()["contact_reason"]
    used = {each["name"]: each["last_used"] for each in admin.get("/api/v1/credentials")["items"]}
    assert (used["Team key"]["device"], used["Team key"]["username"]) == ("b-lab", ADMIN[0])
    assert used["Wrong"] is None

    browser.resize(WIDE)
    browser.open("/admin/credentials")
    browser.wait_for(f"{ADMIN[0]} on b-lab")
    shoot(browser, "admin-credentials", WIDE)
    assert findings(browser) == []
    pick(browser, "use", "never")
    browser.wait_for("Team key", gone=True)
    browser.wait_for("Wrong")
    pick(browser, "use", "")
    browser.wait_for("Team key")

    # A new secret that the device does not accept is not stored. The device is not among the first ones by name.
    add_many(admin, "a-lab")
    browser.click("Rotate Wrong")
    browser.fill(secret="wrong, too")
    browser.wait_for("The first 100 of ")
    assert not choices(browser, "test_device_id") & {"b-lab"}
    choose_found(browser, "b-lab")
    confirm(browser)
    browser.wait_for("The new secret is not stored, the test has failed")
    browser.screenshot("admin-credentials-rotate")
    assert findings(browser) == []
    browser.click("Cancel")
    browser.click("Rotate Team key")
    browser.run("document.querySelector('dialog[open] textarea').value = arguments[0]", sshd.private_key)
    choose_found(browser, "b-lab")
    confirm(browser)
    browser.wait_for("Team key has its new secret.")
    events = admin.get(f"/api/audit?resource=credential:{credential['id']}")
    rows = events if isinstance(events, list) else events["items"]
    assert rows[0]["event"] == "credential.rotated"
    assert rows[0]["details"]["tested_on"] == "b-lab"

    browser.open("/admin/host-keys?q=b-lab")
    browser.wait_for("b-lab")
    shoot(browser, "admin-host-keys", WIDE)
    assert findings(browser) == []
    browser.find("[aria-label^='Forget the key']").click()
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("The key was forgotten.")
    browser.wait_for("No host key matches")


def test_a_key_that_waits_is_answered_and_a_changed_one_is_red(
    browser: Browser, admin: Api, devices: dict[str, str], users: None, controller: Controller, sshd: Sshd
) -> None:
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    admin.post("/api/host-keys", {"host": sshd.host, "port": sshd.port, "public_key": f"ssh-ed25519 {other}"})
    credential = admin.add_credential(sshd.user, sshd.private_key, "ssh_key", name="Key of waiting")
    entry = admin.add_device(sshd.host, sshd.port, name="c-waits", default_credential_id=credential["id"])
    operator = controller.login(*OPERATOR)
    assert "CHANGED" in operator.open(entry, credential).refused()
    until(lambda: admin.get("/api/v1/devices?search=c-waits")["items"][0]["reachability"] == "host_key", "the contact")
    terminal = admin.open(entry, credential)
    browser.resize(WIDE)
    browser.open("/admin/host-keys")
    browser.wait_for("Waiting for an answer")
    browser.wait_for("The device presented another key")
    assert browser.run("return document.querySelectorAll('tr.lost').length") == 2
    shoot(browser, "admin-host-keys-changed", WIDE)
    assert findings(browser) == []
    browser.click("Approve the key of c-waits")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("The key was approved.")
    terminal.connected()
    terminal.leave()
    browser.wait_for("Waiting for an answer", gone=True)
    browser.wait_for("The device presented another key", gone=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_suit_every_reader_and_a_phone(
    browser: Browser, admin: Api, devices: dict[str, str], scheme: str
) -> None:
    browser.prefer(scheme)
    pages = {"devices": "/admin/devices", "import": "/admin/devices/import", "credentials": "/admin/credentials"}
    for name, path in (pages | {"host-keys": "/admin/host-keys", "home": "/"}).items():
        browser.resize(WIDE)
        browser.open(path)
        browser.wait_for("Log out")
        if name == "devices":
            browser.find("[aria-label='Select core-2']").click()
        shoot(browser, f"admin-{name}-{scheme}", WIDE)
        assert findings(browser) == [], name
        browser.resize(PHONE)
        shoot(browser, f"admin-{name}-{scheme}-phone", PHONE)
        assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0], name
        assert findings(browser) == [], name
        assert browser.errors() == [], name


def test_others_see_the_list_and_not_the_administration(
    stranger: Browser, admin: Api, devices: dict[str, str], users: None
) -> None:
    for user, may_connect in ((OPERATOR, True), (VIEWER, False)):
        stranger.driver.delete_all_cookies()
        stranger.log_in(*user)
        stranger.open("/")
        until(lambda: len(names(stranger)) == 5, "the list")
        assert ("row-link" in stranger.driver.page_source) == may_connect
        assert "Add device" not in stranger.text
        stranger.open("/admin/devices")
        stranger.wait_for("You need the devices.manage permission")
        stranger.open("/admin/credentials")
        stranger.wait_for("You need the credentials.manage permission")
        stranger.open("/admin/host-keys")
        stranger.wait_for("Trusted SSH host keys")
        assert "Forget" not in [each.text for each in stranger.driver.find_elements("css selector", "button")]
