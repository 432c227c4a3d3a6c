"""The list of the pages: filters, orders, pages that lose no row, facets, tags, and the last contact."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from netstacks.store import device_contacts
from netstacks.store.pool import Database
from tests.web.conftest import Api


def add(admin: Api, name: str, host: str = "192.0.2.1", **values: Any) -> dict[str, Any]:
    answer = admin.post("/api/devices", json={"name": name, "host": host, **values})
    assert answer.status_code == 201, answer.text
    return answer.json


def names(api: Api, query: str = "") -> list[str]:
    answer = api.get(f"/api/v1/devices?{query}")
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json["items"]]


def test_tags_are_trimmed_and_each_is_there_once(admin: Api) -> None:
    device = add(admin, "r1", tags=[" core ", "core", "Berlin"])
    assert device["tags"] == ["core", "Berlin"]
    assert admin.put(f"/api/devices/{device['id']}", json={"tags": ["edge"]}).json["tags"] == ["edge"]
    assert admin.put(f"/api/devices/{device['id']}", json={"name": "r2"}).json["tags"] == ["edge"]
    assert admin.get("/api/devices/browse").json["items"][0]["tags"] == ["edge"]


@pytest.mark.parametrize(
    "tags", [[""], ["x" * 41], ["a,b"], ["a\x1b[2J"], ["a\nb"], [str(number) for number in range(21)], "core", [7]]
)
def test_tags_that_are_refused(admin: Api, tags: Any) -> None:
    answer = admin.post("/api/devices", json={"name": "r1", "host": "192.0.2.1", "tags": tags})
    assert answer.status_code == 422
    assert answer.json["error"].startswith("tags")


def test_filters(admin: Api, viewer: Api) -> None:
    add(admin, "Core-1", "10.0.0.1", site="Berlin", device_type="cisco_ios", tags=["core", "lab"])
    add(admin, "edge-1", "edge.example.net", site="Paris", device_type="junos", tags=["edge"])
    assert names(viewer) == ["Core-1", "edge-1"]
    assert names(viewer, "search=CORE") == names(viewer, "site=Berlin") == names(viewer, "tag=lab") == ["Core-1"]
    assert names(viewer, "search=example") == names(viewer, "device_type=junos") == ["edge-1"]
    assert names(viewer, "tag=lab&site=Paris") == names(viewer, "search=%25") == []
    assert viewer.get("/api/v1/devices?tag=lab").json["total"] == 1


def test_the_default_credential_is_a_filter(admin: Api) -> None:
    body = {"name": "c", "credential_type": "ssh_password", "username": "u", "secret": "s"}
    credential = admin.post("/api/credentials", json=body).json["id"]
    add(admin, "with", default_credential_id=credential)
    add(admin, "without")
    assert names(admin, f"credential={credential}") == ["with"]


@pytest.mark.parametrize("sort", ["name", "host", "site", "type", "session", "added"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_in_every_order_have_each_device_once(admin: Api, database: Database, sort: str, order: str) -> None:
    for number in range(7):
        device = add(
            admin, f"r{number % 3}", f"10.0.0.{9 - number}", site=[None, "b", "A"][number % 3], device_type="x" * number
        )
        if number % 2:
            note(database, device, at=datetime.now(UTC) - timedelta(hours=number))
    found: list[dict[str, Any]] = []
    query, cursor = f"sort={sort}&order={order}&limit=2", ""
    while cursor is not None:
        answer = admin.get(f"/api/v1/devices?{query}&cursor={cursor}").json
        found += answer["items"]
        cursor = answer["next"]
    assert len({each["id"] for each in found}) == len(found) == 7
    keys = {
        "name": lambda each: each["name"],
        "host": lambda each: each["host"],
        "site": lambda each: (each["site"] or "").lower(),
        "type": lambda each: each["device_type"],
        "session": lambda each: each["session_at"] or "",
        "added": lambda each: each["created_at"],
    }
    in_order = [keys[sort](each) for each in found]
    assert in_order == sorted(in_order, reverse=order == "desc")


@pytest.mark.parametrize(
    "query",
    [
        "sort=colour",
        "order=up",
        "limit=0",
        "limit=501",
        "cursor=x",
        "cursor=WzFd",
        "reachability=maybe",
        "credential=7",
    ],
)
def test_wrong_queries_are_refused(admin: Api, query: str) -> None:
    answer = admin.get(f"/api/v1/devices?{query}")
    assert answer.status_code == 422
    assert answer.json["error"]


def test_a_cursor_of_another_order_is_refused(admin: Api) -> None:
    add(admin, "r1")
    add(admin, "r2")
    cursor = admin.get("/api/v1/devices?limit=1").json["next"]
    assert admin.get(f"/api/v1/devices?sort=added&cursor={cursor}").status_code == 422


def test_facets_count_what_is_there(admin: Api, viewer: Api, database: Database) -> None:
    device = add(admin, "a", site="Berlin", device_type="ios", tags=["core", "lab"])
    add(admin, "b", site="Berlin", tags=["core"])
    note(database, device, contact="unreachable", reason="no answer")
    assert viewer.get("/api/v1/devices/facets").json == {
        "site": [{"value": "Berlin", "devices": 2}],
        "device_type": [{"value": "ios", "devices": 1}],
        "tag": [{"value": "core", "devices": 2}, {"value": "lab", "devices": 1}],
        "reachability": [{"value": "unknown", "devices": 1}, {"value": "unreachable", "devices": 1}],
    }


def note(database: Database, device: dict[str, Any], *, at: datetime | None = None, **values: Any) -> None:
    contact, reason = values.get("contact", "reached"), values.get("reason")
    with database.transaction() as tx:
        device_contacts.note(
            tx,
            UUID(device["id"]),
            contact,
            reason,
            at=at or datetime.now(UTC),
            by="lee",
            is_session=contact == "reached",
        )


def test_the_reason_of_a_contact_is_for_those_who_connect(
    admin: Api, operator: Api, viewer: Api, database: Database
) -> None:
    note(database, add(admin, "r1"), contact="refused", reason="r1 refuses the password of netops")
    shown = [api.get("/api/v1/devices").json["items"][0] for api in (admin, operator, viewer)]
    assert [item["reachability"] for item in shown] == ["refused"] * 3
    assert [item["contact_by"] for item in shown] == ["lee", None, None]
    assert [bool(item["contact_reason"]) for item in shown] == [True, True, False]


def test_the_last_contact_is_shown_and_an_older_one_does_not_replace_it(admin: Api, database: Database) -> None:
    device = add(admin, "r1")
    assert admin.get("/api/v1/devices").json["items"][0]["reachability"] == "unknown"
    now = datetime.now(UTC).replace(microsecond=0)
    note(database, device, at=now)
    note(database, device, contact="unreachable", reason="no answer", at=now + timedelta(minutes=1))
    note(database, device, contact="refused", reason="wrong password", at=now - timedelta(minutes=1))
    (item,) = admin.get("/api/v1/devices?reachability=unreachable").json["items"]
    assert (item["contact_reason"], item["contact_by"]) == ("no answer", "lee")
    assert datetime.fromisoformat(item["contact_at"]) == now + timedelta(minutes=1)
    assert datetime.fromisoformat(item["session_at"]) == now
    # The entry itself was not edited: a refused secret stays refused.
    assert item["updated_at"] == device["updated_at"]


def test_a_role_with_a_reach_sees_its_devices_alone(admin: Api, database: Database, add_user: Any, log_in: Any) -> None:
    with database.transaction() as tx:
        tx.execute("INSERT INTO roles (name, permissions, device_tags) VALUES ('lab', '{devices.*}', '{lab}')")
    device = add(admin, "mine", tags=["lab"])
    other = add(admin, "theirs", site="Berlin", tags=["core"])
    add_user("lee", role="lab")
    lee = log_in("lee")
    assert names(lee) == ["mine"]
    assert lee.get("/api/v1/devices").json["total"] == 1
    assert lee.get("/api/v1/devices/facets").json["tag"] == [{"value": "lab", "devices": 1}]
    assert "theirs" not in lee.get("/api/v1/devices/export").text
    change = {"changes": {"site": "x"}}
    assert lee.send("PATCH", "/api/v1/devices", json={"ids": [other["id"]], **change}).status_code == 409
    assert lee.send("PATCH", "/api/v1/devices", json={"ids": [device["id"]], **change}).status_code == 200
    answer = lee.send("PATCH", "/api/v1/devices", json={"ids": [device["id"]], "changes": {"remove_tags": ["lab"]}})
    assert answer.status_code == 422
    file = f"id,name,host\n{other['id']},stolen,192.0.2.9\n"
    (row,) = lee.post("/api/v1/devices/import?dry_run=1", data=file).json["rows"]
    assert row["fate"] == "refused"
