"""Names of what audit rows refer to by id: users, devices, credentials, sessions and others, also of deleted ones."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("audit_names")

_KINDS = ("user", "device", "credential", "session_definition", "llm_provider", "identity_provider", "audit_target")
# The events whose details have the name.
_NAMING = [f"{kind}.{change}" for kind in _KINDS for change in ("created", "deleted")]
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The most ids of one page: a row with a long list of ids must not make a query of any length.
_MAX_IDS = 5000


@dataclass(frozen=True)
class Named:
    """What an id stands for; `is_current` is false when there is no such thing any more."""

    kind: str
    id: UUID
    name: str
    is_current: bool


def names_of(tx: Transaction, rows: Iterable[dict[str, Any]]) -> dict[str, Named]:
    """By id as text, the names of everything that these rows mention in their resource and details: one query."""
    found: dict[str, None] = {}
    resources = set()
    for row in rows:
        kind, _, key = row["resource"].partition(":")
        if kind in _KINDS and _UUID.fullmatch(key):
            resources.add(row["resource"])
        found |= dict.fromkeys(ids_in([row["resource"].partition(":")[2], row["details"]]))
    if not found:
        return {}
    ids = [UUID(text) for text in list(found)[:_MAX_IDS]]
    values = {"ids": ids, "resources": list(resources), "events": _NAMING}
    with tx.cursor(row_factory=row_of(Named)) as cursor:
        named = cursor.execute(_SQL["names"], values).fetchall()
    # A name of today replaces one from the log.
    return {str(each.id): each for each in sorted(named, key=lambda each: each.is_current)}


def ids_in(value: Any) -> Iterator[str]:
    """The ids in the texts of a JSON value, as texts."""
    match value:
        case str() if len(value) <= 200:
            yield from _UUID.findall(value)
        case dict():
            for each in value.values():
                yield from ids_in(each)
        case list():
            for each in value:
                yield from ids_in(each)
