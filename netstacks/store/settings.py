"""Settings of the whole installation that can be changed at run time: JSON values by key."""

from typing import Any

import structlog
from cachetools import TTLCache
from psycopg.types.json import Jsonb

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

log = structlog.get_logger()

_SQL = load("settings")
# An unreadable setting is read again and again, and logged once in this time.
_LOG_INTERVAL_SECS = 600.0
_logged: TTLCache[str, bool] = TTLCache(100, _LOG_INTERVAL_SECS)


def get(tx: Transaction, key: str) -> Any:
    """The value stored under `key`, None when there is none."""
    row = tx.execute(_SQL["get"], {"key": key}).fetchone()
    return row["value"] if row else None


def put(tx: Transaction, key: str, value: Any) -> None:
    """Stores `value`, replacing the previous one."""
    tx.execute(_SQL["put"], {"key": key, "value": Jsonb(value)})


def note_unreadable(key: str, problem: str) -> None:
    """Logs that a stored setting has an unexpected form; `problem` says what applies instead."""
    if key not in _logged:
        _logged[key] = True
        log.warning("setting.unreadable", key=key, problem=problem)
