"""The audit log with names beside ids: pages, search, exports, new rows as they come, the state of the hash chain."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from flask import Blueprint, Response, request
from pydantic import Field
from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.formats import Timestamp
from netstacks.store import audit, audit_chain, audit_partitions, system_settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AUDIT_DAYS
from netstacks.store.sight import Sight, seen_audit_rows
from netstacks.web.api.audit_filter import AuditFilter, NamedEventJson, named, slices
from netstacks.web.auth import guard
from netstacks.web.auth.seeing import sight
from netstacks.web.context import Services, services
from netstacks.web.http import csv_rows
from netstacks.web.http.declarations import produces, takes_query

blueprint = Blueprint("audit_log", __name__)

_COLUMNS = ("id", "at", "actor", "actor_id", "event", "resource", "resource_name", "details", "names", "address")
_EXPORT_PAGE = 1000
# A search reads so many rows for one answer; the next page goes on from there.
_SEARCHED_ROWS = 10_000
_STEP_SECS = 1.0
_STEP_ROWS = 200
# A client takes ten seconds of silence for a dead connection.
_SILENCE_SECS = 5.0
# A stream ends after this time, and the browser opens another one.
_STREAM_SECS = 600.0
_RECONNECT_MSECS = 1000


class PageQuery(AuditFilter):
    before: int | None = Field(None, ge=1, lt=2**63)
    limit: int = Field(100, ge=1, le=1000)


class ExportQuery(AuditFilter):
    format: Literal["csv", "jsonl"] = "csv"


class StreamQuery(AuditFilter):
    """`after` is the id of the last event that was received, as the header Last-Event-ID."""

    after: int | None = Field(None, ge=0, lt=2**63)


class NamedEventPage(TypedDict):
    items: list[NamedEventJson]
    next: int | None
    """The `before` of the next page; null on the last one."""
    searched: int
    """How many rows were read."""


class Verification(TypedDict):
    """A verification of the whole log."""

    at: Timestamp
    rows: int | None
    seal: int | None
    """The number of the last seal."""
    problem: str | None


class PartitionJson(TypedDict):
    """A table with the rows from `since` to `until`, exclusive."""

    name: str
    since: Timestamp | None
    """Null for the first one, without a bound."""
    until: Timestamp


class Chain(TypedDict):
    """The end of the hash chain."""

    number: int
    """Of the last seal."""
    rows: int
    """How many are sealed."""
    sha256: str
    """The last seal, in hexadecimal digits."""
    sealed_at: Timestamp | None
    waiting: int
    """How many rows are not sealed yet."""
    verified: Verification | None
    partitions: list[PartitionJson]
    retention_days: int
    """0 keeps all rows."""


@blueprint.get("/api/v1/audit")
@guard.requires("audit.view")
@takes_query(PageQuery)
def list_events(query: PageQuery) -> NamedEventPage:
    """A page, newest first; `next` is the `before` of the next page, null on the last one.

    A search for a text, and one by a user with a scope of devices, ends after some rows, with fewer items than `limit`
    and a `next`: `searched` is their number.
    """
    seen_by = sight("audit.view")
    database, bounds = services().database, query.bounds(datetime.now(UTC))
    size = _EXPORT_PAGE if query.q or seen_by.is_limited else query.limit
    found: list[dict[str, Any]] = []
    searched, last = 0, None
    for part in slices(database, bounds, seen_by, query.before, size, guard.lasting()):
        found += [row for row in part.rows if query.contains(row)]
        searched += part.read
        last = part.next
        if len(found) >= query.limit or searched >= _SEARCHED_ROWS:
            break
    if len(found) > query.limit:
        found = found[: query.limit]
        last = found[-1]["id"]
    return {"items": named(database, found, seen_by), "next": last, "searched": searched}


@blueprint.get("/api/v1/audit/export")
@guard.requires("audit.view")
@takes_query(ExportQuery)
@produces("application/x-ndjson", "text/csv")
def export_events(query: ExportQuery) -> Response:
    """All matching events, newest first, as a download. The export itself is audited."""
    with guard.transaction() as tx:
        given = query.model_dump(mode="json", exclude={"format"}, exclude_none=True)
        audit.append(tx, guard.actor(), "audit.exported", "audit", format=query.format, filter=given)
    pages = _pages(services().database, query, sight("audit.view"), guard.lasting())
    if query.format == "csv":
        response = Response(csv_rows.encoded(_COLUMNS, pages), mimetype="text/csv")
    else:
        lines = (f"{json.dumps(item)}\n" for page in pages for item in page)
        response = Response(lines, mimetype="application/x-ndjson")
    response.headers["Content-Disposition"] = f'attachment; filename="netstacks-audit.{query.format}"'
    return response


def _pages(
    database: Database, wanted: AuditFilter, seen_by: Sight, may_read_on: Callable[[], bool]
) -> Iterator[list[NamedEventJson]]:
    for part in slices(database, wanted.bounds(datetime.now(UTC)), seen_by, None, _EXPORT_PAGE, may_read_on):
        yield named(database, [row for row in part.rows if wanted.contains(row)], seen_by)


@blueprint.get("/api/v1/audit/stream")
@guard.requires("audit.view")
@takes_query(StreamQuery)
@produces("text/event-stream")
def stream(query: StreamQuery) -> Response:
    """New rows as server-sent events, a few seconds after they were written: `items` as those of a page.

    Rows come in the order of the hash chain: none is left out, also when its transaction was committed late.
    """
    after = request.headers.get("Last-Event-ID", "")
    if after.isascii() and after.isdigit():
        query = query.model_copy(update={"after": min(int(after), 2**62)})
    parts, seen_by = services(), sight("audit.view")
    parts.audit_streams.check(seen_by.user_id)
    events = _new_rows(parts, query, seen_by, guard.lasting())
    response = Response(_counted(parts, seen_by.user_id, events), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # Else nginx buffers the events.
    return response


def _counted(parts: Services, user_id: Any, events: Iterator[str]) -> Iterator[str]:
    with parts.audit_streams.taken(user_id):
        yield from events


def _new_rows(parts: Services, query: StreamQuery, seen_by: Sight, may_look: Callable[[], bool]) -> Iterator[str]:
    ends_at, sent_at = time.monotonic() + _STREAM_SECS, time.monotonic()
    position = query.after
    yield f"retry: {_RECONNECT_MSECS}\n\n"
    while time.monotonic() < ends_at and not parts.agent.is_draining and may_look():
        events: list[str] = []
        # The next look reads what this one has missed.
        with contextlib.suppress(StoreUnavailable):
            position, events = _look(parts.database, query, seen_by, position)
        if events or time.monotonic() - sent_at >= _SILENCE_SECS:
            # A comment fails, and ends the stream, when the client has gone.
            yield "".join(events) or ":\n\n"
            sent_at = time.monotonic()
        greenlets.sleep(_STEP_SECS)


def _look(database: Database, query: StreamQuery, seen_by: Sight, position: int | None) -> tuple[int, list[str]]:
    """The next position, and the event for the rows until there."""
    with database.transaction() as tx:
        if position is None:
            position = audit_chain.state(tx).rows
            return position, [f"id: {position}\ndata: {json.dumps({'items': []})}\n\n"]
        found = audit_chain.feed(tx, position, _STEP_ROWS)
        matching = seen_audit_rows(tx, [row for row in found.rows if query.matches(row)], seen_by)
    if not matching:
        return found.after, []
    items = named(database, matching, seen_by)
    return found.after, [f"id: {found.after}\ndata: {json.dumps({'items': items})}\n\n"]


@blueprint.get("/api/v1/audit/chain")
@guard.requires("audit.view")
def chain() -> Chain:
    """The end of the hash chain, the last verification of the whole log, the partitions, and the retention."""
    with services().database.transaction() as tx:
        head = audit_chain.state(tx)
        verified = next(iter(audit.list_page(tx, event="audit.verified", limit=1)), None)
        partitions = audit_partitions.all_partitions(tx)
        days = system_settings.get(tx, AUDIT_DAYS)
    return {
        "number": head.number,
        "rows": head.rows,
        "sha256": head.sha256,
        "sealed_at": _text(head.sealed_at) if head.sealed_at else None,
        "waiting": head.waiting,
        "verified": _verdict(verified) if verified else None,
        "partitions": [
            {"name": each.name, "since": _text(each.since) if each.since else None, "until": _text(each.until)}
            for each in partitions
        ],
        "retention_days": days,
    }


def _verdict(row: dict[str, Any]) -> Verification:
    details = row["details"]
    return {
        "at": _text(row["at"]),
        "rows": details.get("rows"),
        "seal": details.get("seal"),
        "problem": details.get("problem"),
    }


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
