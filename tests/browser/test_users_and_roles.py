"""The pages Users and Roles in a browser: change, refuse, undo, other administrators, other roles, the keyboard."""

import re

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.ha import findings, shoot
from tests.controller import ADMIN, Api, Controller, until

PASSWORD = "a password of theirs"
ROLES = "/api/v1/roles"
WIDE = (1440, 900)


def add_user(admin: Api, name: str, role: str, **members: str) -> str:
    user_id: str = admin.post("/api/users", {"username": name, "password": PASSWORD, "role": role, **members})["id"]
    return user_id


def add_role(admin: Api, name: str, *permissions: str, **members: object) -> None:
    admin.post(ROLES, {"name": name, "permissions": list(permissions), **members})


def tick(browser: Browser, *permissions: str) -> None:
    for each in permissions:
        box = browser.find(f"dialog[open] [data-permission][value='{each}']")
        browser.run("arguments[0].scrollIntoView({block: 'center'})", box)
        box.click()


def ticked(browser: Browser) -> list[str]:
    """The permissions that the form shows as given."""
    script = "return [...document.querySelectorAll('dialog[open] [data-permission]:checked')].map((box) => box.value)"
    found: list[str] = browser.run(script)
    return found


def field(browser: Browser, name: str) -> str:
    """The value of a field of the open dialog."""
    value: str = browser.run(f"return document.querySelector('dialog[open] [name={name}]')?.value ?? ''")
    return value


def row(browser: Browser, name: str) -> str:
    begins = "(row) => row.querySelector('.main').innerText.startsWith(arguments[0])"
    script = f"return [...document.querySelectorAll('.list tbody tr')].find({begins})?.innerText ?? ''"
    return re.sub(r"\s+", " ", browser.run(script, name))


def names(browser: Browser) -> list[str]:
    found: list[str] = browser.run("return [...document.querySelectorAll('.row-link')].map((link) => link.innerText)")
    return found


def test_a_role_is_made_from_a_preset_changed_undone_and_deleted(browser: Browser, admin: Api) -> None:
    browser.open("/admin/roles")
    browser.click("Copy operator")
    browser.wait_for("Add a role like operator")
    assert ticked(browser) == ["devices.access", "ha.view", "recordings.view", "sessions.connect"]
    browser.fill(name="night-shift", description="Level 1", device_tags="core\nlab", device_sites="Bonn")
    tick(browser, "ha.view", "sessions.*")
    assert {"sessions.manage", "sessions.*"} <= set(ticked(browser))
    browser.screenshot("role-form")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("The role was added.")
    stored = admin.get(f"{ROLES}/night-shift")
    assert stored["permissions"] == ["devices.access", "recordings.view", "sessions.*"]
    assert (stored["device_tags"], stored["device_sites"]) == (["core", "lab"], ["Bonn"])

    browser.click("Edit night-shift")
    assert "sessions.manage" in ticked(browser)
    tick(browser, "sessions.*")
    assert "sessions.manage" not in ticked(browser)
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("night-shift was saved.")
    until(lambda: "sessions.*" not in row(browser, "night-shift"), "the permission goes")
    browser.click("Undo")
    browser.wait_for("The change was undone.")
    until(lambda: "sessions.*" in row(browser, "night-shift"), "the permission is back")
    kept = ("description", "permissions", "device_tags", "device_sites")
    undone = admin.get(f"{ROLES}/night-shift")
    assert {name: undone[name] for name in kept} == {name: stored[name] for name in kept}

    # A reload in the middle saves nothing.
    browser.click("Edit night-shift")
    browser.fill(description="Level 9")
    browser.open("/admin/roles")
    browser.wait_for("Level 1")
    assert admin.get(f"{ROLES}/night-shift")["version"] == 3

    browser.click("Delete night-shift")
    browser.click_on("#confirm [type=submit]")
    browser.wait_for("night-shift was deleted.")
    until(lambda: not row(browser, "night-shift"), "the role is gone from the list")
    assert browser.errors() == []


def test_a_role_that_is_wrong_or_in_use_is_refused_in_words(browser: Browser, admin: Api) -> None:
    add_role(admin, "in-use", "devices.access")
    add_user(admin, "in-use-user", "in-use")
    browser.open("/admin/roles")
    browser.click("Delete in-use")
    browser.click_on("#confirm [type=submit]")
    browser.wait_for("1 user has the role in-use: give them another role first")
    browser.click("Cancel")
    browser.click("Add role")
    browser.fill(name="viewer")
    browser.type(Keys.ENTER)
    browser.wait_for("There is a role viewer already")


