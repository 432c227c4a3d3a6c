"""The audit log: append-only, written in the transaction of what it reports."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("audit")


@dataclass(frozen=True)
class Actor:
    """Who does something, and from where; `SYSTEM` is the controller itself."""

    name: str
    id: UUID | None = None
    address: str | None = None


SYSTEM = Actor("system")


def append(tx: Transaction, actor: Actor, event: str, resource: str, **details: Any) -> None:
    """Writes one audit row; it stands or falls with the transaction. Never pass a secret in `details`."""
    tx.execute(
        _SQL["append"],
        {
            "actor_id": actor.id,
            "actor": actor.name,
            "event": event,
            "resource": resource,
            "details": Jsonb(details),
            "address": actor.address,
        },
    )


def page(
    tx: Transaction,
    *,
    actor: str | None = None,
    event: str | None = None,
    resource: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Rows newest first, older than row `before`; `event` may end in `*` to name a family."""
    family = event.removesuffix("*") if event and event.endswith("*") else None
    return tx.execute(
        _SQL["page"],
        {
            "actor": actor,
            "event": event if family is None else None,
            "family": family,
            "resource": resource,
            "since": since,
            "until": until,
            "before": before,
            "limit": limit,
        },
    ).fetchall()
