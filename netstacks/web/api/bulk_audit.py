"""The audit rows of a change of many objects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from netstacks import greenlets
from netstacks.store import audit
from netstacks.store.audit import Actor
from netstacks.store.pool import Transaction

_PART = 500


@dataclass(frozen=True)
class AuditRow:
    """The row for one of the objects."""

    event: str
    resource: str
    details: Mapping[str, Any]


def append_all(tx: Transaction, actor: Actor, rows: Iterable[AuditRow]) -> None:
    """Writes the rows without waiting for the answer to each."""
    remaining = iter(rows)
    # In parts: a pipeline may send nothing for seconds, and PostgreSQL ends a transaction that is idle for so long.
    while part := list(islice(remaining, _PART)):
        with tx.pipeline():
            for row in part:
                audit.append(tx, actor, row.event, row.resource, **row.details)
        greenlets.give_way()
