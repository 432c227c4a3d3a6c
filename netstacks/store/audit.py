"""The audit log: append-only, written in the transaction of the action that it records."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from netstacks.store.pool import Transaction
from netstacks.store.queries import all_of, load, mark, read_in_order

_SQL = load("audit")
# The precision of times in PostgreSQL.
_INSTANT = timedelta(microseconds=1)
# How many partitions are read at once: one look-up in each for every kind of event.
_FIRST_PARTITIONS, _MORE_PARTITIONS = 2, 6


@dataclass(frozen=True)
class Actor:
    """The user who acts, and the client address; `SYSTEM` is the controller itself."""

    name: str
    id: UUID | None = None
    address: str | None = None
    login_id: UUID | None = None
    """The log-in of the acting user. None from a peer of the former version, which does not send it."""


SYSTEM = Actor("system")


def append(tx: Transaction, actor: Actor, event: str, resource: str, **details: Any) -> None:
    """Writes one audit row, committed or rolled back with the transaction. Never pass a secret in `details`."""
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


def list_page(
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
    """Rows newest first, older than row `before`; `event` may end in `*` to match by prefix.

    PostgreSQL reads about `limit` rows, whatever the size of the log: an index orders the rows of each event by time,
    for one actor, one resource or both, and the statement merges one index scan per event and partition. It begins with
    the newest partitions, and looks into older ones only for the rest.
    """
    filters = {"by_actor": actor, "on_resource": resource}
    conditions = [sql.SQL(_SQL[name]) for name, value in filters.items() if value is not None]
    read_in_order(tx)
    end_at, end_id = _end(tx, until, before)
    values: dict[str, Any] = {"actor": actor, "resource": resource, "since": since}
    values |= {"end_at": end_at, "end_id": end_id}
    found: list[dict[str, Any]] = []
    for span_since, span_until, span_last in _spans(tx, since, end_at):
        values |= {"span_since": span_since, "span_until": span_until, "span_last": span_last}
        values["limit"] = limit - len(found)
        found += _rows(tx, conditions, event or "*", values)
        if len(found) >= limit:
            break
    return [_readable(row) for row in found]


def _rows(tx: Transaction, conditions: list[sql.SQL], event: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    events = _events(tx, conditions, event, values)
    if not events:
        return []
    values = values | {f"event_{number}": each for number, each in enumerate(events)}
    marks = {"actor_mark": mark(values["actor"] is not None), "resource_mark": mark(values["resource"] is not None)}
    rows = [
        sql.SQL(_SQL["rows"]).format(conditions=all_of([*conditions, _is_event(number)]), **marks)
        for number in range(len(events))
    ]
    merged = sql.SQL(_SQL["merged"]).format(rows=sql.SQL("\nUNION ALL\n").join(rows), **marks)
    return tx.execute(merged, values).fetchall()


def _spans(tx: Transaction, since: datetime | None, end_at: datetime | str | None) -> Iterator[tuple[Any, Any, Any]]:
    """The partitions that may have wanted rows, as spans of time, newest first: two of them, then more at once.

    Each with the end of the wanted rows in it, and the end of its newest partition.
    """
    until: datetime | str = end_at or "infinity"
    found = tx.execute(_SQL["edges"], {"since": since, "until": until}).fetchall()
    edges = [row["since"] for row in found if row["since"] is not None]
    last = found[0]["last_at"] if found else until
    is_covered = since is not None and bool(edges) and edges[-1] <= since
    count = _FIRST_PARTITIONS
    while edges:
        used, edges = edges[:count], edges[count:]
        yield used[-1], until, last
        # The row at the edge itself belongs to the newer span.
        until = last = used[-1] - _INSTANT
        count = _MORE_PARTITIONS
    if not is_covered:
        # The first partition; and rows of the default one, which may be older than any other partition or newer.
        yield since if since and not found else "-infinity", until, last


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with details that are no JSON object under one name: no row of the log may be left out."""
    details = row["details"]
    return row if isinstance(details, dict) else row | {"details": {"unreadable": details}}


def _end(tx: Transaction, until: datetime | None, before: int | None) -> tuple[datetime | str | None, int]:
    """The upper bound of the wanted rows as time and id, exclusive; no time means the end of the log.

    One combined bound: with two separate bounds PostgreSQL would start the index scan at only one of them.
    """
    row = tx.execute(_SQL["time_of"], {"id": before}).fetchone() if before is not None else None
    if before is None or row is None or (until is not None and until <= row["at"]):
        return until, 0
    # As text, because Python may not be able to represent the time.
    return row["exact_at"], before


def _events(tx: Transaction, conditions: list[sql.SQL], wanted: str, values: dict[str, Any]) -> list[str]:
    """The wanted event, or for a prefix the matching events among the rows that meet the conditions."""
    family = wanted.removesuffix("*")
    if family == wanted:
        return [wanted]
    statement = sql.SQL(_SQL["events"]).format(conditions=all_of(conditions))
    return [row["event"] for row in tx.execute(statement, values | {"family": family})]


def _is_event(number: int) -> sql.Composed:
    return sql.SQL(_SQL["is_event"]).format(event=sql.Placeholder(f"event_{number}"))
