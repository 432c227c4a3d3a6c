"""Changes of many devices: previewed, all or none, audited one by one, and refused when the list has changed."""

from collections.abc import Callable
from typing import Any

import pytest

from netstacks.store.pool import Database
from tests.rows import make_session
from tests.web.conftest import Api
from tests.web.test_device_list import add, names


def patch(api: Api, **body: Any) -> Any:
    return api.send("PATCH", "/api/v1/devices", json=body)


def test_a_preview_changes_nothing_and_the_change_does_what_it_has_shown(
    admin: Api, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    one = add(admin, "r1", site="Berlin", tags=["old", "core"])
    two = add(admin, "r2", site="Paris", tags=["core"])
    three = add(admin, "r3", site="Rome")
    wanted = {"site": "Paris", "remove_tags": ["old"], "add_tags": ["core"]}
    ids = [one["id"], two["id"]]
    preview = patch(admin, ids=ids, changes=wanted, dry_run=True)
    assert preview.json == {
        "digest": preview.json["digest"],
        "is_dry_run": True,
        "matched": 2,
        "changed": 1,
        "deleted": 0,
        "unchanged": 1,
        "refused": [],
        "refusals": 0,
        "devices": [
            {
                "id": one["id"],
                "name": "r1",
                "changes": {"site": ["Berlin", "Paris"], "tags": [["old", "core"], ["core"]]},
            }
        ],
        "live_sessions": 0,
        "edit_id": None,
    }
    assert names(admin, "site=Paris") == ["r2"]
    assert audited("device.updated") == []
    made = patch(admin, ids=ids, changes=wanted).json
    assert made == preview.json | {"is_dry_run": False, "edit_id": made["edit_id"]}
    assert names(admin, "site=Paris") == ["r1", "r2"]
    assert admin.get(f"/api/devices/{three['id']}").json == three
    (row,) = audited("device.updated")
    assert row["resource"] == f"device:{one['id']}"
    assert row["details"]["changes"] == preview.json["devices"][0]["changes"]
    (summary,) = audited("device.bulk_updated")
    assert summary["details"] == {"devices": 1, "changes": wanted, "edit": made["edit_id"]}


def test_all_that_match_a_filter_are_changed_if_their_number_is_the_one_seen(admin: Api) -> None:
    for number in range(3):
        add(admin, f"r{number}", device_type="ios", tags=[f"t{number}"])
    add(admin, "other", device_type="junos")
    body: dict[str, Any] = {"filter": {"device_type": "ios"}, "changes": {"algorithms": "legacy"}}
    assert patch(admin, **body, expected=2).status_code == 409
    assert patch(admin, **body).status_code == 422
    assert {item["algorithms"] for item in admin.get("/api/v1/devices").json["items"]} == {"modern"}
    assert patch(admin, **body, expected=3).status_code == 409
    digest = patch(admin, **body, expected=3, dry_run=True).json["digest"]
    assert patch(admin, **body, expected=3, digest=digest).json["changed"] == 3
    levels = {item["name"]: item["algorithms"] for item in admin.get("/api/v1/devices").json["items"]}
    assert levels == {"r0": "legacy", "r1": "legacy", "r2": "legacy", "other": "modern"}


def test_as_many_other_devices_than_in_the_preview_are_not_deleted(admin: Api) -> None:
    one, two = add(admin, "r1", tags=["old"]), add(admin, "r2")
    body: dict[str, Any] = {"filter": {"tag": "old"}, "expected": 1, "delete": True}
    digest = patch(admin, **body, dry_run=True).json["digest"]
    patch(admin, ids=[one["id"]], changes={"remove_tags": ["old"]})
    patch(admin, ids=[two["id"]], changes={"add_tags": ["old"]})
    answer = patch(admin, **body, digest=digest)
    assert (answer.status_code, "Other devices match now" in answer.json["error"]) == (409, True)
    assert names(admin, "") == ["r1", "r2"]


def test_a_device_that_was_deleted_meanwhile_stops_the_change(admin: Api) -> None:
    one, two = add(admin, "r1"), add(admin, "r2")
    admin.delete(f"/api/devices/{two['id']}")
    answer = patch(admin, ids=[one["id"], two["id"]], changes={"site": "x"})
    assert answer.status_code == 409
    assert "1 of the devices are there now, not 2" in answer.json["error"]
    assert admin.get(f"/api/devices/{one['id']}").json["site"] is None


def test_one_device_that_cannot_be_changed_stops_all(admin: Api) -> None:
    body = {"name": "only r1", "credential_type": "ssh_password", "username": "u", "secret": "s", "host": "192.0.2.1"}
    credential = admin.post("/api/credentials", json=body).json["id"]
    one, two = add(admin, "r1", "192.0.2.1"), add(admin, "r2", "192.0.2.2")
    wanted = {"ids": [one["id"], two["id"]], "changes": {"default_credential_id": credential}}
    preview = patch(admin, **wanted, dry_run=True).json
    assert (preview["changed"], preview["refusals"]) == (1, 1)
    assert preview["refused"][0]["name"] == "r2"
    answer = patch(admin, **wanted)
    assert answer.status_code == 422
    assert "r2" in answer.json["error"]
    assert admin.get(f"/api/devices/{one['id']}").json["default_credential_id"] is None


def test_more_tags_than_a_device_may_have_are_refused(admin: Api) -> None:
    device = add(admin, "r1", tags=[f"t{number}" for number in range(20)])
    preview = patch(admin, ids=[device["id"]], changes={"add_tags": ["one more"]}, dry_run=True).json
    assert preview["refused"] == [
        {"id": device["id"], "name": "r1", "reason": "tags: a device must not have more than 20"}
    ]


def test_devices_are_deleted_and_their_sessions_stay(
    admin: Api, database: Database, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    ids = [add(admin, f"r{number}")["id"] for number in range(3)]
    make_session(database, device_id=ids[0])
    assert patch(admin, ids=ids[:2], delete=True, dry_run=True).json["live_sessions"] == 1
    assert len(names(admin)) == 3
    assert patch(admin, ids=ids[:2], delete=True).json["deleted"] == 2
    assert names(admin) == ["r2"]
    assert {row["resource"] for row in audited("device.deleted")} == {f"device:{each}" for each in ids[:2]}
    assert [row["details"] for row in audited("device.bulk_deleted")] == [{"devices": 2}]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"changes": {}},
        {"ids": ["x"], "changes": {}},
        {"delete": True},
        {"filter": {}, "expected": 0, "delete": True, "changes": {}},
        {"filter": {}, "ids": ["00000000-0000-0000-0000-000000000000"], "delete": True},
        {"filter": {}, "expected": 0, "changes": {"algorithms": "none"}},
        {"filter": {}, "expected": 0, "changes": {"default_credential_id": "00000000-0000-0000-0000-000000000000"}},
    ],
)
def test_what_is_no_request(admin: Api, body: dict[str, Any]) -> None:
    answer = patch(admin, **body)
    assert answer.status_code == 422
    assert answer.json["error"]


def test_only_managers_change_devices(operator: Api, viewer: Api) -> None:
    for api in (operator, viewer):
        assert patch(api, filter={}, expected=0, delete=True).status_code == 403
