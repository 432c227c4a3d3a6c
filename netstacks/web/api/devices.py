"""The device list and its administration (docs/protocol.md, 5.1 and 5.2)."""

from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.errors import InvalidInput, NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.hosts import normal_host
from netstacks.store import audit, credentials, device_reach, devices
from netstacks.store.credentials import Credential
from netstacks.store.devices import Algorithms, Device
from netstacks.store.pool import Transaction
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Description, Host, Name, OptionalText, Port, Seen, SeenVersion, Tags
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
    tags: Tags = []
    version: Seen = None


class NewDevice(DeviceChange):
    name: Name
    host: Host


class DeviceJson(TypedDict):
    id: Uuid
    version: int
    """Goes up with each change. A change that sends an older one is refused."""
    org_id: Uuid
    name: str
    host: str
    port: int
    device_type: str
    manufacturer: str | None
    model: str | None
    site: str | None
    description: str | None
    source: str
    """Where the device comes from, such as `manual`."""
    algorithms: Algorithms
    """The oldest SSH algorithms that are offered to it."""
    legacy_algorithms: bool
    """Whether `algorithms` is not `modern`."""
    encoding: str
    """The character encoding of its terminals."""
    lines: int | None
    """The number of its vty lines; null for no limit."""
    patience_secs: int | None
    """The timeout of each step of a log-in; null for the default."""
    default_credential_id: Uuid | None
    tags: list[str]
    snmp_credential_id: None
    connect_commands: Annotated[list[str], Field(max_length=0)]
    created_at: Timestamp
    updated_at: Timestamp


class Devices(TypedDict):
    items: list[DeviceJson]
    total: int
    limit: int
    offset: int


class DeletedDevice(TypedDict):
    live_sessions: int
    """How many sessions on it go on."""


@blueprint.get("/api/devices/browse")
@guard.requires("devices.access")
@takes_query(BrowseQuery)
def browse_devices(query: BrowseQuery) -> Devices:
    with services().database.transaction() as tx:
        page, total = devices.list_page(tx, within=guard.identity().reach, **query.model_dump())
    return {
        "items": [as_json(device) for device in page],
        "total": total,
        "limit": query.limit,
        "offset": query.offset,
    }


@blueprint.post("/api/devices")
@guard.requires("devices.manage")
@takes_body(NewDevice)
@answers(201)
def create_device(body: NewDevice) -> tuple[DeviceJson, int]:
    values = body.model_dump(exclude_unset=True, exclude={"version"})
    with guard.transaction() as tx:
        check_default_credential(tx, values, values["host"], values.get("port", 22))
        device = devices.create(tx, **_with_level(values, "modern"))
        device_reach.check(tx, None, device, guard.identity().reach)
        _audit(tx, "device.created", device, host=device.host, port=device.port)
    return as_json(device), 201


@blueprint.get("/api/devices/<uuid:device_id>")
@guard.requires("devices.access")
def get_device(device_id: UUID) -> DeviceJson:
    with services().database.transaction() as tx:
        device = devices.find(tx, device_id, within=guard.identity().reach)
    if device is None:
        raise NotFound("There is no such device.")
    return as_json(device)


@blueprint.put("/api/devices/<uuid:device_id>")
@guard.requires("devices.manage")
@takes_body(DeviceChange)
def update_device(body: DeviceChange, device_id: UUID) -> DeviceJson:
    """Changes the sent members. An empty description counts as absent (docs/protocol.md, 5.2); null removes it."""
    values = body.model_dump(exclude_unset=True, exclude={"version"})
    if values.get("description") == "":
        del values["description"]
    with guard.transaction() as tx:
        old = devices.lock(tx, device_id, within=guard.identity().reach)
        check_default_credential(tx, values, values.get("host", old.host), values.get("port", old.port))
        device = devices.update(
            tx, old, _with_level(values, old.algorithms), by=guard.identity().username, seen=body.version
        )
        device_reach.check(tx, old, device, guard.identity().reach)
        _audit(tx, "device.updated", device, changes=changes(old, device))
    return as_json(device)


@blueprint.delete("/api/devices/<uuid:device_id>")
@guard.requires("devices.manage")
@takes_query(SeenVersion)
def delete_device(seen: SeenVersion, device_id: UUID) -> DeletedDevice:
    """Removes the device from the list, and returns the number of live sessions on it, which continue."""
    with guard.transaction() as tx:
        device = devices.lock(tx, device_id, within=guard.identity().reach)
        live_sessions = devices.live_sessions(tx, device_id)
        devices.delete(tx, device, seen=seen.version)
        _audit(tx, "device.deleted", device, host=device.host, port=device.port, live_sessions=live_sessions)
    return {"live_sessions": live_sessions}


def as_json(device: Device) -> DeviceJson:
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
        "tags": list(device.tags),
        "snmp_credential_id": None,
        "connect_commands": [],
        "created_at": timestamp(device.created_at),
        "updated_at": timestamp(device.updated_at),
        "version": device.version,
    }


def _with_level(values: dict[str, Any], stored: Algorithms) -> dict[str, Any]:
    """Translates `legacy_algorithms` into a level: it raises the level of a modern device, and never lowers one."""
    rest = {name: value for name, value in values.items() if name != "legacy_algorithms"}
    if values.get("legacy_algorithms") and stored == "modern":
        return {"algorithms": "antique", **rest}
    return rest


def check_default_credential(tx: Transaction, values: dict[str, Any], host: str, port: int) -> None:
    """Raises InvalidInput for a default credential that users could not use, or not at that address."""
    if (credential_id := values.get("default_credential_id")) is not None:
        check_place(default_credential(tx, credential_id), host, port)


def default_credential(tx: Transaction, credential_id: UUID) -> Credential:
    """The shared SSH credential with that id; raises InvalidInput when there is none."""
    credential = credentials.find(tx, credential_id)
    if credential is None or credential.owner_id or credential.credential_type not in credentials.SSH_TYPES:
        raise InvalidInput(
            "default_credential_id: must be a shared SSH credential: other users cannot use a personal one"
        )
    return credential


def check_place(credential: Credential, host: str, port: int) -> None:
    """Raises InvalidInput when the credential is for another address."""
    if not credential.is_for(normal_host(host), port):
        raise InvalidInput(
            f"default_credential_id: {credential.name} is for {credential.shown_place} only: choose another one, or"
            " change its address on the page Credentials"
        )


def _audit(tx: Transaction, event: str, device: Device, **details: Any) -> None:
    audit.append(tx, guard.actor(), event, f"device:{device.id}", name=device.name, **details)
