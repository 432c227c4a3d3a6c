"""The last change of each setting, and the check that a change is based on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from netstacks.store import versions
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("settings")


@dataclass(frozen=True)
class Change:
    """The last change of a setting. `version` counts its changes."""

    version: int
    changed_by: str
    changed_at: datetime


def of(tx: Transaction, keys: Iterable[str]) -> dict[str, Change]:
    """The last change of each of these settings that was ever changed, by key."""
    rows = tx.execute(_SQL["changes"], {"keys": list(keys)}).fetchall()
    return {row["key"]: Change(row["version"], row["changed_by"], row["changed_at"]) for row in rows}


def version(tx: Transaction, key: str) -> int:
    """How often the setting was changed."""
    change = of(tx, [key]).get(key)
    return change.version if change else 0


def note(tx: Transaction, key: str, what: str, by: str, *, seen: int | None) -> None:
    """Counts a change. `seen` is the version that it is based on; None skips the check. Raises ChangedMeanwhile."""
    values = {"key": key, "changed_by": by, "seen": seen}
    if tx.execute(_SQL["note_change"], values).fetchone() is None:
        change = of(tx, [key])[key]
        versions.check(what, change.version, change.changed_by, seen=seen)
