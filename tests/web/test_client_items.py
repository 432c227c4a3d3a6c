"""What the Terminal client stores for its user: real, small, and of that user alone."""

from uuid import uuid4

import pytest

from netstacks.store import client_items
from netstacks.web.api.client_items import COLLECTIONS
from tests.web.conftest import Api

PATHS = [*(f"/api/{name}" for name in COLLECTIONS), "/api/ai/memory"]


def listed(api: Api, path: str) -> list[dict[str, object]]:
    answer = api.get(path).json
    return answer["memories"] if path == "/api/ai/memory" else answer  # type: ignore[no-any-return, index]


@pytest.mark.parametrize("path", PATHS)
def test_an_item_is_added_changed_and_deleted(operator: Api, viewer: Api, path: str) -> None:
    assert listed(operator, path) == []
    made = operator.post(path, json={"name": "vlans", "command": "show vlan", "shared": False})
    assert made.status_code == 201
    assert (made.json["name"], made.json["command"]) == ("vlans", "show vlan")
    assert listed(operator, path) == [made.json]
    assert listed(viewer, path) == []
    item = f"{path}/{made.json['id']}"
    # A client sends the whole item back, or only what has changed.
    changed = operator.put(item, json={**made.json, "id": str(uuid4()), "command": "show vlan brief"})
    assert (changed.json["id"], changed.json["command"]) == (made.json["id"], "show vlan brief")
    assert operator.put(item, json={"name": "VLANs"}).json["command"] == "show vlan brief"
    for method in ("PUT", "DELETE"):
        viewer.send(method, item, json={"name": "mine"})
    assert listed(operator, path)[0]["name"] == "VLANs"
    assert operator.delete(item).status_code == 204
    assert listed(operator, path) == []
    assert operator.put(item, json={"name": "again"}).status_code == 404


def test_memories_are_found_by_category(operator: Api) -> None:
    for category in ("device", "network"):
        operator.post("/api/ai/memory", json={"content": f"of a {category}", "category": category, "source": "ai"})
    found = operator.get("/api/ai/memory?category=device").json["memories"]
    assert [each["content"] for each in found] == ["of a device"]
    assert len(operator.get("/api/ai/memory?category=").json["memories"]) == 2


@pytest.mark.parametrize("body", [[], "text", 1])
def test_an_item_must_be_an_object(operator: Api, body: object) -> None:
    assert operator.post("/api/snippets", json=body).status_code == 422


def test_items_are_limited_in_size_and_number(operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_items, "MAX_ITEMS", 2)
    assert operator.post("/api/snippets", json={"command": "x" * client_items.MAX_ITEM_CHARS}).status_code == 422
    first = operator.post("/api/snippets", json={"command": "x" * 10_000}).json
    # In pieces it may not grow beyond the limit either.
    assert operator.put(f"/api/snippets/{first['id']}", json={"name": "x" * 10_000}).status_code == 422
    assert operator.get(f"/api/snippets/{first['id']}").json == first
    assert operator.post("/api/snippets", json={}).status_code == 201
    assert operator.post("/api/snippets", json={}).status_code == 422
    assert operator.post("/api/mapped-keys", json={}).status_code == 201


@pytest.mark.parametrize(("key", "default"), [("workspaces", []), ("workspace-defaults", None), ("keybindings", None)])
def test_settings_of_the_clients_pages_are_stored(operator: Api, viewer: Api, key: str, default: object) -> None:
    path = f"/api/settings/{key}"
    assert operator.get(path).json == default
    assert operator.put(path, json=[{"name": "lab"}]).status_code == 204
    assert operator.get(path).json == [{"name": "lab"}]
    # The form of the desktop client.
    operator.put(path, json={"value": {"a": 1}})
    assert operator.get(path).json == {"a": 1}
    assert viewer.get(path).json == default
