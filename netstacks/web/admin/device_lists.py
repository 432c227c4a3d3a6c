"""The device list as pages show it: read from the JSON API with the filters and the order of the page's address."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import request

from netstacks.web.admin.api import api, viewer

STATE_NAMES = {
    "reached": "Reached",
    "refused": "Refused",
    "host_key": "Host key",
    "unreachable": "Unreachable",
    "unknown": "No contact yet",
}
# `-` before a key means the other way round.
ORDERS = (
    ("name", "Name"),
    ("-name", "Name, Z to A"),
    ("host", "Address"),
    ("site", "Site"),
    ("type", "Type"),
    ("-session", "Last session"),
    ("-added", "Newest"),
    ("added", "Oldest"),
)
_NEWEST_FIRST = ("session", "added")
_FILTERS = ("q", "site", "device_type", "tag", "reachability", "credential")


@dataclass(frozen=True)
class DeviceList:
    """One page of the list. `given` are the filters of the page's address, `sort` its order."""

    items: list[dict[str, Any]]
    total: int
    next: str | None
    facets: dict[str, list[dict[str, Any]]]
    credentials: list[dict[str, Any]]
    given: dict[str, str]
    sort: str

    state_names = STATE_NAMES

    @property
    def orders(self) -> tuple[tuple[str, str], ...]:
        """The orders to choose from, and the one of the page's address."""
        known = [value for value, _ in ORDERS]
        return ORDERS if self.sort in known else (*ORDERS, (self.sort, self.sort))

    @property
    def is_filtered(self) -> bool:
        return bool(self.given)

    @property
    def api_filter(self) -> dict[str, str]:
        """The filters by their names in the API."""
        return {"search" if name == "q" else name: value for name, value in self.given.items()}

    @property
    def more_url(self) -> str | None:
        return self._url(sort=self.sort, cursor=self.next) if self.next else None

    @property
    def export_url(self) -> str:
        return f"/api/v1/devices/export?{urlencode(self.api_filter)}"

    def sorted_by(self, key: str) -> str:
        """The address of the same list by `key`; by the other way round if it is by `key` now."""
        first = f"-{key}" if key in _NEWEST_FIRST else key
        second = key if key in _NEWEST_FIRST else f"-{key}"
        return self._url(sort=second if self.sort == first else first)

    def terminal_url(self, device: dict[str, Any]) -> str:
        return f"/terminals/new?device={device['id']}"

    def _url(self, **rest: str | None) -> str:
        return f"?{urlencode({**self.given, **rest})}"


def device_list() -> DeviceList:
    """The list for the address of the current request."""
    given = {name: value for name in _FILTERS if (value := request.args.get(name, "").strip())}
    sort = request.args.get("sort") or "name"
    query = {
        **{"search" if name == "q" else name: value for name, value in given.items()},
        "sort": sort.removeprefix("-"),
        "order": "desc" if sort.startswith("-") else "asc",
        "cursor": request.args.get("cursor") or None,
    }
    page = api().get("/api/v1/devices", query)
    usable = api().get("/api/credentials/accessible")["items"] if viewer().may("devices.manage") else []
    return DeviceList(
        items=page["items"],
        total=page["total"],
        next=page["next"],
        facets=api().get("/api/v1/devices/facets"),
        credentials=[each for each in usable if each["vault_type"] == "shared"],
        given=given,
        sort=sort,
    )
