"""What the Terminal client stores for its user: snippets, mapped keys, memories of the assistant and the like.

The client chooses the members of an item; `id` and the times are added here (docs/protocol.md, 9).
"""

from collections.abc import Iterable
from typing import Any, cast
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, with_config
from typing_extensions import TypedDict

from netstacks.errors import InvalidInput, NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.store import client_items, user_settings
from netstacks.store.client_items import ClientItem
from netstacks.web.api.user_settings import Stored
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_json, takes_query
from netstacks.web.http.json_response import JsonResponse, json_response
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("client_items", __name__)

COLLECTIONS = ("custom-commands", "mapped-keys", "quick-actions", "quick-prompts", "snippets")
_MEMORY = "ai/memory"
# Added here: a client that sends an item back sends them, too.
_ADDED = ("id", "created_at", "updated_at")
# Settings of the client's pages, and their values before the user has set one.
_SETTINGS: dict[str, Any] = {"keybindings": None, "workspace-defaults": None, "workspaces": []}


class MemoryQuery(BaseModel):
    category: str | None = None


@with_config(ConfigDict(extra="allow", use_attribute_docstrings=True))
class ClientItemJson(TypedDict):
    """An item with the members that the client has chosen."""

    id: Uuid
    created_at: Timestamp
    updated_at: Timestamp


class Memories(TypedDict):
    memories: list[ClientItemJson]


def _one_of(names: Iterable[str]) -> str:
    return f"any({', '.join(map(repr, names))})"


_PATH = f"/api/<{_one_of(COLLECTIONS)}:collection>"
_SETTING = f"/api/settings/<{_one_of(_SETTINGS)}:key>"


@blueprint.get(_PATH)
@guard.requires()
def list_items(collection: str) -> list[ClientItemJson]:
    return _items(collection)


@blueprint.get("/api/ai/memory")
@guard.requires()
@takes_query(MemoryQuery)
def list_memories(query: MemoryQuery) -> Memories:
    found = _items(_MEMORY)
    return {"memories": [each for each in found if query.category in (None, each.get("category"))]}


@blueprint.post(_PATH)
@guard.requires()
@takes_json
@answers(201)
def add_item(body: Any, collection: str) -> tuple[ClientItemJson, int]:
    return _add(collection, body)


@blueprint.post("/api/ai/memory")
@guard.requires()
@takes_json
@answers(201)
def add_memory(body: Any) -> tuple[ClientItemJson, int]:
    return _add(_MEMORY, body)


@blueprint.get(f"{_PATH}/<uuid:item_id>")
@guard.requires()
def get_item(collection: str, item_id: UUID) -> ClientItemJson:
    with services().database.transaction() as tx:
        return _as_json(client_items.get(tx, guard.identity().user_id, collection, item_id))


@blueprint.put(f"{_PATH}/<uuid:item_id>")
@guard.requires()
@takes_json
def change_item(body: Any, collection: str, item_id: UUID) -> ClientItemJson:
    return _change(collection, item_id, body)


@blueprint.put("/api/ai/memory/<uuid:item_id>")
@guard.requires()
@takes_json
def change_memory(body: Any, item_id: UUID) -> ClientItemJson:
    return _change(_MEMORY, item_id, body)


@blueprint.delete(f"{_PATH}/<uuid:item_id>")
@guard.requires()
@answers(204)
def delete_item(collection: str, item_id: UUID) -> Response:
    return _delete(collection, item_id)


@blueprint.delete("/api/ai/memory/<uuid:item_id>")
@guard.requires()
@answers(204)
def delete_memory(item_id: UUID) -> Response:
    return _delete(_MEMORY, item_id)


@blueprint.get(_SETTING)
@guard.requires()
def get_setting(key: str) -> JsonResponse[Stored]:
    try:
        with services().database.transaction() as tx:
            return json_response(user_settings.get(tx, guard.identity().user_id, _stored_under(key)))
    except NotFound:
        return json_response(_SETTINGS[key])


@blueprint.put(_SETTING)
@guard.requires()
@takes_json
@answers(204)
def put_setting(body: Any, key: str) -> Response:
    """The value itself, or in the form `{"value": ...}` of the desktop client."""
    value = body["value"] if isinstance(body, dict) and body.keys() == {"value"} else body
    with guard.transaction() as tx:
        user_settings.put(tx, guard.identity().user_id, _stored_under(key), value)
    return Response(status=204)


def _stored_under(key: str) -> str:
    return f"settings.{key}"


def _items(collection: str) -> list[ClientItemJson]:
    with services().database.transaction() as tx:
        return [_as_json(each) for each in client_items.list_all(tx, guard.identity().user_id, collection)]


def _add(collection: str, body: Any) -> tuple[ClientItemJson, int]:
    item = _item(body)
    with guard.transaction() as tx:
        return _as_json(client_items.add(tx, guard.identity().user_id, collection, item)), 201


def _change(collection: str, item_id: UUID, body: Any) -> ClientItemJson:
    item = _item(body)
    with guard.transaction() as tx:
        return _as_json(client_items.change(tx, guard.identity().user_id, collection, item_id, item))


def _delete(collection: str, item_id: UUID) -> Response:
    with guard.transaction() as tx:
        client_items.delete(tx, guard.identity().user_id, collection, item_id)
    return Response(status=204)


def _item(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidInput("The request body must be a JSON object.")
    return {name: value for name, value in body.items() if name not in _ADDED}


def _as_json(found: ClientItem) -> ClientItemJson:
    added: ClientItemJson = {
        "id": str(found.id),
        "created_at": timestamp(found.created_at),
        "updated_at": timestamp(found.updated_at),
    }
    return cast(ClientItemJson, {**found.item, **added})
