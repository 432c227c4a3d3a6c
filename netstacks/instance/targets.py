"""Resolves a connect request: to a stored device, and to a credential that its user may use."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from netstacks.encodings import normal_encoding
from netstacks.errors import InvalidInput, NotFound
from netstacks.hosts import normal_host, shown_address
from netstacks.store import credentials, definitions, devices
from netstacks.store.audit import Actor
from netstacks.store.credentials import LoginSecret
from netstacks.store.devices import Algorithms
from netstacks.store.pool import Transaction
from netstacks.store.vault import Vault
from netstacks.terminal.dialogue import Dialogue

DEVICE_PREFIX = "device-"


@dataclass(frozen=True)
class ConnectRequest:
    """The request for a terminal; `target` is `device-UUID` or the id of a session definition.

    The user takes part in the opening through `dialogue`, and can abandon it there. `session_id` is the id of the new
    session.
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
    """The device to dial and its options, as in `Device`. `changed_at` is when its entry was last edited."""

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
    """The target of the request; raises NotFound for an unknown device or definition, or one with another address.

    Only addresses of stored devices are dialled, whichever address the client names.
    """
    target = _named(tx, request.target) if request.target else _addressed(tx, request)
    # The client has an outdated device list: it must not connect its user to an address that it does not show.
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
        raise InvalidInput(f"session_id {name!r}: must be device-UUID or the id of a session definition") from error
    if is_device:
        device = devices.find(tx, key)
        if device is None:
            raise NotFound("this device has been deleted: reload the device list")
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
    """The id and the decrypted secret of the credential to log in with.

    Raises NotFound for a credential that the user may not use, InvalidInput for one of another address, VaultLocked.
    """
    credential_id = request.credential_id or target.default_credential_id
    if credential_id is None or request.actor.id is None:
        raise InvalidInput("no credential was chosen, and the device has no default credential")
    secret = credentials.for_login(tx, vault, credential_id, request.actor.id, host=target.host, port=target.port)
    return credential_id, secret
