"""Session definitions and a user's folders, in the shapes of the web client (docs/protocol.md, 5.4)."""

from typing import Any
from uuid import uuid4

import pytest

from netstacks.store import devices
from netstacks.store.pool import Database
from netstacks.web.api import definitions
from tests.rows import make_session
from tests.web.conftest import Api

ROOT = "/api/session-definitions"


def add(admin: Api, **values: Any) -> dict[str, Any]:
    answer = admin.post(ROOT, json={"name": "core", "host": "r1"} | values)
    assert answer.status_code == 201, answer.text
    return answer.json


def add_folder(api: Api, name: str = "lab", parent_id: str | None = None) -> dict[str, Any]:
    answer = api.post(f"{ROOT}/folders", json={"name": name, "parent_id": parent_id})
    assert answer.status_code == 201, answer.text
    return answer.json


def test_lists_are_empty_in_the_right_shapes(operator: Api) -> None:
    assert operator.get(ROOT).json == {"items": [], "total": 0}
    assert operator.get(f"{ROOT}/folders").json == []
    assert operator.get(f"{ROOT}/assignments").json == []


def test_a_definition_has_every_member(admin: Api, operator: Api) -> None:
    definition = add(admin, port=2222, tags=["bgp"], cli_flavor="junos", description="d")
    assert definition | {"id": 0, "org_id": 0, "created_at": 0, "updated_at": 0} == {
        "id": 0,
        "org_id": 0,
        "name": "core",
        "host": "r1",
        "port": 2222,
        "description": "d",
        "credential_override_id": None,
        "cli_flavor": "junos",
        "tags": ["bgp"],
        "created_by": admin.user["id"],
        "created_at": 0,
        "updated_at": 0,
        "active_connections": 0,
    }
    assert operator.get(ROOT).json == {"items": [definition], "total": 1}
    assert operator.get(f"{ROOT}/{definition['id']}").json == definition
    assert operator.get(f"{ROOT}/{uuid4()}").status_code == 404


def test_the_credential_that_was_picked_is_kept(admin: Api) -> None:
    path = f"{ROOT}/{add(admin, tags=['a'])['id']}"
    body = {"name": "c", "credential_type": "ssh_password", "username": "u", "secret": "s"}
    credential_id = admin.post("/api/credentials/personal", json=body).json["id"]
    changed = admin.put(path, json={"credential_override_id": credential_id}).json
    assert (changed["credential_override_id"], changed["tags"]) == (credential_id, ["a"])
    assert admin.put(path, json={"credential_override_id": str(uuid4())}).status_code == 422
    admin.delete(f"/api/credentials/personal/{credential_id}")
    assert admin.get(path).json["credential_override_id"] is None


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"host": "a b"}, {"port": 0}, {"tags": "bgp"}, {"tags": [""]}, {"tags": [1]}]
)
def test_wrong_values_are_named(admin: Api, wrong: dict[str, Any]) -> None:
    path = f"{ROOT}/{add(admin)['id']}"
    for answer in (admin.post(ROOT, json={"name": "n", "host": "h"} | wrong), admin.put(path, json=wrong)):
        assert answer.status_code == 422
        assert answer.json["error"].startswith(next(iter(wrong)))


def test_only_managers_edit_definitions(admin: Api, viewer: Api) -> None:
    path = f"{ROOT}/{add(admin)['id']}"
    assert viewer.post(ROOT, json={"name": "n", "host": "h"}).status_code == 403
    assert viewer.put(path, json={"name": "n"}).status_code == 403
    assert viewer.delete(path).status_code == 403
    assert admin.delete(path).status_code == 204
    assert admin.delete(path).status_code == 404


