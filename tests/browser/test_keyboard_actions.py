"""What administrators do besides creating and changing objects, by the keyboard alone, with the least permissions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import TEAMS_LICENSE
from tests.browser.keyboard import PASSWORD, Keyboard, log_in_with
from tests.controller import Api, Controller, until
from tests.sshd import Sshd

SETTINGS = "/api/v1/settings"


@pytest.fixture
def settings(admin: Api) -> Iterator[None]:
    yield
    for each in admin.get(SETTINGS)["items"]:
        if each["source"] == "stored":
            admin.call("DELETE", f"{SETTINGS}/{each['key']}")


def test_a_filter_of_the_audit_log_is_saved_used_and_deleted(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser
    log_in_with(browser, admin, "audit.view")
    browser.open("/admin/audit?event=role.*")
    keyboard.open("Save this filter")
    keyboard.fill(name="Roles")
    keyboard.submit()
    browser.wait_for("The filter was saved.")
    keyboard.is_back_at("Save this filter")
    browser.open("/admin/audit")
    keyboard.activate("Roles")
    until(lambda: "event=role" in browser.path, "the filter")
    keyboard.open("Delete the filter Roles")
    keyboard.leave("Delete the filter Roles")
    keyboard.open("Delete the filter Roles")
    keyboard.submit()
    browser.wait_for("The filter was deleted.")
    assert browser.errors() == []


@pytest.mark.usefixtures("readers")
def test_groups_of_a_provider_get_roles_and_lose_them(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser
    path = "/api/v1/identity-providers"
    facts = {"name": "Example ID", "issuer": "https://login.example.net", "client_id": "n", "enabled": False}
    provider = admin.post(path, facts)["id"]
    log_in_with(browser, admin, "sso.manage", "devices.access")
    browser.open("/admin/sso")
    for group in ("noc", "staff"):
        keyboard.open("Add group of Example ID")
        keyboard.fill(group=group, role="readers")
        keyboard.submit()
        browser.wait_for("The group has a role.")
        keyboard.is_back_at("Add group of Example ID")
        browser.wait_for(group)
    keyboard.open("Add group of Example ID")
    keyboard.fill(group="noc", role="readers")
    keyboard.submit()
    browser.wait_for("has a role already")
    assert keyboard.is_in_dialog()
    keyboard.leave("Add group of Example ID")

    def groups() -> list[str]:
        [found] = admin.get(path)["items"]
        return [each["group"] for each in found["mappings"]]

    keyboard.activate("Move staff up")
    until(lambda: groups() == ["staff", "noc"], "the order")
    browser.wait_for("staff was moved up.")
    keyboard.open("Remove staff")
    keyboard.leave("Remove staff")
    keyboard.open("Remove staff")
    keyboard.submit()
    browser.wait_for("staff has no role now.")
    assert groups() == ["noc"]
    admin.call("DELETE", f"{path}/{provider}")


def test_a_key_of_a_device_is_forgotten(keyboard: Keyboard, admin: Api, controller: Controller, sshd: Sshd) -> None:
    browser = keyboard.browser
    key = f"{sshd.host_key_type} {sshd.host_key_base64}"
    admin.post("/api/host-keys", {"host": "192.0.2.99", "port": 22, "public_key": key})
    log_in_with(browser, admin, "devices.access", "hostkeys.manage")
    browser.open("/admin/host-keys")
    forget = "Forget the key of 192.0.2.99:22"
    keyboard.open(forget)
    keyboard.leave(forget)
    assert "192.0.2.99" in browser.text
    keyboard.open(forget)
    keyboard.submit()
    browser.wait_for("The key was forgotten.")
    browser.wait_for("192.0.2.99", gone=True)


@pytest.mark.usefixtures("settings")
def test_a_setting_is_changed_refused_and_set_back(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser
    log_in_with(browser, admin, "settings.manage")
    browser.open("/admin/settings")
    change, back = "Change Longest duration", "Back to default: Longest duration"
    keyboard.open(change)
    admin.call("PUT", f"{SETTINGS}/sessions.longest_hours", json={"value": 8})
    keyboard.fill(value="12")
    keyboard.submit()
    browser.wait_for("was changed meanwhile by admin")
    keyboard.activate("Load the newest values")
    until(lambda: keyboard.value("value") == "8", "the value of the other one")
    keyboard.fill(value="12")
    keyboard.submit()
    browser.wait_for("Longest duration was changed.")
    keyboard.is_back_at(change)
    assert admin.get(f"{SETTINGS}/sessions.longest_hours")["value"] == 12
    keyboard.open(back)
    keyboard.leave(back)
    keyboard.open(back)
    keyboard.submit()
    browser.wait_for("Longest duration is back to the default.")
    until(lambda: browser.run("return document.activeElement !== document.body"), "the focus stays on the page")
    # A switch has no dialog.
    keyboard.activate("Switch off: Licence")
    browser.wait_for("Licence is off.")
    keyboard.activate("Switch on: Licence")
    browser.wait_for("Licence is on.")


def test_a_licence_is_activated_from_a_file(keyboard: Keyboard, admin: Api, tmp_path: Path) -> None:
    browser = keyboard.browser
    log_in_with(browser, admin, "license.manage")
    browser.open("/admin/license")
    keyboard.open("Activate a licence")
    keyboard.fill(license_key="no licence")
    keyboard.submit()
    browser.wait_for("This is not a licence key")
    assert keyboard.is_in_dialog()
    file = tmp_path / "licence.txt"
    file.write_text(TEAMS_LICENSE)
    keyboard.choose_file("Or a file optional", file)
    until(lambda: keyboard.value("license_key") == TEAMS_LICENSE, "the text of the file")
    keyboard.submit()
    browser.wait_for("The licence is in force.")
    keyboard.is_back_at("Activate a licence")
    browser.wait_for("of 5")


@pytest.mark.usefixtures("readers")
def test_log_ins_of_a_user_are_ended_and_the_password_is_set(
    keyboard: Keyboard, admin: Api, controller: Controller
) -> None:
    browser = keyboard.browser
    user = admin.post("/api/users", {"username": "lou", "password": PASSWORD, "role": "readers"})["id"]
    log_in_with(browser, admin, "users.manage", "devices.access")
    lou = controller.login("lou", PASSWORD)
    browser.open(f"/admin/users/{user}")
    end = "End the log-in from 127.0.0.1"
    keyboard.open(end)
    keyboard.leave(end)
    lou.get("/api/auth/me")
    keyboard.open(end)
    keyboard.submit()
    browser.wait_for("The log-in has ended.")
    lou.call("GET", "/api/auth/me", expect=401)
    browser.wait_for("lou is not logged in.")
    keyboard.open("Set the password of lou")
    keyboard.fill(password="another password of theirs")
    keyboard.submit()
    browser.wait_for("The password of lou was set.")
    keyboard.is_back_at("Set the password of lou")
    again = controller.login("lou", "another password of theirs")
    keyboard.open("Log out lou everywhere")
    keyboard.submit()
    browser.wait_for("lou was logged out.")
    keyboard.is_back_at("Log out lou everywhere")
    again.call("GET", "/api/auth/me", expect=401)


def test_selected_devices_are_changed_and_are_as_before_again(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser
    devices = [admin.add_device(f"192.0.2.{number}", 22, name=f"bulk-{number}", site="Rome") for number in (1, 2)]

    def sites() -> list[str]:
        return [admin.get(f"/api/devices/{each['id']}")["site"] for each in devices]

    log_in_with(browser, admin, "devices.*")
    browser.open("/admin/devices?q=bulk-")
    for name in ("bulk-1", "bulk-2"):
        keyboard.go_to(f"Select {name}")
        keyboard.press(Keys.SPACE)
    browser.wait_for("2 selected")
    keyboard.open("Edit")
    keyboard.go_to("Site")
    keyboard.press(Keys.SPACE)
    keyboard.press("Oslo", Keys.ENTER)
    browser.wait_for("2 of 2 devices change")
    assert keyboard.is_in_dialog()
    keyboard.leave("Edit")
    assert sites() == ["Rome", "Rome"]
    keyboard.open("Edit")
    keyboard.go_to("Site")
    keyboard.press(Keys.SPACE)
    keyboard.press("Oslo", Keys.ENTER)
    browser.wait_for("2 of 2 devices change")
    keyboard.activate("Change 2 devices")
    browser.wait_for("2 devices changed.")
    assert sites() == ["Oslo", "Oslo"]
    keyboard.activate("Undo")
    browser.wait_for("2 devices are as before.")
    assert sites() == ["Rome", "Rome"]
    assert browser.errors() == []


def test_a_file_of_devices_is_imported(keyboard: Keyboard, admin: Api, tmp_path: Path) -> None:
    browser = keyboard.browser
    file = tmp_path / "devices.csv"
    file.write_text("name,host\nimported-1,192.0.2.31\nimported-2,not a host!\n")
    log_in_with(browser, admin, "devices.*")
    browser.open("/admin/devices")
    keyboard.activate("Import")
    browser.wait_for("Import devices")
    keyboard.choose_file("CSV file", file)
    keyboard.activate("Check the file")
    browser.wait_for("2 rows read, nothing is changed yet")
    keyboard.activate("Refused 1")
    browser.wait_for("imported-1", gone=True)
    keyboard.fill(skip_refused=Keys.SPACE)
    keyboard.activate("Import 1 device")
    browser.wait_for("Imported: 1 added, 0 changed")
    names = {each["name"] for each in admin.get("/api/v1/devices")["items"]}
    assert "imported-1" in names
    assert "imported-2" not in names
    assert browser.errors() == []


def test_providers_are_ordered_and_stopped(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser
    path = "/api/v1/llm/providers"
    for name in ("One", "Two"):
        admin.post(path, {"name": name, "type": "ollama", "models": ["small"]})
    log_in_with(browser, admin, "llm.manage")
    browser.open("/admin/llm")
    keyboard.activate("Move Two up")
    browser.wait_for("Two is tried earlier.")
    assert [each["name"] for each in admin.get(path)["items"]] == ["Two", "One"]
    keyboard.open("Stop calls to One")
    keyboard.leave("Stop calls to One")
    keyboard.open("Stop calls to One")
    keyboard.submit()
    browser.wait_for("opened by ")
    keyboard.open("Reset One")
    keyboard.submit()
    browser.wait_for("opened by ", gone=True)
    for each in admin.get(path)["items"]:
        admin.call("DELETE", f"{path}/{each['id']}")


def test_a_pattern_of_redaction_is_refused_saved_and_removed(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser

    def patterns() -> list[str]:
        return [each["regex"] for each in admin.get("/api/admin/sanitization/config")["custom_patterns"]]

    log_in_with(browser, admin, "llm.manage")
    browser.open("/admin/llm")
    keyboard.activate("Add pattern")
    keyboard.fill(**{"pattern-name": "Site code", "pattern-replacement": "a site", "pattern-regex": "SITE-("})
    keyboard.activate("Save redaction")
    until(lambda: browser.find("#redaction [role=alert]").text, "why the pattern is refused")
    assert patterns() == []
    keyboard.fill(**{"pattern-regex": r"SITE-\d+"})
    keyboard.activate("Save redaction")
    browser.wait_for("The redaction was saved.")
    until(lambda: keyboard.at() == "Save redaction", "the focus")
    assert patterns() == [r"SITE-\d+"]
    keyboard.activate("Remove pattern")
    keyboard.activate("Save redaction")
    until(lambda: patterns() == [], "no pattern")


def test_the_secret_of_a_credential_is_rotated(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser
    credential = admin.add_credential("lee", "s3cret-word", name="Rotated")
    log_in_with(browser, admin, "credentials.manage")
    browser.open("/admin/credentials")
    keyboard.open("Rotate Rotated")
    admin.call("PUT", f"/api/credentials/{credential['id']}", json=credential | {"description": "of the other one"})
    keyboard.fill(secret="another word")
    keyboard.submit()
    browser.wait_for("was changed meanwhile by admin")
    keyboard.activate("Load the newest values")
    browser.wait_for("was changed meanwhile by ", gone=True)
    until(keyboard.is_in_dialog, "the form")
    keyboard.fill(secret="another word")
    keyboard.submit()
    browser.wait_for("Rotated has its new secret.")
    keyboard.is_back_at("Rotate Rotated")


@pytest.mark.usefixtures("settings")
def test_a_feature_is_switched_off_for_a_role(keyboard: Keyboard, admin: Api) -> None:
    browser = keyboard.browser
    log_in_with(browser, admin, "settings.manage")
    browser.open("/admin/settings")
    keyboard.open("Change Sharing of sessions")
    keyboard.fill(**{"role viewer": Keys.SPACE})
    keyboard.submit()
    browser.wait_for("Sharing of sessions was changed.")
    keyboard.is_back_at("Change Sharing of sessions")
    found = admin.get(f"{SETTINGS}/features.sharing")["value"]
    assert found == {"enabled": True, "disabled_roles": ["viewer"]}
