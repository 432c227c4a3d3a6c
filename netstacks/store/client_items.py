"""What the Terminal client stores for its user, such as snippets: JSON objects in collections of that user."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from netstacks.errors import InvalidInput, NotFound
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("client_items")

MAX_ITEMS = 500
MAX_ITEM_CHARS = 16 * 1024


@dataclass(frozen=True)
class ClientItem:
    """One object, with the members that the client has sent."""

    id: UUID
    item: dict[str, Any]
    created_at: datetime
    updated_at: datetime


def list_all(tx: Transaction, user_id: UUID, collection: str) -> list[ClientItem]:
    """The items of a collection, oldest first."""
    rows = tx.execute(_SQL["all"], {"user_id": user_id, "collection": collection})
    return [ClientItem(**row) for row in rows]


def get(tx: Transaction, user_id: UUID, collection: str, item_id: UUID) -> ClientItem:
    """Raises NotFound."""
    return _one(tx, "get", {"user_id": user_id, "collection": collection, "id": item_id})


def add(tx: Transaction, user_id: UUID, collection: str, item: dict[str, Any]) -> ClientItem:
    """Raises InvalidInput above MAX_ITEMS or MAX_ITEM_CHARS."""
    values = {"id": uuid4(), "user_id": user_id, "collection": collection, "item": _checked(item)}
    row = tx.execute(_SQL["add"], values | {"max_items": MAX_ITEMS}).fetchone()
    if row is None:
        raise InvalidInput(f"a user may have {MAX_ITEMS} of these: delete some first")
    return ClientItem(**row)


def change(tx: Transaction, user_id: UUID, collection: str, item_id: UUID, item: dict[str, Any]) -> ClientItem:
    """Replaces the given members; raises NotFound, and InvalidInput as `add` does."""
    values = {"user_id": user_id, "collection": collection, "id": item_id, "item": _checked(item)}
    changed = _one(tx, "change", values)
    _checked(changed.item)
    return changed


def delete(tx: Transaction, user_id: UUID, collection: str, item_id: UUID) -> None:
    """Deletes an item; also succeeds when there is none."""
    tx.execute(_SQL["delete"], {"user_id": user_id, "collection": collection, "id": item_id})


def _checked(item: dict[str, Any]) -> Jsonb:
    try:
        size = len(json.dumps(item, allow_nan=False))
    except ValueError as error:
        raise InvalidInput("the value contains a number that is too large for JSON") from error
    if size > MAX_ITEM_CHARS:
        raise InvalidInput(f"it must not be longer than {MAX_ITEM_CHARS} characters of JSON")
    return Jsonb(item)


def _one(tx: Transaction, query: str, values: dict[str, Any]) -> ClientItem:
    row = tx.execute(_SQL[query], values).fetchone()
    if row is None:
        raise NotFound("there is no such item")
    return ClientItem(**row)
