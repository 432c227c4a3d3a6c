"""Two administrators edit the same object at once: the second one is told, and overwrites and deletes nothing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.web.conftest import Api

LOGIN = {"username": "kim", "password": "a password of theirs", "role": "viewer", "is_active": True}
LLM = {"name": "claude", "type": "anthropic", "models": ["m1"], "key": "sk-hunter2"}
SYSLOG = {"name": "siem", "type": "syslog_tcp", "address": "siem.example.net:6514"}
PASSWORD = {"name": "lab", "credential_type": "ssh_password", "username": "ops", "secret": "s3cret-text"}


@dataclass(frozen=True)
class Form:
    """A form: where its object is added and changed, with what, and what two administrators change.

    `version` is the member that names the version; `read` is where the object is shown, if not where it is changed.
    """

    create: str | None
    change: str
    body: dict[str, Any]
    first: dict[str, Any]
    second: dict[str, Any]
    version: str = "version"
    read: str | None = None


FORMS = {
    "user": Form(
        "/api/users",
        "/api/users/{id}",
        LOGIN,
        {"display_name": "Kim"},
        {"display_name": "Lee"},
        read="/api/v1/users/{id}",
    ),
    "device": Form(
        "/api/devices", "/api/devices/{id}", {"name": "r1", "host": "192.0.2.1"}, {"site": "A"}, {"site": "B"}
    ),
    "shared credential": Form(
        "/api/credentials", "/api/credentials/{id}", PASSWORD, {"description": "A"}, {"description": "B"}
    ),
    "audit target": Form(
        "/api/v1/audit/targets", "/api/v1/audit/targets/{id}", SYSLOG, {"is_enabled": False}, {"is_enabled": True}
    ),
    "LLM provider": Form(
        "/api/v1/llm/providers", "/api/v1/llm/providers/{id}", LLM, {"models": ["m2"]}, {"models": ["m3"]}
    ),
    "switch for AI": Form(
        None, "/api/v1/llm/settings", {}, {"enabled": True, "disabled_roles": ["viewer"]}, {"enabled": False}
    ),
    "redaction": Form(
        None,
        "/api/admin/sanitization/config",
        {},
        {"redact_usernames": True},
        {"redact_hostnames": True},
        version="based_on",
    ),
}


IDENTITY = {"name": "Example ID", "issuer": "https://login.example.net", "client_id": "netstacks"}
ROLE = {"name": "noc", "permissions": ["devices.access"], "version": 1}
PERSONAL = "/api/credentials/personal"
# Those whose deletion may name the version, with the page that has a button for it; without one, only the API does.
DELETED = {
    "user": (FORMS["user"], "/admin/users"),
    "device": (FORMS["device"], "/admin/devices"),
    "device of the list of users": (FORMS["device"], "/"),
    "shared credential": (FORMS["shared credential"], "/admin/credentials"),
    "personal credential": (
        Form(PERSONAL, f"{PERSONAL}/{{id}}", PASSWORD, {"description": "A"}, {}, read=PERSONAL),
        "/credentials",
    ),
    "audit target": (FORMS["audit target"], "/admin/audit/targets"),
    "LLM provider": (FORMS["LLM provider"], "/admin/llm"),
    "identity provider": (
        Form(
            "/api/v1/identity-providers",
            "/api/v1/identity-providers/{id}",
            IDENTITY,
            {"name": "Other", "version": 1},
            {},
        ),
        "/admin/sso",
    ),
    "role": (Form("/api/v1/roles", "/api/v1/roles/noc", ROLE, {"description": "A"}, {}), "/admin/roles"),
}


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    found: Form = request.param
    return found


@pytest.fixture
def paths(admin: Api, form: Form) -> tuple[str, str]:
    """Where the object of the form is changed, and where it is read."""
    if form.create is None:
        return form.change, form.change
    made = admin.post(form.create, json=form.body)
    assert made.status_code == 201, made.text
    change, read = (each.format(id=made.json["id"]) for each in (form.change, form.read or form.change))
    return change, read


def test_the_second_of_two_edits_is_refused_and_names_the_user_of_the_first(
    admin: Api, page: Api, form: Form, paths: tuple[str, str]
) -> None:
    change, read = paths
    version = {form.version: admin.get(read).json["version"]}
    assert page.put(change, json=form.body | form.first | version).status_code == 200
    after_first = admin.get(read).json
    late = admin.put(change, json=form.body | form.second | version)
    assert (late.status_code, late.json["code"]) == (409, "CHANGED_MEANWHILE"), late.text
    assert "was changed meanwhile by page-admin" in late.json["error"]
    assert admin.get(read).json == after_first
    newest = {form.version: after_first["version"]}
    assert admin.put(change, json=form.body | form.second | newest).status_code == 200
    assert admin.get(read).json.items() >= form.second.items()


def test_a_client_that_sends_no_version_changes_the_object(
    admin: Api, page: Api, form: Form, paths: tuple[str, str]
) -> None:
    change, read = paths
    assert page.put(change, json=form.body | form.first).status_code == 200
    assert admin.put(change, json=form.body | form.second).status_code == 200
    assert admin.get(read).json.items() >= form.second.items()


@pytest.mark.parametrize(("form", "path"), DELETED.values(), ids=DELETED)
def test_the_button_of_a_page_does_not_delete_what_another_user_has_changed(
    page: Api, admin: Api, form: Form, path: str
) -> None:
    owner = page if path == "/credentials" else admin
    made = owner.post(form.create, json=form.body)
    assert made.status_code == 201, made.text
    address = form.change.format(id=made.json.get("id"))
    old = button(page, path, address)
    assert owner.put(address, json=form.body | form.first).status_code == 200
    late = page.delete(old)
    assert (late.status_code, late.json["code"]) == (409, "CHANGED_MEANWHILE"), late.text
    assert re.search(r"was changed meanwhile by (page-)?admin, so nothing was saved or deleted", late.json["error"])
    new = button(page, path, address)
    assert new != old
    assert page.delete(new).status_code in (200, 204)
    assert address not in page.get(path).text


def button(page: Api, path: str, address: str) -> str:
    """What the button of the page calls that deletes the object at `address`."""
    (found,) = re.findall(rf'data-url="({re.escape(address)}(?:\?[^"]*)?)" data-method="DELETE"', page.get(path).text)
    return str(found)


@pytest.mark.parametrize("form", [each for each in FORMS.values() if each.create], indirect=True)
def test_a_client_that_names_no_version_deletes_a_changed_object(
    admin: Api, form: Form, paths: tuple[str, str]
) -> None:
    change, read = paths
    assert admin.put(change, json=form.body | form.first).status_code == 200
    assert admin.delete(change).status_code in (200, 204)
    assert admin.get(read).status_code == 404


def test_a_personal_credential_that_two_windows_edit_is_not_overwritten(operator: Api) -> None:
    made = operator.post("/api/credentials/personal", json=PASSWORD).json
    path, version = f"/api/credentials/personal/{made['id']}", made["version"]
    assert operator.put(path, json={"description": "A", "version": version}).status_code == 200
    late = operator.put(path, json={"description": "B", "version": version})
    assert (late.status_code, late.json["code"]) == (409, "CHANGED_MEANWHILE")


def test_the_terminal_client_may_send_back_the_redaction_that_it_has_read(admin: Api) -> None:
    path = "/api/admin/sanitization/config"
    read = admin.get(path).json
    for on in (True, False, True):
        assert admin.put(path, json=read | {"redact_usernames": on}).status_code == 200
    assert admin.get(path).json["redact_usernames"] is True


@pytest.mark.parametrize(
    "edit",
    [
        lambda admin, device_id: admin.send(
            "PATCH", "/api/v1/devices", json={"ids": [device_id], "changes": {"site": "Bonn"}}
        ),
        lambda admin, _: _import(admin, b"name,host,site\nr1,192.0.2.1,Bonn\n"),
    ],
    ids=["bulk edit", "import"],
)
def test_a_form_is_refused_after_a_change_of_many_devices(
    admin: Api, page: Api, edit: Callable[[Api, str], Any]
) -> None:
    device = admin.post("/api/devices", json={"name": "r1", "host": "192.0.2.1"}).json
    assert edit(page, device["id"]).status_code == 200
    late = admin.put(f"/api/devices/{device['id']}", json={"site": "Ulm", "version": device["version"]})
    assert (late.status_code, "by page-admin" in late.json["error"]) == (409, True)
    assert admin.get(f"/api/devices/{device['id']}").json["site"] == "Bonn"


def _import(admin: Api, file: bytes) -> Any:
    path = "/api/v1/devices/import"
    digest = admin.post(f"{path}?dry_run=1", data=file).json["digest"]
    return admin.post(f"{path}?digest={digest}", data=file)


def test_a_new_password_and_a_log_in_do_not_make_a_form_old(admin: Api, page: Api) -> None:
    user = admin.post("/api/users", json=LOGIN).json
    version = admin.get(f"/api/v1/users/{user['id']}").json["version"]
    assert page.put(f"/api/users/{user['id']}/password", json={"password": "another one of theirs"}).status_code == 204
    change = {"role": "viewer", "is_active": True, "display_name": "Kim", "version": version}
    assert admin.put(f"/api/users/{user['id']}", json=change).status_code == 200
