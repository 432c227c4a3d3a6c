"""Resolves a connect request: to a stored device, and to a credential that its user may use."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from netstacks.encodings import normal_encoding
from netstacks.errors import AccessWithdrawn, InvalidInput, NotFound
from netstacks.hosts import normal_host, shown_address, shown_host
from netstacks.permissions import Reach
from netstacks.store import credentials, definitions, devices
from netstacks.store.audit import Actor
from netstacks.store.credentials import LoginSecret
from netstacks.store.devices import Algorithms
from netstacks.store.pool import Transaction
from netstacks.store.vault import Vault
from netstacks.terminal.dialogue import Dialogue

DEVICE_PREFIX = "device-"
OUT_OF_REACH = "your role may not use this device any more"


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

    @property
    def resource(self) -> str:
        """Its name in the audit log."""
        return f"device:{self.device_id}" if self.device_id else f"address:{self.host}:{self.port}"


def resolve(tx: Transaction, request: ConnectRequest, *, within: Reach, may_ad_hoc: bool = False) -> Target:
    """The target of the request; raises NotFound for an unknown device or definition, or one with another address.

    `within` is the reach of the user's role, confirmed in the same transaction: other devices are unknown. Only
    addresses of stored devices are dialled, whichever address the client names, unless the user `may_ad_hoc` and the
    role reaches all devices.
    """
    may_ad_hoc = may_ad_hoc and not within.is_limited
    target = _named(tx, request.target, within) if request.target else _addressed(tx, request, within, may_ad_hoc)
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


def _named(tx: Transaction, name: str, within: Reach) -> Target:
    is_device = name.startswith(DEVICE_PREFIX)
    try:
        key = UUID(name.removeprefix(DEVICE_PREFIX))
    except ValueError as error:
        raise InvalidInput(f"session_id {name!r}: must be device-UUID or the id of a session definition") from error
    if is_device:
        device = devices.find(tx, key, within=within)
        if device is None:
            raise NotFound("this device has been deleted: reload the device list")
        return _of_device(device)
    definition = definitions.find(tx, key, within=within)
    if definition is None:
        raise NotFound("there is no such session definition")
    device = devices.find_by_address(tx, definition.host, definition.port, within=within)
    if device is None:
        address = shown_address(definition.host, definition.port)
        raise NotFound(f"no device is stored at {address}: add it to the device list first")
    return _of_device(device)


def _addressed(tx: Transaction, request: ConnectRequest, within: Reach, may_ad_hoc: bool) -> Target:
    if not request.host:
        raise InvalidInput("neither session_id nor host: name the device to connect to")
    device = devices.find_by_address(tx, request.host, request.port or 22, within=within)
    if device is None and may_ad_hoc:
        return _ad_hoc(request.host, request.port or 22)
    if device is None:
        raise NotFound(
            f"no device is stored at {shown_address(request.host, request.port or 22)}: add it to the device list first"
        )
    return _of_device(device)


def _ad_hoc(host: str, port: int) -> Target:
    """An address that is not in the device list. Raises InvalidInput when it is not an address."""
    host = normal_host(host)
    return Target(
        device_id=None,
        name=shown_host(host) if port == 22 else shown_address(host, port),
        host=host,
        port=port,
        algorithms="modern",
        encoding=normal_encoding("utf-8"),
        lines=None,
        patience_secs=None,
        default_credential_id=None,
        changed_at=datetime.now(UTC),
    )


def check_reach(tx: Transaction, reach: Reach, device_id: UUID | None) -> None:
    """Raises AccessWithdrawn when the device of a session is not within the reach of its user's role any more.

    The device of a session without a device in the list has no tag and no site, so it is within no limited reach.
    """
    if reach.is_limited and (device_id is None or devices.find(tx, device_id, within=reach) is None):
        raise AccessWithdrawn(OUT_OF_REACH)


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


def secret_for(
    tx: Transaction, vault: Vault, request: ConnectRequest, target: Target, *, within: Reach
) -> tuple[UUID, LoginSecret]:
    """The id and the decrypted secret of the credential to log in with.

    `within` is the reach of the user's role. Raises NotFound for a credential that the user may not use, InvalidInput
    for one that must not be sent to the target, VaultLocked.
    """
    credential_id = request.credential_id or target.default_credential_id
    if credential_id is None or request.actor.id is None:
        raise InvalidInput("no credential was chosen, and the device has no default credential")
    if target.device_id is None:
        _check_ad_hoc(tx, credential_id, target)
    secret = credentials.for_login(
        tx,
        vault,
        credential_id,
        request.actor.id,
        host=target.host,
        port=target.port,
        default_id=target.default_credential_id,
        within=within,
    )
    return credential_id, secret


def _check_ad_hoc(tx: Transaction, credential_id: UUID, target: Target) -> None:
    """Raises InvalidInput for a shared credential, unless it is restricted to exactly this host and port.

    A server of the user's own choice, at another port too, would learn the password.
    """
    credential = credentials.find(tx, credential_id)
    if credential is None or credential.owner_id is not None:
        return
    if (credential.host, credential.port) != (target.host, target.port):
        raise InvalidInput(
            f"the shared credential {credential.name} is not restricted to {shown_address(target.host, target.port)},"
            " which is not in the device list: choose a credential of your own, or add the device to the list"
        )
