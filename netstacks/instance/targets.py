"""What a connection asks for, resolved against what is stored: a device the user may reach, a credential of theirs."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from netstacks.errors import InvalidInput, NotFound
from netstacks.store import credentials, definitions, devices
from netstacks.store.addresses import normal_host, shown_address
from netstacks.store.audit import Actor
from netstacks.store.credentials import LoginSecret
from netstacks.store.devices import Algorithms
from netstacks.store.encodings import normal_encoding
from netstacks.store.pool import Transaction
from netstacks.store.vault import Vault
from netstacks.terminal.dialogue import Dialogue

DEVICE_PREFIX = "device-"


@dataclass(frozen=True)
class ConnectRequest:
    """A terminal that a user asks for: `target` is `device-UUID` or a session definition's id.

    The user takes part in the opening through `dialogue`, and gives it up there. It becomes the session `session_id`.
    """

    actor: Actor
    credential_id: UUID | None
    target: str | None
    host: str | None
    port: int | None
    term: str
    cols: int
    rows: int
    dialogue: Dialogue = field(default_factory=Dialogue)
    session_id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class Target:
    """Where the request leads, and how the device there is spoken to: see `Device`. Last edited at `changed_at`."""

    device_id: UUID | None
    name: str
    host: str
    port: int
    algorithms: Algorithms
    encoding: str
    lines: int | None
    patience_secs: int | None
    default_credential_id: UUID | None
    changed_at: datetime


def resolve(tx: Transaction, request: ConnectRequest) -> Target:
    """Finds the target; raises NotFound for a device or definition that is not there, or whose address differs.

    Whatever address the client names, only addresses of stored devices and definitions are dialled.
    """
    target = _named(tx, request.target) if request.target else _addressed(tx, request)
    if request.host and (normal_host(request.host), request.port or target.port) != (
        target.host,
        target.port,
    ):
        raise NotFound(
            f"{target.name} is at {shown_address(target.host, target.port)}, not at"
            f" {shown_address(request.host, request.port or target.port)}:"
            " its address was changed, reload the device list"
        )
    return target


def _named(tx: Transaction, name: str) -> Target:
    is_device = name.startswith(DEVICE_PREFIX)
    try:
        key = UUID(name.removeprefix(DEVICE_PREFIX))
    except ValueError as error:
        raise InvalidInput(f"session_id {name!r}: it is device-UUID or the id of a session definition") from error
    if is_device:
        device = devices.find(tx, key)
        if device is None:
            raise NotFound("this device is not in the list any more: reload the device list")
        return _of_device(device)
    definition = definitions.find(tx, key)
    if definition is None:
        raise NotFound("there is no such session definition")
    device = devices.find_by_address(tx, definition.host, definition.port)
    if device is None:
        address = shown_address(definition.host, definition.port)
        raise NotFound(f"no device is stored at {address}: add it to the device list first")
    return _of_device(device)


def _addressed(tx: Transaction, request: ConnectRequest) -> Target:
    if not request.host:
        raise InvalidInput("neither session_id nor host: name the device to connect to")
    device = devices.find_by_address(tx, request.host, request.port or 22)
    if device is None:
        raise NotFound(
            f"no device is stored at {shown_address(request.host, request.port or 22)}: add it to the device list first"
        )
    return _of_device(device)


def _of_device(device: devices.Device) -> Target:
    return Target(
        device_id=device.id,
        name=device.name,
        host=device.host,
        port=device.port,
        algorithms=device.algorithms,
        encoding=normal_encoding(device.encoding),
        lines=device.lines,
        patience_secs=device.patience_secs,
        default_credential_id=device.default_credential_id,
        changed_at=device.updated_at,
    )


def secret_for(tx: Transaction, vault: Vault, request: ConnectRequest, target: Target) -> tuple[UUID, LoginSecret]:
    """The credential to log in with, opened.

    Raises NotFound for one that is not the user's, InvalidInput for one that is for another address, VaultLocked.
    """
    credential_id = request.credential_id or target.default_credential_id
    if credential_id is None or request.actor.id is None:
        raise InvalidInput("no credential was chosen and the device has no default one")
    secret = credentials.for_login(tx, vault, credential_id, request.actor.id, host=target.host, port=target.port)
    return credential_id, secret
