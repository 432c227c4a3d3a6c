"""What a connection asks for, resolved against what is stored: a device the user may reach, a credential of theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from netstacks.errors import InvalidInput, NotFound
from netstacks.store import credentials, definitions, devices
from netstacks.store.addresses import normal_host
from netstacks.store.audit import Actor
from netstacks.store.credentials import LoginSecret
from netstacks.store.pool import Transaction
from netstacks.store.vault import Vault

_DEVICE_PREFIX = "device-"


@dataclass(frozen=True)
class Wish:
    """A terminal that a user asks for: `target` is `device-UUID` or a session definition's id.

    `is_abandoned` tells whether the client has left; the opening asks it wherever it can stop.
    """

    actor: Actor
    credential_id: UUID | None
    target: str | None
    host: str | None
    port: int | None
    term: str
    cols: int
    rows: int
    is_abandoned: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Target:
    """Where the wish leads."""

    device_id: UUID | None
    name: str
    host: str
    port: int
    legacy_algorithms: bool
    default_credential_id: UUID | None


def resolve(tx: Transaction, wish: Wish) -> Target:
    """Finds the target; raises NotFound for a device or definition that is not there, or whose address differs.

    Whatever address the client names, only addresses of stored devices and definitions are dialled.
    """
    target = _named(tx, wish.target) if wish.target else _addressed(tx, wish)
    if wish.host and (normal_host(wish.host), wish.port or target.port) != (target.host, target.port):
        raise NotFound(
            f"{target.name} is at {target.host}:{target.port}, not at {wish.host}:{wish.port}:"
            " its address was changed, reload the device list"
        )
    return target


def _named(tx: Transaction, name: str) -> Target:
    is_device = name.startswith(_DEVICE_PREFIX)
    try:
        key = UUID(name.removeprefix(_DEVICE_PREFIX))
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
        raise NotFound(f"no device is stored at {definition.host}:{definition.port}: add it to the device list first")
    return _of_device(device)


def _addressed(tx: Transaction, wish: Wish) -> Target:
    if not wish.host:
        raise InvalidInput("neither session_id nor host: name the device to connect to")
    device = devices.find_by_address(tx, wish.host, wish.port or 22)
    if device is None:
        raise NotFound(f"no device is stored at {wish.host}:{wish.port or 22}: add it to the device list first")
    return _of_device(device)


def _of_device(device: devices.Device) -> Target:
    return Target(
        device.id, device.name, device.host, device.port, device.legacy_algorithms, device.default_credential_id
    )


def secret_for(tx: Transaction, vault: Vault, wish: Wish, target: Target) -> tuple[UUID, LoginSecret]:
    """The credential to log in with, opened. Raises NotFound for one that is not the user's, VaultLocked."""
    credential_id = wish.credential_id or target.default_credential_id
    if credential_id is None or wish.actor.id is None:
        raise InvalidInput("no credential was chosen and the device has no default one")
    return credential_id, credentials.for_login(tx, vault, credential_id, wish.actor.id)