def test_of_two_administrators_the_later_one_is_told(browser: Browser, admin: Api) -> None:
    add_role(admin, "shared", "devices.access")
    browser.open("/admin/roles")
    browser.click("Edit shared")
    stored = admin.get(f"{ROLES}/shared")
    admin.call("PUT", f"{ROLES}/shared", json=stored | {"description": "by the other"}, expect=200)
    browser.fill(description="mine")
    browser.type(Keys.ENTER)
    browser.wait_for("The role shared was changed meanwhile by admin")
    browser.screenshot("role-changed-meanwhile")
    browser.click("Load the newest values")
    until(lambda: field(browser, "description") == "by the other", "the values of the other one")
    browser.fill(description="mine")
    browser.type(Keys.ENTER)
    browser.wait_for("shared was saved.")
    stored = admin.get(f"{ROLES}/shared")
    assert stored["description"] == "mine"

    # An undo takes back no change of another one.
    admin.call("PUT", f"{ROLES}/shared", json=stored | {"description": "by the other again"}, expect=200)
    browser.click("Undo")
    browser.wait_for("The role shared was changed meanwhile by admin")
    assert admin.get(f"{ROLES}/shared")["description"] == "by the other again"


def test_who_edits_or_deletes_a_user_after_another_edit_is_told_and_offered_the_newest_values(
    browser: Browser, admin: Api
) -> None:
    path = f"/api/users/{add_user(admin, 'max', 'operator')}"
    browser.open("/admin/users")
    browser.click("Edit max")
    admin.call("PUT", path, json={"role": "operator", "is_active": True, "email": "max@example.net"})
    browser.fill(display_name="Max")
    browser.type(Keys.ENTER)
    browser.wait_for("The user max was changed meanwhile by admin")
    assert admin.get(path)["display_name"] is None
    browser.click("Load the newest values")
    until(lambda: field(browser, "email") == "max@example.net", "the values of the other one")
    assert "changed meanwhile" not in browser.text
    browser.fill(display_name="Max")
    browser.type(Keys.ENTER)
    browser.wait_for("max was saved.")
    assert (admin.get(path)["display_name"], admin.get(path)["email"]) == ("Max", "max@example.net")

    browser.click("Delete max")
    admin.call("PUT", path, json={"role": "viewer", "is_active": True})
    browser.click_on("#confirm [type=submit]")
    browser.wait_for("The user max was changed meanwhile by admin, so nothing was saved or deleted")
    browser.click("Load the newest values")
    browser.wait_for("was changed meanwhile by ", gone=True)
    browser.click_on("#confirm [type=submit]")
    browser.wait_for("max was deleted.")


def test_a_user_who_was_deleted_meanwhile_has_no_newest_values(browser: Browser, admin: Api) -> None:
    path = f"/api/users/{add_user(admin, 'eve', 'operator')}"
    browser.open("/admin/users")
    browser.click("Edit eve")
    admin.call("DELETE", path)
    browser.fill(display_name="Eve")
    browser.type(Keys.ENTER)
    browser.wait_for("No such user.")
    assert browser.run("return document.querySelector('dialog[open] .newest').hidden") is True


def test_a_user_is_added_changed_deactivated_and_deleted(browser: Browser, admin: Api) -> None:
    add_role(admin, "helpers", "devices.access", description="who help")
    browser.open("/admin/users")
    browser.click("Add user")
    browser.fill(username="kim", email="kim@example.net", password="short")
    browser.run("document.querySelector('dialog[open] [name=password]').minLength = 0")
    browser.type(Keys.ENTER)
    browser.wait_for("must have 8 to 1024 characters")
    browser.fill(password=PASSWORD)
    browser.type(Keys.ENTER)
    browser.wait_for("The user was added.")
    browser.click("Edit kim")
    browser.pick("dialog[open] [name=role]", "helpers")
    browser.find("dialog[open] [name=is_active]").click()
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("kim was saved.")
    until(lambda: "helpers deactivated" in row(browser, "kim"), "the new role")
    browser.click("Delete kim")
    browser.click_on("#confirm [type=submit]")
    browser.wait_for("kim was deleted.")
    until(lambda: not row(browser, "kim"), "the user is gone from the list")
    # The last administrator stays.
    browser.click(f"Edit {ADMIN[0]}")
    browser.pick("dialog[open] [name=role]", "viewer")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("This is the last active administrator")


def test_log_ins_of_a_user_are_ended_one_by_one_and_all(browser: Browser, admin: Api, controller: Controller) -> None:
    user_id = add_user(admin, "lee", "operator")
    first, _ = controller.login("lee", PASSWORD), controller.login("lee", PASSWORD)
    browser.open("/admin/users?q=lee")
    until(lambda: "operator active" in row(browser, "lee"), "the list")
    browser.click_on("a.row-link")
    until(lambda: browser.path == f"/admin/users/{user_id}", "the details")
    until(lambda: browser.text.count("NetStacks Terminal") == 2, "both log-ins")
    browser.driver.find_elements("css selector", "[aria-label^='End the log-in']")[-1].click()
    browser.click_on("#confirm [type=submit]")
    browser.wait_for("The log-in has ended.")
    until(lambda: browser.text.count("NetStacks Terminal") == 1, "one log-in is left")
    browser.click("Log out lee everywhere")
    browser.click_on("#confirm [type=submit]")
    browser.wait_for("lee is not logged in.")
    first.call("GET", "/api/auth/me", expect=401)
    browser.wait_for("lee has no terminals open.")


