"""The audit log: append-only, written in the transaction of what it reports."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from netstacks.store.pool import Transaction
from netstacks.store.queries import all_of, load, mark, read_in_order

_SQL = load("audit")


@dataclass(frozen=True)
class Actor:
    """Who does something, and from where; `SYSTEM` is the controller itself."""

    name: str
    id: UUID | None = None
    address: str | None = None
    login_id: UUID | None = None
    """The log-in by which a user acts. A peer of the former version names none."""


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
    """Rows newest first, older than row `before`; `event` may end in `*` to name a family.

    However many rows there are, about `limit` of them are read: an index holds the rows of each event by time, for one
    actor, one resource or both, and PostgreSQL merges the events that are asked for.
    """
    filters = {"by_actor": actor, "on_resource": resource}
    conditions = [sql.SQL(_SQL[name]) for name, value in filters.items() if value is not None]
    read_in_order(tx)
    end_at, end_id = _end(tx, until, before)
    values: dict[str, Any] = {"actor": actor, "resource": resource, "since": since, "limit": limit}
    values |= {"end_at": end_at, "end_id": end_id}
    events = _events(tx, conditions, event or "*", values)
    if not events:
        return []
    values |= {f"event_{number}": each for number, each in enumerate(events)}
    marks = {"actor_mark": mark(actor is not None), "resource_mark": mark(resource is not None)}
    rows = [
        sql.SQL(_SQL["rows"]).format(conditions=all_of([*conditions, _is_event(number)]), **marks)
        for number in range(len(events))
    ]
    merged = sql.SQL(_SQL["merged"]).format(rows=sql.SQL("\nUNION ALL\n").join(rows), **marks)
    return [_readable(row) for row in tx.execute(merged, values)]


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Details that are no JSON object are shown under one name: no row of the log may be left out."""
    details = row["details"]
    return row if isinstance(details, dict) else row | {"details": {"unreadable": details}}


def _end(tx: Transaction, until: datetime | None, before: int | None) -> tuple[datetime | str | None, int]:
    """The place in the log, a time and an id, before which the wanted rows are; no time means after all of them.

    One place, and not two: an index is entered at one of two limits, and read from there to the other.
    """
    row = tx.execute(_SQL["time_of"], {"id": before}).fetchone() if before is not None else None
    if before is None or row is None or (until is not None and until <= row["at"]):
        return until, 0
    # Exactly, though it may be no date.
    return row["exact_at"], before


def _events(tx: Transaction, conditions: list[sql.SQL], wanted: str, values: dict[str, Any]) -> list[str]:
    """The event that is wanted, or those of the family that rows under these conditions have."""
    family = wanted.removesuffix("*")
    if family == wanted:
        return [wanted]
    statement = sql.SQL(_SQL["events"]).format(conditions=all_of(conditions))
    return [row["event"] for row in tx.execute(statement, values | {"family": family})]


def _is_event(number: int) -> sql.Composed:
    return sql.SQL(_SQL["is_event"]).format(event=sql.Placeholder(f"event_{number}"))
