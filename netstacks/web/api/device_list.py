"""The device list of the pages: filtered, sorted, in pages; its facets, and its export as CSV."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.errors import AccessWithdrawn, InvalidInput
from netstacks.formats import Timestamp
from netstacks.permissions import Reach
from netstacks.store import access, audit, credentials, device_lists
from netstacks.store.device_lists import Cursor, Filter, Reachability, Sort
from netstacks.store.devices import Device
from netstacks.store.pool import Database
from netstacks.web.api import device_rows
from netstacks.web.api.devices import DeviceJson, as_json
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http import csv_rows
from netstacks.web.http.declarations import produces, takes_query
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("device_list", __name__)

_EXPORT_PAGE = 1000
# The keys of these orders are times.
_BY_TIME = ("session", "added")

Text = Annotated[str, Field(max_length=255)]


class DeviceFilter(BaseModel):
    """`search` matches a part of the name or the address; `credential` is the id of a default credential."""

    search: Text | None = None
    site: Text | None = None
    device_type: Text | None = None
    tag: Text | None = None
    reachability: Reachability | None = None
    credential: UUID | None = None

    def wanted(self) -> Filter:
        names = ("search", "site", "device_type", "tag", "reachability", "credential")
        return Filter(**{name: getattr(self, name) for name in names})


class DeviceQuery(DeviceFilter):
    """`cursor` is `next` of the former page."""

    sort: Sort = "name"
    order: Literal["asc", "desc"] = "asc"
    cursor: Annotated[str, Field(max_length=2000)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class ListedDeviceJson(DeviceJson):
    """A device with its last contact."""

    reachability: Reachability
    contact_at: Timestamp | None
    contact_reason: str | None
    """Why the last contact has failed; null for users who may not open terminals."""
    contact_by: str | None
    """The user of the last contact; null for users who may not manage devices."""
    session_at: Timestamp | None
    """When a log-in has last succeeded."""


class DevicePage(TypedDict):
    items: list[ListedDeviceJson]
    total: int
    next: str | None
    """The `cursor` of the next page; null on the last one."""


class Facet(TypedDict):
    value: str
    devices: int
    """How many devices have it."""


class Facets(TypedDict):
    site: list[Facet]
    device_type: list[Facet]
    tag: list[Facet]
    reachability: list[Facet]


@blueprint.get("/api/v1/devices")
@guard.requires("devices.access")
@takes_query(DeviceQuery)
def list_devices(query: DeviceQuery) -> DevicePage:
    after = _cursor(query.cursor, query.sort) if query.cursor else None
    reach = guard.identity().reach
    with services().database.transaction() as tx:
        total = device_lists.count(tx, query.wanted(), within=reach)
        page = device_lists.page(
            tx,
            query.wanted(),
            within=reach,
            sort=query.sort,
            descending=query.order == "desc",
            after=after,
            limit=query.limit,
        )
    return {
        "items": [as_item(device) for device in page.devices],
        "total": total,
        "next": _as_text(page.next) if page.next else None,
    }


@blueprint.get("/api/v1/devices/facets")
@guard.requires("devices.access")
def list_facets() -> Facets:
    """The sites, types, tags and states of reachability in the list, each with its number of devices."""
    with services().database.transaction() as tx:
        facets = device_lists.facets(tx, within=guard.identity().reach)
    return {
        "site": _facet(facets["site"]),
        "device_type": _facet(facets["device_type"]),
        "tag": _facet(facets["tag"]),
        "reachability": _facet(facets["reachability"]),
    }


@blueprint.get("/api/v1/devices/export")
@guard.requires("devices.access")
@takes_query(DeviceFilter)
@produces("text/csv")
def export_devices(query: DeviceFilter) -> Response:
    """The devices of a filter in the columns that an import reads."""
    reach = guard.identity().reach
    with guard.transaction() as tx:
        names = device_rows.names_of(credentials.shared(tx, within=guard.identity().reach))
        given = query.model_dump(mode="json", exclude_none=True)
        audit.append(tx, guard.actor(), "device.exported", "devices", filter=given)
    pages = _pages(services().database, query.wanted(), reach, guard.lasting())
    rows = ([device_rows.as_row(device, names) for device in page] for page in pages)
    response = Response(csv_rows.encoded(device_rows.COLUMNS, rows), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="netstacks-devices.csv"'
    return response


def as_item(device: Device) -> ListedDeviceJson:
    """A device in the list: as everywhere, and with its last contact.

    The reason of a refusal may contain the user name of a credential: it is for those who open terminals.
    """
    me = guard.identity()
    return {
        **as_json(device),
        "reachability": device.contact or "unknown",
        "contact_at": timestamp(device.contact_at),
        "contact_reason": device.contact_reason if me.may("sessions.connect") else None,
        "contact_by": device.contact_by if me.may("devices.manage") else None,
        "session_at": timestamp(device.session_at),
    }


def _facet(values: list[tuple[str, int]]) -> list[Facet]:
    return [{"value": value, "devices": number} for value, number in values]


def _pages(database: Database, wanted: Filter, reach: Reach, may_read_on: Callable[[], bool]) -> Iterator[list[Device]]:
    """Reads each page in a transaction of its own: a slow download holds no connection of the pool.

    Raises AccessWithdrawn, which aborts the download.
    """
    after: Cursor | None = None
    while True:
        if not may_read_on():
            raise AccessWithdrawn(access.WITHDRAWN)
        with database.transaction() as tx:
            page = device_lists.page(tx, wanted, within=reach, after=after, limit=_EXPORT_PAGE)
        yield page.devices
        after = page.next
        if after is None:
            return


def _as_text(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(json.dumps([cursor.key, str(cursor.id)]).encode()).decode()


def _cursor(text: str, sort: Sort) -> Cursor:
    try:
        key, device_id = json.loads(base64.urlsafe_b64decode(text))
        cursor = Cursor(str(key), UUID(device_id))
        _check_key(cursor.key, sort)
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise InvalidInput("cursor: must be `next` of another page of the same list") from error
    return cursor


def _check_key(key: str, sort: Sort) -> None:
    """Raises ValueError for a key that PostgreSQL would not read."""
    if "\0" in key:
        raise ValueError("NUL")
    key.encode()
    if sort in _BY_TIME and key not in ("infinity", "-infinity"):
        datetime.fromisoformat(key)
