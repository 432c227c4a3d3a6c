"""The undo of a change of many devices: former values come back, unless a device was changed since."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from netstacks.store.users import User
from tests.web.conftest import Api
from tests.web.test_device_bulk import patch
from tests.web.test_device_list import add

PASSWORD = {"credential_type": "ssh_password", "username": "u", "secret": "s"}


def edit(api: Api, devices: list[Any], **wanted: Any) -> str:
    """Changes the devices and returns the id of the edit."""
    answer = patch(api, ids=[each["id"] for each in devices], changes=wanted)
    assert answer.status_code == 200, answer.text
    return str(answer.json["edit_id"])


def undo(api: Api, edit_id: str) -> Any:
    return api.post(f"/api/v1/devices/edits/{edit_id}/undo")


def read(api: Api, device: Any) -> Any:
    return api.get(f"/api/devices/{device['id']}").json


def facts(device: Any) -> Any:
    return {name: value for name, value in device.items() if name not in ("version", "updated_at")}


def test_the_former_values_come_back(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    first, second = (admin.post("/api/credentials", json=PASSWORD | {"name": each}).json["id"] for each in "ab")
    one = add(admin, "r1", site="Berlin", tags=["old", "core"], device_type="ios", default_credential_id=first)
    two = add(admin, "r2", tags=["core"])
    same = add(admin, "r3", site="Paris", device_type="eos", algorithms="legacy", default_credential_id=second)
    edit_id = edit(
        admin,
        [one, two, same],
        site="Paris",
        device_type="eos",
        algorithms="legacy",
        default_credential_id=second,
        remove_tags=["old", "core"],
    )
    assert (read(admin, one)["site"], read(admin, one)["tags"]) == ("Paris", [])
    assert undo(admin, edit_id).json == {"changed": 2, "left": [], "left_total": 0}
    assert [facts(read(admin, each)) for each in (one, two)] == [facts(one), facts(two)]
    assert read(admin, one)["version"] == 3
    assert read(admin, same) == same
    assert [row["details"] for row in audited("device.bulk_undone")] == [{"devices": 2, "left": 0, "edit": edit_id}]
    undone = {row["resource"]: row["details"] for row in audited("device.updated") if "undoes" in row["details"]}
    assert undone.keys() == {f"device:{one['id']}", f"device:{two['id']}"}
    details = undone[f"device:{one['id']}"]
    assert (details["undoes"], details["changes"]["site"]) == (edit_id, ["Paris", "Berlin"])


def test_devices_that_were_changed_since_stay_and_are_named(admin: Api, page: Api) -> None:
    changed, gone, plain = (add(admin, name, site="Berlin") for name in ("r1", "r2", "r3"))
    edit_id = edit(admin, [changed, gone, plain], site="Paris")
    assert page.put(f"/api/devices/{changed['id']}", json={"description": "by another"}).status_code == 200
    assert page.delete(f"/api/devices/{gone['id']}").status_code == 200
    answer = undo(admin, edit_id).json
    assert answer == {
        "changed": 1,
        "left": [
            {"id": changed["id"], "name": "r1", "reason": "was changed since by page-admin"},
            {"id": gone["id"], "name": "r2", "reason": "is not there any more"},
        ],
        "left_total": 2,
    }
    assert [read(admin, each)["site"] for each in (changed, plain)] == ["Paris", "Berlin"]
    assert undo(admin, edit_id).json["left"][2]["reason"] == "was changed since by admin"


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (lambda admin, path: admin.delete(path), "its former credential is not there any more"),
        (lambda admin, path: admin.put(path, json={"host": "198.51.100.1"}), "is for 198.51.100.1 only"),
    ],
    ids=["deleted", "for another address"],
)
def test_a_former_credential_that_cannot_be_used_any_more_is_not_put_back(
    admin: Api, loss: Callable[[Api, str], Any], reason: str
) -> None:
    former = admin.post("/api/credentials", json=PASSWORD | {"name": "former"}).json["id"]
    device = add(admin, "r1", default_credential_id=former, site="Berlin")
    edit_id = edit(admin, [device], default_credential_id=None, site="Paris")
    assert loss(admin, f"/api/credentials/{former}").status_code == 200
    answer = undo(admin, edit_id).json
    assert (answer["changed"], reason in answer["left"][0]["reason"]) == (0, True)
    assert (read(admin, device)["default_credential_id"], read(admin, device)["site"]) == (None, "Paris")


def test_only_an_own_edit_is_taken_back(admin: Api, page: Api, operator: Api) -> None:
    device = add(admin, "r1")
    edit_id = edit(admin, [device], site="Paris")
    assert undo(operator, edit_id).status_code == 403
    assert undo(page, edit_id).status_code == 404
    assert undo(admin, str(uuid4())).status_code == 404
    assert read(admin, device)["site"] == "Paris"


def test_a_role_for_some_devices_undoes_within_them_alone(
    admin: Api, add_user: Callable[..., User], log_in: Callable[..., Api]
) -> None:
    role = {"name": "core", "permissions": ["devices.*"], "device_tags": ["core"]}
    assert admin.post("/api/v1/roles", json=role).status_code == 201
    add_user("lee", role="core")
    lee = log_in("lee")
    inside, moved = add(admin, "r1", tags=["core"]), add(admin, "r2", tags=["core"])
    edit_id = edit(lee, [inside, moved], site="Paris")
    assert admin.put(f"/api/devices/{moved['id']}", json={"tags": ["edge"]}).status_code == 200
    answer = undo(lee, edit_id).json
    assert answer["changed"] == 1
    assert answer["left"] == [{"id": moved["id"], "name": "r2", "reason": "is not there any more"}]


def test_more_devices_than_are_locked_at_once_are_put_back(admin: Api) -> None:
    for number in range(3):
        rows = "".join(f"r{number}-{each},10.{number}.{each // 250}.{each % 250},Berlin\n" for each in range(400))
        path, file = "/api/v1/devices/import", f"name,host,site\n{rows}".encode()
        digest = admin.post(f"{path}?dry_run=1", data=file).json["digest"]
        assert admin.post(f"{path}?digest={digest}", data=file).status_code == 200
    body = {"filter": {"site": "Berlin"}, "expected": 1200, "changes": {"site": "Paris"}}
    digest = patch(admin, **body, dry_run=True).json["digest"]
    edit_id = patch(admin, **body, digest=digest).json["edit_id"]
    assert undo(admin, edit_id).json == {"changed": 1200, "left": [], "left_total": 0}
    assert admin.get("/api/v1/devices?site=Berlin").json["total"] == 1200


@pytest.mark.parametrize(
    "body", [{"dry_run": True, "changes": {"site": "x"}}, {"delete": True}, {"changes": {"site": "Berlin"}}]
)
def test_what_changes_no_device_has_nothing_to_undo(admin: Api, body: dict[str, Any]) -> None:
    device = add(admin, "r1", site="Berlin")
    assert patch(admin, ids=[device["id"]], **body).json["edit_id"] is None
