"""The list of host keys: with the devices they belong to, searched, in pages; and the prompts of all users."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from netstacks.store import device_contacts, prompts
from netstacks.store.devices import Contact
from netstacks.store.pool import Database
from tests.web.conftest import Api
from tests.web.test_device_list import add

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def approve(admin: Api, host: str, port: int = 22) -> None:
    assert admin.post("/api/host-keys", json={"host": host, "port": port, "public_key": KEY}).status_code == 201


def hosts(api: Api, query: str = "") -> list[str]:
    return [item["host"] for item in api.get(f"/api/v1/host-keys?{query}").json["items"]]


def test_keys_are_searched_by_address_device_and_user(admin: Api, viewer: Api) -> None:
    add(admin, "Core-1", "192.0.2.1")
    approve(admin, "192.0.2.1")
    approve(admin, "edge.example.net")
    assert hosts(viewer) == ["192.0.2.1", "edge.example.net"]
    assert hosts(viewer, "search=CORE") == hosts(viewer, "search=192.0") == ["192.0.2.1"]
    assert hosts(viewer, "search=admin") == ["192.0.2.1", "edge.example.net"]
    assert hosts(viewer, "search=nothing") == []
    (item,) = viewer.get("/api/v1/host-keys?search=core").json["items"]
    assert (item["devices"], item["approved_by"], item["mismatch_at"]) == (["Core-1"], "admin", None)


def test_pages_have_each_key_once(admin: Api) -> None:
    for number in range(5):
        approve(admin, f"192.0.2.{number // 2}", 22 + number)
    found, query = [], ""
    while query is not None:
        answer = admin.get(f"/api/v1/host-keys?limit=2{query}").json
        found += [(item["host"], item["port"]) for item in answer["items"]]
        following = answer["next"]
        query = following and f"&after_host={following['after_host']}&after_port={following['after_port']}"
    assert found == sorted(set(found))
    assert len(found) == 5


def note(database: Database, device: dict[str, Any], secs: int, contact: Contact, *, is_session: bool = False) -> None:
    """A contact with the device, `secs` from now."""
    at = datetime.now(UTC) + timedelta(seconds=secs)
    with database.transaction() as tx:
        device_contacts.note(tx, UUID(device["id"]), contact, None, at=at, by="lee", is_session=is_session)


def mismatch_at(api: Api) -> str | None:
    found: str | None = api.get("/api/v1/host-keys").json["items"][0]["mismatch_at"]
    return found


def test_a_device_that_presented_another_key_is_marked_until_the_next_approval(admin: Api, database: Database) -> None:
    device = add(admin, "r1", "192.0.2.1")
    approve(admin, "192.0.2.1")
    note(database, device, 1, "host_key")
    assert mismatch_at(admin)
    with database.transaction() as tx:
        tx.execute("UPDATE host_keys SET approved_at = now() + interval '1 minute'")
    assert mismatch_at(admin) is None


def test_a_device_that_presented_another_key_is_marked_until_a_log_in_succeeds(admin: Api, database: Database) -> None:
    device = add(admin, "r1", "192.0.2.1")
    approve(admin, "192.0.2.1")
    note(database, device, 1, "host_key")
    marked_at = mismatch_at(admin)
    assert marked_at
    # A check reads the greeting, without the key.
    note(database, device, 2, "reached")
    note(database, device, 3, "unreachable")
    note(database, device, 4, "refused")
    assert mismatch_at(admin) == marked_at
    note(database, device, 5, "reached", is_session=True)
    assert mismatch_at(admin) is None


def test_a_key_is_not_marked_for_what_a_device_presented_at_its_former_address(admin: Api, database: Database) -> None:
    device = add(admin, "r1", "192.0.2.1")
    approve(admin, "192.0.2.2")
    note(database, device, 1, "host_key")
    assert admin.put(f"/api/devices/{device['id']}", json={"site": "Berlin", "host": "192.0.2.2"}).status_code == 200
    assert mismatch_at(admin) is None


def test_prompts_of_all_users_are_for_those_who_manage_host_keys(admin: Api, operator: Api, database: Database) -> None:
    add(admin, "r1", "192.0.2.1")
    with database.transaction() as tx:
        prompts.ask(tx, operator.user_id, "192.0.2.1", 22, "SHA256:new", None)
    (item,) = admin.get("/api/v1/host-keys/prompts").json["items"]
    assert (item["username"], item["device"], item["is_changed_key"]) == ("operator", "r1", False)
    assert operator.get("/api/v1/host-keys/prompts").status_code == 403
    assert admin.post(f"/api/host-keys/prompts/{item['id']}/approve").status_code == 204
    assert admin.get("/api/v1/host-keys/prompts").json["items"] == []
