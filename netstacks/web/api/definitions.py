"""Session definitions (docs/protocol.md, 5.4). Each device is listed as one too, for clients without a device list."""

from typing import Annotated, Any, NoReturn
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from netstacks.errors import Conflict, InvalidInput, NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.hosts import shown_address
from netstacks.instance.targets import DEVICE_PREFIX
from netstacks.store import audit, credentials, definitions, devices
from netstacks.store.definitions import Definition
from netstacks.store.devices import Device
from netstacks.store.pool import Transaction
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.declarations import answers, takes_body
from netstacks.web.http.fields import Description, Host, Name, Port
from netstacks.web.http.organisation import ORG_ID
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("definitions", __name__)

_ROOT = "/api/session-definitions"
_DEVICE = f"{_ROOT}/{DEVICE_PREFIX}<uuid:device_id>"
# The client requests this list without paging, and the device list with this limit.
_MAX_DEVICES = 1000

Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class DefinitionChange(BaseModel):
    """The changeable members of a definition; absent ones keep their value."""

    name: Name = ""
    host: Host = ""
    port: Port = 22
    description: Description = None
    credential_override_id: UUID | None = None
    cli_flavor: Annotated[str, Field(max_length=100)] = "auto"
    tags: Annotated[list[Tag], Field(max_length=100)] = []


class NewDefinition(DefinitionChange):
    name: Name
    host: Host


class DefinitionJson(TypedDict):
    """A session definition, or a device in the form of one."""

    id: str
    """A UUID, and for a device `device-` and a UUID."""
    org_id: Uuid
    name: str
    host: str
    port: int
    description: str | None
    credential_override_id: Uuid | None
    """The credential that sessions log in with; null for the user's choice."""
    cli_flavor: str
    tags: list[str]
    created_by: Uuid | None
    created_at: Timestamp
    updated_at: Timestamp
    active_connections: int
    """How many sessions are live at the address."""


class Definitions(TypedDict):
    items: list[DefinitionJson]
    total: int
    """With the devices beyond the limit."""


@blueprint.get(_ROOT)
@guard.requires("devices.access")
def list_definitions() -> Definitions:
    """The definitions, then the first devices by name. `total` includes devices beyond the limit."""
    with services().database.transaction() as tx:
        reach = guard.identity().reach
        stored = definitions.list_all(tx, within=reach)
        page, total = devices.list_page(tx, within=reach, limit=_MAX_DEVICES)
        live = definitions.live_connections(tx)
    items = [as_json(each) for each in stored]
    items += [_device_as_json(each, live.get((each.host, each.port), 0)) for each in page]
    return {"items": items, "total": len(stored) + total}


@blueprint.post(_ROOT)
@guard.requires("devices.manage")
@takes_body(NewDefinition)
@answers(201)
def create_definition(body: NewDefinition) -> tuple[DefinitionJson, int]:
    values = body.model_dump(exclude_unset=True)
    with guard.transaction() as tx:
        _check_credential(tx, values)
        definition = definitions.create(tx, created_by=guard.identity().user_id, **values)
        _check_within(tx, definition)
        _audit(tx, "session_definition.created", definition, host=definition.host, port=definition.port)
    return as_json(definition), 201


@blueprint.get(f"{_ROOT}/<uuid:definition_id>")
@guard.requires("devices.access")
def get_definition(definition_id: UUID) -> DefinitionJson:
    with services().database.transaction() as tx:
        definition = definitions.find(tx, definition_id, within=guard.identity().reach)
    if definition is None:
        raise NotFound("There is no such session definition.")
    return as_json(definition)


@blueprint.put(f"{_ROOT}/<uuid:definition_id>")
@guard.requires("devices.manage")
@takes_body(DefinitionChange)
def update_definition(body: DefinitionChange, definition_id: UUID) -> DefinitionJson:
    values = body.model_dump(exclude_unset=True)
    with guard.transaction() as tx:
        _check_credential(tx, values)
        old = definitions.lock(tx, definition_id, within=guard.identity().reach)
        definition = definitions.update(tx, old, values)
        _check_within(tx, definition)
        _audit(tx, "session_definition.updated", definition, changes=changes(old, definition))
    return as_json(definition)


