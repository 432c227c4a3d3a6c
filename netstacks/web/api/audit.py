"""The audit log: filtered pages, and exports as CSV or JSON."""

import json
from collections.abc import Iterator
from typing import Literal

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.store import audit
from netstacks.web.api.audit_filter import EventJson, event_json, slices
from netstacks.web.auth import guard
from netstacks.web.auth.seeing import sight
from netstacks.web.context import services
from netstacks.web.http import csv_rows
from netstacks.web.http.declarations import produces, takes_query
from netstacks.web.http.fields import Moment
from netstacks.web.http.json_response import JsonResponse

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


class EventPage(TypedDict):
    items: list[EventJson]
    next: int | None
    """The `before` of the next page; null on the last one."""


@blueprint.get("/api/audit")
@guard.requires("audit.view")
@takes_query(PageQuery)
def list_events(query: PageQuery) -> EventPage:
    """A page, newest first; `next` is the `before` of the next page, null on the last one.

    A user with a scope of devices may get fewer items than `limit`, with a `next`.
    """
    bounds = query.model_dump(exclude={"before", "limit"})
    part = next(slices(services().database, bounds, sight("audit.view"), query.before, query.limit, guard.lasting()))
    return {"items": [event_json(row) for row in part.rows], "next": part.next}


@blueprint.get("/api/audit/export")
@guard.requires("audit.view")
@takes_query(ExportQuery)
@produces("text/csv")
def export_events(query: ExportQuery) -> Response | JsonResponse[list[EventJson]]:
    """All matching events, newest first, as a download. The export itself is audited."""
    filters = query.model_dump(exclude={"format"})
    with guard.transaction() as tx:
        given = query.model_dump(mode="json", exclude={"format"}, exclude_none=True)
        audit.append(tx, guard.actor(), "audit.exported", "audit", format=query.format, filter=given)
    parts = slices(services().database, filters, sight("audit.view"), None, _EXPORT_PAGE, guard.lasting())
    pages = ([event_json(row) for row in part.rows] for part in parts)
    response: Response | JsonResponse[list[EventJson]]
    match query.format:
        case "csv":
            response = Response(csv_rows.encoded(_COLUMNS, pages), mimetype="text/csv")
        case "json":
            response = JsonResponse(_as_json_array(pages))
    response.headers["Content-Disposition"] = f'attachment; filename="netstacks-audit.{query.format}"'
    return response


def _as_json_array(pages: Iterator[list[EventJson]]) -> Iterator[str]:
    separator = "[\n"
    for page in pages:
        for item in page:
            yield separator + json.dumps(item)
            separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"
