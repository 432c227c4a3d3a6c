"""Settings of the whole installation that are changed while it runs: JSON values by key."""

from typing import Any

import structlog
from cachetools import TTLCache
from psycopg.types.json import Jsonb

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

log = structlog.get_logger()

_SQL = load("settings")
# What cannot be read is read again and again, and told once in this time.
_TOLD_SECS = 600.0
_told: TTLCache[str, bool] = TTLCache(100, _TOLD_SECS)


def get(tx: Transaction, key: str) -> Any:
    """The value stored under `key`, None when there is none."""
    row = tx.execute(_SQL["get"], {"key": key}).fetchone()
    return row["value"] if row else None


def put(tx: Transaction, key: str, value: Any) -> None:
    """Stores `value` in the place of what was there."""
    tx.execute(_SQL["put"], {"key": key, "value": Jsonb(value)})


def note_unreadable(key: str, problem: str) -> None:
    """For readers of a setting that is not of their form; `problem` says what they do without it."""
    if key not in _told:
        _told[key] = True
        log.warning("setting.unreadable", key=key, problem=problem)
