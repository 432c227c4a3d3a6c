"""The filters of the audit log, and the search for a text in it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, StringConstraints
from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.errors import AccessWithdrawn
from netstacks.formats import Timestamp, Uuid
from netstacks.store import access, audit, audit_names
from netstacks.store.pool import Database
from netstacks.store.sight import Sight, seen_audit_rows
from netstacks.web.http.fields import Moment

_READ_ROWS = 1000
_Text = Annotated[str | None, StringConstraints(strip_whitespace=True, max_length=500)]


class AuditFilter(BaseModel):
    """`event` may end in `*`. Times without a zone are UTC; `since` is inclusive, `until` exclusive.

    `range` ends now and takes precedence over both. `q` is a text that the row contains, whatever its case.
    """

    actor: _Text = None
    event: _Text = None
    resource: _Text = None
    since: Moment | None = None
    until: Moment | None = None
    range: Literal["hour", "today", "week"] | None = None
    q: _Text = None

    def bounds(self, now: datetime) -> dict[str, Any]:
        """The filters that the database applies, for `audit.list_page`."""
        given = {"actor": self.actor or None, "event": self.event or None, "resource": self.resource or None}
        match self.range:
            case "hour":
                return {**given, "since": now - timedelta(hours=1), "until": None}
            case "today":
                midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
                return {**given, "since": midnight, "until": None}
            case "week":
                return {**given, "since": now - timedelta(days=7), "until": None}
        return {**given, "since": self.since, "until": self.until}

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether a new row belongs to what is shown."""
        is_event = (
            row["event"].startswith(self.event[:-1])
            if self.event and self.event.endswith("*")
            else self.event in (None, "", row["event"])
        )
        bounds = self.bounds(datetime.now(UTC))
        return (
            is_event
            and self.actor in (None, "", row["actor"])
            and self.resource in (None, "", row["resource"])
            and (bounds["since"] is None or row["at"] >= bounds["since"])
            and (bounds["until"] is None or row["at"] < bounds["until"])
            and self.contains(row)
        )

    def contains(self, row: dict[str, Any]) -> bool:
        """Whether the row has the text `q`."""
        if not self.q:
            return True
        details = json.dumps(row["details"], ensure_ascii=False)
        texts = (row["actor"], row["event"], row["resource"], row["address"] or "", details)
        return self.q.casefold() in "\n".join(texts).casefold()


@dataclass(frozen=True)
class Slice:
    """A part of the log: the rows in sight, the number of rows read, and the id before which the next part begins."""

    rows: list[dict[str, Any]]
    read: int
    next: int | None


def slices(
    database: Database,
    bounds: Mapping[str, Any],
    sight: Sight,
    before: int | None,
    size: int,
    may_read_on: Callable[[], bool],
) -> Iterator[Slice]:
    """All rows within the bounds, newest first, in slices of `size`, each in a transaction of its own.

    Raises AccessWithdrawn when the user may read on no more.
    """
    while True:
        if not may_read_on():
            raise AccessWithdrawn(access.WITHDRAWN)
        with database.transaction() as tx:
            rows = audit.list_page(tx, **bounds, before=before, limit=size)
            seen = seen_audit_rows(tx, rows, sight)
        before = rows[-1]["id"] if len(rows) == size else None
        yield Slice(seen, len(rows), before)
        if before is None:
            return
        greenlets.give_way()


class EventJson(TypedDict):
    """A row of the audit log."""

    id: int
    at: Timestamp
    actor: str
    actor_id: Uuid | None
    event: str
    """Such as `device.created`."""
    resource: str
    """The kind and the id of what it is about, such as `device:` and a UUID."""
    details: dict[str, Any]
    address: str | None
    """The IP address of the request."""


class NamedEventJson(EventJson):
    """A row of the audit log, with the names of what it refers to."""

    resource_name: str | None
    names: dict[str, str]
    """The names of what `details` refer to, by id."""


def named(database: Database, rows: list[dict[str, Any]], sight: Sight) -> list[NamedEventJson]:
    """The rows as JSON, with the names of what they refer to: `resource_name`, and `names` by id for the details.

    With a limited sight the details get no names: what they refer to may be beyond it.
    """
    with database.transaction() as tx:
        names = audit_names.names_of(tx, rows)
    if sight.is_limited:
        own = {row["resource"].partition(":")[2] for row in rows}
        names = {key: each for key, each in names.items() if key in own}
    items = []
    for row in rows:
        items.append(_as_json(row, names))
        greenlets.give_way()
    return items


def event_json(row: dict[str, Any]) -> EventJson:
    return {
        "id": row["id"],
        "at": row["at"].astimezone(UTC).isoformat(),
        "actor": row["actor"],
        "actor_id": str(row["actor_id"]) if row["actor_id"] else None,
        "event": row["event"],
        "resource": row["resource"],
        "details": row["details"],
        "address": row["address"],
    }


def _as_json(row: dict[str, Any], names: dict[str, audit_names.Named]) -> NamedEventJson:
    key = row["resource"].partition(":")[2]
    mentioned = dict.fromkeys(audit_names.ids_in(row["details"]))
    return {
        **event_json(row),
        "resource_name": names[key].name if key in names else None,
        "names": {each: names[each].name for each in mentioned if each != key and each in names},
    }