def test_users_are_searched_and_paged(browser: Browser, admin: Api) -> None:
    for number in range(53):
        add_user(admin, f"crowd-{number:02}", "viewer")
    browser.open("/admin/users")
    browser.fill(q="CROWD")
    browser.type(Keys.ENTER)
    browser.wait_for("1 to 50 of 53")
    browser.click("Later")
    browser.wait_for("51 to 53 of 53")
    assert names(browser) == ["crowd-50", "crowd-51", "crowd-52"]
    browser.click("Earlier")
    browser.wait_for("1 to 50 of 53")


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_others_see_no_administration_of_users(stranger: Browser, admin: Api, role: str) -> None:
    add_user(admin, f"plain-{role}", role)
    stranger.log_in(f"plain-{role}", PASSWORD)
    for path in ("/admin/users", "/admin/roles"):
        stranger.open(path)
        stranger.wait_for("users.manage")
        assert "Add" not in stranger.text


def test_a_custom_role_offers_what_it_may_give(stranger: Browser, admin: Api) -> None:
    add_role(admin, "helpdesk", "users.manage", "devices.access")
    add_role(admin, "author", "users.manage", "roles.manage", "devices.*")
    add_role(admin, "readers", "devices.access")
    for name in ("helpdesk", "author"):
        add_user(admin, f"of-{name}", name)
    add_user(admin, "a-reader", "readers")
    stranger.log_in("of-helpdesk", PASSWORD)
    stranger.open("/admin/users")
    stranger.wait_for("a-reader")
    assert "Edit" in row(stranger, "a-reader")
    assert "Edit" not in row(stranger, ADMIN[0])
    stranger.click("Add user")
    options = stranger.run("return [...document.querySelectorAll('#user-dialog option')].map((each) => each.value)")
    assert "readers" in options
    assert not {"admin", "operator", "author"} & set(options)
    stranger.open("/admin/roles")
    stranger.wait_for("readers")
    assert "Add role" not in stranger.text
    stranger.driver.delete_all_cookies()

    stranger.log_in("of-author", PASSWORD)
    stranger.open("/admin/roles")
    assert "Edit" in row(stranger, "readers")
    stranger.click("Copy admin")
    assert ticked(stranger) == []
    script = "return [...document.querySelectorAll('#role-dialog [data-permission]:enabled')].map((box) => box.value)"
    assert stranger.run(script) == [
        "devices.access",
        "devices.manage",
        "devices.*",
        "roles.manage",
        "users.manage",
    ]


def test_a_role_is_made_with_the_keyboard_alone(browser: Browser, admin: Api) -> None:
    browser.open("/admin/roles")
    browser.run("document.querySelector('[data-heading=\"Add a role\"]').focus()")
    browser.type(Keys.ENTER)
    browser.wait_for("Add a role")
    browser.fill(name="keyboard")
    browser.type(Keys.TAB, "typed", Keys.TAB)
    for _ in range(200):
        if browser.run("return document.activeElement.value") == "devices.access":
            break
        browser.type(Keys.TAB)
    browser.type(Keys.SPACE)
    browser.type(Keys.ENTER)
    browser.wait_for("The role was added.")
    assert admin.get(f"{ROLES}/keyboard")["permissions"] == ["devices.access"]
    focused = browser.run("return document.activeElement.dataset.heading ?? ''")
    assert focused == "Add a role"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("wide", WIDE), ("phone", PHONE)])
def test_the_pages_are_whole_and_accessible(
    browser: Browser, admin: Api, controller: Controller, scheme: str, device: str, size: tuple[int, int]
) -> None:
    name = f"{device}-{scheme}"
    permissions = ("devices.access", "devices.manage", "recordings.view", "sessions.*")
    add_role(admin, f"noc-{name}", *permissions, description="The night shift of the operations centre",
             device_tags=["core", "backbone"], device_sites=["Frankfurt am Main"])  # fmt: skip
    long = f"j.w.vandermeer-{name}"
    user_id = add_user(admin, long, f"noc-{name}", email=f"{long}@operations.example.net", display_name="Johanna")
    controller.login(long, PASSWORD)
    browser.prefer(scheme)
    browser.resize(size)
    for page, path in (
        ("users", "/admin/users?q=vandermeer"),
        ("user", f"/admin/users/{user_id}"),
        ("roles", "/admin/roles"),
    ):
        browser.open(path)
        browser.wait_for("Log out")
        shoot(browser, f"{page}-{name}", size)
        assert browser.run("return document.documentElement.scrollWidth") <= size[0], page
        assert findings(browser) == [], page
    browser.click(f"Edit noc-{name}")
    browser.screenshot(f"role-dialog-{name}")
    assert findings(browser) == []
    browser.open("/admin/users")
    browser.click("Add user")
    browser.screenshot(f"user-dialog-{name}")
    assert findings(browser) == []
    assert browser.errors() == []
    browser.resize(DESKTOP)
