"""Settings of the whole installation that are changed while it runs: JSON values by key."""

from typing import Any

from psycopg.types.json import Jsonb

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("settings")


def get(tx: Transaction, key: str) -> Any:
    """The value stored under `key`, None when there is none."""
    row = tx.execute(_SQL["get"], {"key": key}).fetchone()
    return row["value"] if row else None


def put(tx: Transaction, key: str, value: Any) -> None:
    """Stores `value` in the place of what was there."""
    tx.execute(_SQL["put"], {"key": key, "value": Jsonb(value)})