@blueprint.delete(f"{_ROOT}/<uuid:definition_id>")
@guard.requires("devices.manage")
@answers(204)
def delete_definition(definition_id: UUID) -> Response:
    """Deletes a definition, and removes it from the folders of all users."""
    with guard.transaction() as tx:
        definition = definitions.lock(tx, definition_id, within=guard.identity().reach)
        definitions.delete(tx, definition)
        _audit(tx, "session_definition.deleted", definition, host=definition.host, port=definition.port)
    return Response(status=204)


@blueprint.get(_DEVICE)
@guard.requires("devices.access")
def get_device(device_id: UUID) -> DefinitionJson:
    with services().database.transaction() as tx:
        device = _find_device(tx, device_id)
        live = definitions.live_connections(tx)
    return _device_as_json(device, live.get((device.host, device.port), 0))


@blueprint.put(_DEVICE)
@blueprint.delete(_DEVICE)
@blueprint.put(f"{_DEVICE}/folder")
@guard.requires("devices.access")
def refuse_change(device_id: UUID) -> NoReturn:
    with services().database.transaction() as tx:
        device = _find_device(tx, device_id)
    raise Conflict(f"This entry stands for the device {device.name}. Change or delete it in the device list.")


def _find_device(tx: Transaction, device_id: UUID) -> Device:
    device = devices.find(tx, device_id, within=guard.identity().reach)
    if device is None:
        raise NotFound("There is no such device.")
    return device


def as_json(definition: Definition) -> DefinitionJson:
    """A session definition in the API."""
    return {
        "id": str(definition.id),
        "org_id": ORG_ID,
        "name": definition.name,
        "host": definition.host,
        "port": definition.port,
        "description": definition.description,
        "credential_override_id": _text(definition.credential_override_id),
        "cli_flavor": definition.cli_flavor,
        "tags": [tag for tag in definition.tags if isinstance(tag, str)],
        "created_by": _text(definition.created_by),
        "created_at": timestamp(definition.created_at),
        "updated_at": timestamp(definition.updated_at),
        "active_connections": definition.active_connections,
    }


def _device_as_json(device: Device, active_connections: int) -> DefinitionJson:
    """A device in the form of a definition; a terminal can be opened by its id."""
    facts = (device.device_type, device.manufacturer, device.model, device.site)
    return {
        "id": f"{DEVICE_PREFIX}{device.id}",
        "org_id": ORG_ID,
        "name": device.name,
        "host": device.host,
        "port": device.port,
        "description": device.description,
        "credential_override_id": None,
        "cli_flavor": "auto",
        "tags": [text for text in facts if text],
        "created_by": None,
        "created_at": timestamp(device.created_at),
        "updated_at": timestamp(device.updated_at),
        "active_connections": active_connections,
    }


def _text(id: UUID | None) -> str | None:
    return str(id) if id else None


def _check_credential(tx: Transaction, values: dict[str, Any]) -> None:
    credential_id = values.get("credential_override_id")
    if credential_id is None:
        return
    credential = credentials.find(tx, credential_id)
    if credential is None or not credential.is_usable_by(guard.identity().user_id):
        raise InvalidInput("credential_override_id: must be an SSH credential that you may use")


def _check_within(tx: Transaction, definition: Definition) -> None:
    if definitions.find(tx, definition.id, within=guard.identity().reach) is None:
        address = shown_address(definition.host, definition.port)
        raise InvalidInput(f"host: none of the devices that your role may use is at {address}")


def _audit(tx: Transaction, event: str, definition: Definition, **details: Any) -> None:
    audit.append(tx, guard.actor(), event, f"session_definition:{definition.id}", name=definition.name, **details)
