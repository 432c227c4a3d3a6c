"""Every kind of object of the administration, by the keyboard alone, for a user whose custom role allows just that.

The user creates one, is refused, gives a change up, changes it beside another administrator, and deletes it. The focus
never gets lost: after each step the next Tab goes on where the user was.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.keyboard import PASSWORD, Keyboard, log_in_with
from tests.controller import ADMIN, Api, Controller, until


@dataclass(frozen=True)
class Kind:
    """A kind of object; `listed` is where the API lists them, `path` where it changes them."""

    page: str
    permissions: tuple[str, ...]
    add: str
    values: dict[str, str]
    wrong: dict[str, str]
    refusal: str
    name: str
    change: tuple[str, str]
    listed: str
    path: str = ""
    key: str = "id"
    """The member that the address of an object ends in."""
    is_personal: bool = False
    """Whether no other user sees the object: then it is changed in another log-in of its user."""
    by_others: dict[str, Any] = field(default_factory=lambda: {"description": "of the other one"})


KINDS = {
    "user": Kind(
        "/admin/users",
        ("users.manage", "devices.access"),
        add="Add user",
        values={"username": "kim", "display_name": "Kim", "password": PASSWORD},
        wrong={"username": ADMIN[0]},
        refusal="User name: is the name of another user",
        name="kim",
        change=("display_name", "Kim of the night"),
        listed="/api/users",
        by_others={"email": "kim@example.net"},
    ),
    "role": Kind(
        "/admin/roles",
        ("roles.manage", "users.manage"),
        add="Add role",
        values={"name": "made-by-keys", "description": "at first"},
        wrong={"name": "viewer"},
        refusal="There is a role viewer already",
        name="made-by-keys",
        change=("description", "later"),
        listed="/api/v1/roles",
        key="name",
        by_others={"device_tags": ["of the other one"]},
    ),
    "device": Kind(
        "/admin/devices",
        ("devices.*",),
        add="Add device",
        values={"name": "edge-7", "host": "192.0.2.7", "site": "Berlin"},
        wrong={"host": "not a host!"},
        refusal="Address: 'not a host!' is neither",
        name="edge-7",
        change=("site", "Paris"),
        listed="/api/v1/devices",
        path="/api/devices",
    ),
    "shared credential": Kind(
        "/admin/credentials",
        ("credentials.manage",),
        add="Add credential",
        values={"name": "Lab password", "username": "lee", "secret": "s3cret-word", "host": "192.0.2.7"},
        wrong={"host": "not a host!"},
        refusal="'not a host!' is neither",
        name="Lab password",
        change=("username", "kim"),
        listed="/api/v1/credentials",
        path="/api/credentials",
    ),
    "own credential": Kind(
        "/credentials",
        ("sessions.connect",),
        add="Add credential",
        values={"name": "My password", "username": "lee", "secret": "s3cret-word", "host": "192.0.2.7"},
        wrong={"host": "not a host!"},
        refusal="'not a host!' is neither",
        name="My password",
        change=("username", "kim"),
        listed="/api/credentials/personal",
        is_personal=True,
    ),
    "audit target": Kind(
        "/admin/audit/targets",
        ("audit.*",),
        add="Add target",
        values={"name": "SIEM", "type": "Syslog over T", "address": "127.0.0.1:9", "is_enabled": Keys.SPACE},
        wrong={"address": "nowhere"},
        refusal="Address: must be a host and a port",
        name="SIEM",
        change=("address", "127.0.0.1:10"),
        listed="/api/v1/audit/targets",
        by_others={"address": "127.0.0.1:11"},
    ),
    "LLM provider": Kind(
        "/admin/llm",
        ("llm.manage",),
        add="Add provider",
        values={"name": "Local", "type": "Ollama", "base_url": "http://127.0.0.1:9/v1", "models": "small"},
        wrong={"base_url": "ftp://x"},
        refusal="Base URL: ",
        name="Local",
        change=("models", "large"),
        listed="/api/v1/llm/providers",
        by_others={"daily_tokens": 7},
    ),
    "identity provider": Kind(
        "/admin/sso",
        ("sso.manage", "devices.access"),
        add="Add provider",
        values={"name": "Staff", "issuer": "https://login.example.net", "client_id": "netstacks"},
        wrong={"issuer": "http://login.example.net"},
        refusal="must begin with https",
        name="Staff",
        change=("client_id", "controller"),
        listed="/api/v1/identity-providers",
        by_others={"groups_claim": "roles"},
    ),
}


def stored(api: Api, kind: Kind, name: str) -> Any:
    """The object of that name as the API has it, or None."""
    found = api.get(kind.listed)
    items = found["items"] if isinstance(found, dict) else found
    return next((each for each in items if name in (each.get("name"), each.get("username"))), None)


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_object_is_created_refused_changed_and_deleted(
    keyboard: Keyboard, admin: Api, controller: Controller, kind: Kind
) -> None:
    browser = keyboard.browser
    name = log_in_with(browser, admin, *kind.permissions)
    other = controller.login(name, PASSWORD) if kind.is_personal else admin
    browser.open(kind.page)
    browser.wait_for("Log out")

    keyboard.open(kind.add)
    keyboard.fill(**kind.values | kind.wrong)
    keyboard.submit()
    browser.wait_for(kind.refusal)
    assert keyboard.is_in_dialog(), "the focus stays in the form"
    assert stored(other, kind, kind.name) is None
    keyboard.fill(**{name: kind.values[name] for name in kind.wrong})
    keyboard.submit()
    browser.wait_for("was added.")
    keyboard.is_back_at(kind.add)

    member, wanted = kind.change
    edit, delete = f"Edit {kind.name}", f"Delete {kind.name}"
    before = kind.values[member]
    keyboard.open(edit)
    keyboard.fill(**{member: "given up"})
    keyboard.leave(edit)
    keyboard.open(edit)
    assert keyboard.value(member) == before

    _change_as_another(other, kind)
    keyboard.fill(**{member: wanted})
    keyboard.submit()
    browser.wait_for("was changed meanwhile by ")
    assert keyboard.is_in_dialog(), "the focus stays in the form"
    keyboard.activate("Load the newest values")
    browser.wait_for("was changed meanwhile by ", gone=True)
    until(keyboard.is_in_dialog, "the newest values")
    keyboard.fill(**{member: wanted})
    keyboard.submit()
    browser.wait_for(f"{kind.name} was saved.")
    keyboard.is_back_at(edit)
    found = stored(other, kind, kind.name)
    assert found[member] in (wanted, [wanted])
    assert {name: found[name] for name in kind.by_others if name != member} == {
        name: value for name, value in kind.by_others.items() if name != member
    }

    keyboard.open(delete)
    keyboard.leave(delete)
    keyboard.open(delete)
    keyboard.submit()
    browser.wait_for(f"{kind.name} was deleted.")
    assert stored(other, kind, kind.name) is None
    until(lambda: browser.run("return document.activeElement !== document.body"), "the focus stays on the page")
    assert all(" 409 " in each or " 422 " in each for each in browser.errors())


def _change_as_another(api: Api, kind: Kind) -> None:
    found = stored(api, kind, kind.name)
    api.call("PUT", f"{kind.path or kind.listed}/{found[kind.key]}", json=found | kind.by_others)
