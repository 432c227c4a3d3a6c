"""The device list and its administration (docs/protocol.md, 5.1 and 5.2)."""

from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint
from pydantic import BaseModel, Field

from netstacks.errors import InvalidInput, NotFound
from netstacks.hosts import normal_host
from netstacks.store import audit, credentials, devices
from netstacks.store.devices import Algorithms, Device
from netstacks.store.pool import Transaction
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.fields import Description, Host, Name, OptionalText, Port
from netstacks.web.http.inputs import parse, parse_query
from netstacks.web.http.organisation import ORG_ID
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("devices", __name__)


class BrowseQuery(BaseModel):
    """`search` matches a part of the name or the host."""

    search: str | None = None
    source: str | None = None
    device_type: str | None = None
    site: str | None = None
    limit: int = Field(1000, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=1_000_000)


class DeviceChange(BaseModel):
    """The changeable members of a device; absent ones keep their value.

    `legacy_algorithms` is the former member for `algorithms`; older scripts still send it.
    """

    name: Name = ""
    host: Host = ""
    port: Port = 22
    device_type: Annotated[str, Field(max_length=200)] = ""
    manufacturer: OptionalText = None
    model: OptionalText = None
    site: OptionalText = None
    description: Description = None
    algorithms: Algorithms = "modern"
    legacy_algorithms: bool = False
    encoding: Annotated[str, Field(max_length=50)] = "utf-8"
    lines: Annotated[int, Field(ge=1, le=1000)] | None = None
    patience_secs: Annotated[int, Field(ge=5, le=600)] | None = None
    default_credential_id: UUID | None = None


class NewDevice(DeviceChange):
    name: Name
    host: Host


@blueprint.get("/api/devices/browse")
@guard.requires("devices.access")
def browse_devices() -> dict[str, Any]:
    query = parse_query(BrowseQuery)
    with services().database.transaction() as tx:
        page, total = devices.list_page(tx, **query.model_dump())
    return {
        "items": [as_json(device) for device in page],
        "total": total,
        "limit": query.limit,
        "offset": query.offset,
    }


@blueprint.post("/api/devices")
@guard.requires("devices.manage")
def create_device() -> tuple[dict[str, Any], int]:
    values = parse(NewDevice).model_dump(exclude_unset=True)
    with guard.transaction() as tx:
        _check_default_credential(tx, values, values["host"], values.get("port", 22))
        device = devices.create(tx, **_with_level(values, "modern"))
        _audit(tx, "device.created", device, host=device.host, port=device.port)
    return as_json(device), 201


@blueprint.get("/api/devices/<uuid:device_id>")
@guard.requires("devices.access")
def get_device(device_id: UUID) -> dict[str, Any]:
    with services().database.transaction() as tx:
        device = devices.find(tx, device_id)
    if device is None:
        raise NotFound("There is no such device.")
    return as_json(device)


@blueprint.put("/api/devices/<uuid:device_id>")
@guard.requires("devices.manage")
def update_device(device_id: UUID) -> dict[str, Any]:
    """Changes the sent members. An empty description counts as absent (docs/protocol.md, 5.2); null removes it."""
    values = parse(DeviceChange).model_dump(exclude_unset=True)
    if values.get("description") == "":
        del values["description"]
    with guard.transaction() as tx:
        old = devices.lock(tx, device_id)
        _check_default_credential(tx, values, values.get("host", old.host), values.get("port", old.port))
        device = devices.update(tx, old, _with_level(values, old.algorithms))
        _audit(tx, "device.updated", device, changes=changes(old, device))
    return as_json(device)


@blueprint.delete("/api/devices/<uuid:device_id>")
@guard.requires("devices.manage")
def delete_device(device_id: UUID) -> dict[str, Any]:
    """Removes the device from the list, and returns the number of live sessions on it, which continue."""
    with guard.transaction() as tx:
        device = devices.lock(tx, device_id)
        live_sessions = devices.live_sessions(tx, device_id)
        devices.delete(tx, device)
        _audit(tx, "device.deleted", device, host=device.host, port=device.port, live_sessions=live_sessions)
    return {"live_sessions": live_sessions}


def as_json(device: Device) -> dict[str, Any]:
    """A device in the API; the client's list needs `name`, `host` and `port`."""
    credential_id = device.default_credential_id
    return {
        "id": str(device.id),
        "org_id": ORG_ID,
        "name": device.name,
        "host": device.host,
        "port": device.port,
        "device_type": device.device_type,
        "manufacturer": device.manufacturer,
        "model": device.model,
        "site": device.site,
        "description": device.description,
        "source": device.source,
        "algorithms": device.algorithms,
        "legacy_algorithms": device.legacy_algorithms,
        "encoding": device.encoding,
        "lines": device.lines,
        "patience_secs": device.patience_secs,
        "default_credential_id": str(credential_id) if credential_id else None,
        "snmp_credential_id": None,
        "connect_commands": [],
        "created_at": timestamp(device.created_at),
        "updated_at": timestamp(device.updated_at),
    }


def _with_level(values: dict[str, Any], stored: Algorithms) -> dict[str, Any]:
    """Translates `legacy_algorithms` into a level: it raises the level of a modern device, and never lowers one."""
    rest = {name: value for name, value in values.items() if name != "legacy_algorithms"}
    if values.get("legacy_algorithms") and stored == "modern":
        return {"algorithms": "antique", **rest}
    return rest


def _check_default_credential(tx: Transaction, values: dict[str, Any], host: str, port: int) -> None:
    credential_id = values.get("default_credential_id")
    if credential_id is None:
        return
    credential = credentials.find(tx, credential_id)
    if credential is None or credential.owner_id or credential.credential_type not in credentials.SSH_TYPES:
        raise InvalidInput(
            "default_credential_id: must be a shared SSH credential: other users cannot use a personal one"
        )
    if not credential.is_for(normal_host(host), port):
        raise InvalidInput(
            f"default_credential_id: {credential.name} is for {credential.shown_place} only: choose another one, or"
            " change its address on the page Credentials"
        )


def _audit(tx: Transaction, event: str, device: Device, **details: Any) -> None:
    audit.append(tx, guard.actor(), event, f"device:{device.id}", name=device.name, **details)
