"""The audit log: filtered pages, and exports as CSV or JSON."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any, Literal

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from netstacks.errors import AccessWithdrawn
from netstacks.store import access, audit
from netstacks.store.pool import Database
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http import csv_rows
from netstacks.web.http.fields import Moment
from netstacks.web.http.inputs import parse_query

blueprint = Blueprint("audit", __name__)

_COLUMNS = ("id", "at", "actor", "actor_id", "event", "resource", "details", "address")
_EXPORT_PAGE = 1000


class Filter(BaseModel):
    """`event` may end in `*`. Times without a zone are UTC; `since` is inclusive, `until` exclusive."""

    actor: str | None = None
    event: str | None = None
    resource: str | None = None
    since: Moment | None = None
    until: Moment | None = None


class PageQuery(Filter):
    before: int | None = Field(None, ge=1, lt=2**63)
    limit: int = Field(100, ge=1, le=1000)


class ExportQuery(Filter):
    format: Literal["csv", "json"] = "csv"


@blueprint.get("/api/audit")
@guard.requires("audit.view")
def list_events() -> dict[str, Any]:
    """A page, newest first; `next` is the `before` of the next page, null on the last one."""
    query = parse_query(PageQuery)
    with services().database.transaction() as tx:
        rows = audit.list_page(tx, **query.model_dump())
    return {"items": [_as_json(row) for row in rows], "next": rows[-1]["id"] if len(rows) == query.limit else None}


@blueprint.get("/api/audit/export")
@guard.requires("audit.view")
def export_events() -> Response:
    """All matching events, newest first, as a download. The export itself is audited."""
    query = parse_query(ExportQuery)
    filters = query.model_dump(exclude={"format"})
    with guard.transaction() as tx:
        given = query.model_dump(mode="json", exclude={"format"}, exclude_none=True)
        audit.append(tx, guard.actor(), "audit.exported", "audit", format=query.format, filter=given)
    pages = _pages(services().database, filters, guard.lasting())
    match query.format:
        case "csv":
            response = Response(csv_rows.encoded(_COLUMNS, pages), mimetype="text/csv")
        case "json":
            response = Response(_as_json_array(pages), mimetype="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="netstacks-audit.{query.format}"'
    return response


def _pages(
    database: Database, filters: dict[str, Any], may_read_on: Callable[[], bool]
) -> Iterator[list[dict[str, Any]]]:
    """Reads each page in a transaction of its own: a slow download holds no connection of the pool.

    Raises AccessWithdrawn, which aborts the download.
    """
    before = None
    while True:
        if not may_read_on():
            raise AccessWithdrawn(access.WITHDRAWN)
        with database.transaction() as tx:
            rows = audit.list_page(tx, **filters, before=before, limit=_EXPORT_PAGE)
        yield [_as_json(row) for row in rows]
        if len(rows) < _EXPORT_PAGE:
            return
        before = rows[-1]["id"]


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    actor_id = str(row["actor_id"]) if row["actor_id"] else None
    plain = {**row, "at": row["at"].astimezone(UTC).isoformat(), "actor_id": actor_id}
    return {name: plain[name] for name in _COLUMNS}


def _as_json_array(pages: Iterator[list[dict[str, Any]]]) -> Iterator[str]:
    separator = "[\n"
    for page in pages:
        for item in page:
            yield separator + json.dumps(item)
            separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"