def test_folders_are_made_moved_and_deleted(operator: Api) -> None:
    outer = add_folder(operator, "outer")
    inner = add_folder(operator, "inner", outer["id"])
    assert set(inner) == {"id", "user_id", "org_id", "name", "parent_id", "sort_order", "created_at", "updated_at"}
    path = f"{ROOT}/folders/{inner['id']}"
    assert operator.put(path, json={"name": "moved", "parent_id": None, "sort_order": 3}).json | {"updated_at": 0} == (
        inner | {"name": "moved", "parent_id": None, "sort_order": 3, "updated_at": 0}
    )
    circle = operator.put(f"{ROOT}/folders/{outer['id']}", json={"parent_id": outer["id"]})
    assert (circle.status_code, circle.json["error"][:9]) == (422, "parent_id")
    assert operator.delete(path).status_code == 204
    assert [folder["name"] for folder in operator.get(f"{ROOT}/folders").json] == ["outer"]


def test_filing_is_a_users_own(admin: Api, operator: Api) -> None:
    path = f"{ROOT}/{add(admin)['id']}/folder"
    folder = add_folder(operator)
    filed = operator.put(path, json={"folder_id": folder["id"], "sort_order": 2}).json
    assert set(filed) == {"id", "user_id", "session_definition_id", "folder_id", "sort_order", "created_at"}
    assert operator.get(f"{ROOT}/assignments").json == [filed]
    assert admin.get(f"{ROOT}/assignments").json == []
    assert admin.put(path, json={"folder_id": folder["id"]}).status_code == 404
    assert operator.put(f"{ROOT}/{uuid4()}/folder", json={"folder_id": None}).status_code == 404
    operator.delete(f"{ROOT}/folders/{folder['id']}")
    assert operator.get(f"{ROOT}/assignments").json == [filed | {"folder_id": None}]


def test_devices_are_listed_after_the_definitions_in_the_same_shape(
    admin: Api, operator: Api, database: Database
) -> None:
    definition = add(admin, name="zebra", host="r9")
    body = {"name": "r1", "host": "192.0.2.1", "device_type": "cisco_ios", "site": "Ulm", "description": "edge"}
    device = admin.post("/api/devices", json=body).json
    make_session(database, host="192.0.2.1")
    answer = operator.get(ROOT).json
    assert answer["total"] == 2
    first, second = answer["items"]
    assert first == definition
    assert set(second) == set(definition)
    assert second | {"org_id": 0, "created_at": 0, "updated_at": 0} == {
        "id": f"device-{device['id']}",
        "org_id": 0,
        "name": "r1",
        "host": "192.0.2.1",
        "port": 22,
        "description": "edge",
        "credential_override_id": None,
        "cli_flavor": "auto",
        "tags": ["cisco_ios", "Ulm"],
        "created_by": None,
        "created_at": 0,
        "updated_at": 0,
        "active_connections": 1,
    }
    assert operator.get(f"{ROOT}/{second['id']}").json == second
    assert operator.get(f"{ROOT}/device-{uuid4()}").status_code == 404


def test_a_devices_entry_is_changed_as_a_device(admin: Api) -> None:
    device = admin.post("/api/devices", json={"name": "r1", "host": "192.0.2.1"}).json
    path = f"{ROOT}/device-{device['id']}"
    for answer in (admin.put(path, json={"name": "x"}), admin.delete(path), admin.put(f"{path}/folder", json={})):
        assert (answer.status_code, answer.json["error"]) == (
            409,
            "This entry stands for the device r1. Change or delete it in the device list.",
        )
    missing = admin.delete(f"{ROOT}/device-{uuid4()}")
    assert (missing.status_code, missing.json["error"]) == (404, "There is no such device.")
    assert admin.get(f"/api/devices/{device['id']}").json == device


def test_a_long_list_of_devices_is_cut_and_its_length_is_told(
    admin: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "_MAX_DEVICES", 3)
    with database.transaction() as tx:
        for number in range(5):
            devices.create(tx, name=f"r{number}", host=f"192.0.2.{number}")
    answer = admin.get(ROOT).json
    assert [each["name"] for each in answer["items"]] == ["r0", "r1", "r2"]
    assert answer["total"] == 5
