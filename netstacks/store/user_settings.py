"""Settings that a user's clients store: any JSON value by key, visible to that user only."""

import json
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from netstacks.errors import InvalidInput, NotFound
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("user_settings")

MAX_KEYS = 500
MAX_KEY_CHARS = 200
MAX_VALUE_CHARS = 256 * 1024


def get(tx: Transaction, user_id: UUID, key: str) -> Any:
    """The JSON value; raises NotFound when the user has not set it."""
    row = tx.execute(_SQL["get"], {"user_id": user_id, "key": key}).fetchone()
    if row is None:
        raise NotFound(f"the setting {key} is not set")
    return row["value"]


def put(tx: Transaction, user_id: UUID, key: str, value: Any) -> None:
    """Sets or replaces the value; raises InvalidInput above MAX_KEYS, MAX_KEY_CHARS or MAX_VALUE_CHARS."""
    if len(key) > MAX_KEY_CHARS:
        raise InvalidInput(f"the key of a setting must not be longer than {MAX_KEY_CHARS} characters")
    try:
        size = len(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise InvalidInput("the value contains a number that is too large for JSON") from error
    if size > MAX_VALUE_CHARS:
        raise InvalidInput(f"the value of a setting must not be longer than {MAX_VALUE_CHARS} characters of JSON")
    values = {"user_id": user_id, "key": key, "value": Jsonb(value), "max_keys": MAX_KEYS}
    if tx.execute(_SQL["put"], values).rowcount == 0:
        raise InvalidInput(f"a user may have {MAX_KEYS} settings: delete some first")


def delete(tx: Transaction, user_id: UUID, key: str) -> None:
    tx.execute(_SQL["delete"], {"user_id": user_id, "key": key})
