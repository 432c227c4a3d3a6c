"""The pages of the administration for users of custom roles with the least permissions."""

import pytest

from tests.browser.browser import Browser
from tests.browser.keyboard import log_in_with
from tests.controller import Api, until

# The entries that the menu has for users with these permissions only.
ENTRIES = {
    ("ha.view",): ("/admin/ha",),
    ("sessions.manage",): ("/admin/sessions",),
    ("users.manage",): ("/admin/users", "/admin/roles"),
    ("sso.manage",): ("/admin/sso",),
    ("devices.access", "devices.manage"): ("/admin/devices", "/admin/host-keys"),
    ("credentials.manage",): ("/admin/credentials",),
    ("devices.access",): ("/admin/host-keys",),
    ("audit.view",): ("/admin/audit",),
    ("llm.manage",): ("/admin/llm",),
    ("license.manage",): ("/admin/license",),
    ("settings.manage",): ("/admin/settings",),
    ("about.view",): ("/admin/about",),
}
PAGES = {page for entries in ENTRIES.values() for page in entries}
# Every user may read the description of the API.
API = "/admin/api"


@pytest.mark.parametrize("permissions", ENTRIES, ids=" ".join)
def test_users_of_a_role_see_the_pages_of_its_permissions_alone(
    stranger: Browser, admin: Api, permissions: tuple[str, ...]
) -> None:
    log_in_with(stranger, admin, *permissions)
    entries = ENTRIES[permissions]
    for page in sorted(PAGES):
        stranger.open(page)
        is_refused = stranger.find("h1").text == "Not allowed"
        assert is_refused == (page not in entries), page
        assert is_refused == ("You need the " in stranger.text), page
    stranger.open("/admin")
    found = stranger.run("return [...document.querySelectorAll('.side a')].map((each) => each.pathname)")
    assert stranger.path == found[0]
    assert API in found
    assert tuple(each for each in found if each != API) == entries


def test_a_role_without_a_page_of_the_administration_leads_to_the_sessions(stranger: Browser, admin: Api) -> None:
    log_in_with(stranger, admin, "devices.manage")
    assert stranger.path == "/sessions"
    assert "Admin" not in stranger.find(".top nav").text
    stranger.open("/account")
    stranger.click("API")
    until(lambda: stranger.path == API, "the description of the API")
    assert stranger.find("h1").text == "API"
    stranger.open("/nothing-here")
    stranger.wait_for("There is nothing at this address.")
    stranger.click("To the first page")
    assert stranger.path == "/sessions"
