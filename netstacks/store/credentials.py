"""Credentials: listed without their secrets, which stay in the vault and leave it only for a log-in to a device."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks.crypto.ssh_keys import opened_private_key
from netstacks.errors import InvalidInput, NotFound
from netstacks.hosts import normal_host, shown_address, shown_host
from netstacks.permissions import Reach
from netstacks.store import user_settings, versions
from netstacks.store.devices import within_of
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.vault import Vault

_SQL = load("credentials")

SSH_TYPES = ("ssh_password", "ssh_key")
# The user setting with the id of the credential that Connect uses.
DEFAULT_SETTING = "terminal.default_credential"


@dataclass(frozen=True)
class Credential:
    """A credential without its secrets. A shared credential has no owner.

    A `host` restricts the credential to that host, and a `port` beside it to that port. A port alone restricts nothing.
    `version` counts the changes, and `updated_by` names the user of the last change.
    """

    id: UUID
    name: str
    description: str | None
    credential_type: str
    username: str | None
    host: str | None
    port: int | None
    vault_type: str
    owner_id: UUID | None
    created_at: datetime
    updated_at: datetime
    has_enable_secret: bool
    version: int = 1
    updated_by: str | None = None

    def is_usable_by(self, user_id: UUID) -> bool:
        """Whether the user may log in to devices with it: it is the user's own, or shared."""
        return self.credential_type in SSH_TYPES and self.owner_id in (None, user_id)

    def is_for(self, host: str, port: int) -> bool:
        """Whether it may be sent to that address. Both hosts are in the form of `normal_host`."""
        return self.host is None or (self.host == host and self.port in (None, port))

    @property
    def is_for_all_devices(self) -> bool:
        """Whether it is shared, and not restricted to an address."""
        return self.owner_id is None and self.host is None

    def may_be_sent(self, host: str, port: int, *, default_id: UUID | None, within: Reach) -> bool:
        """Whether it may be sent to the device at that address, by a user whose role has that reach.

        `default_id` is the device's default credential. In a limited reach, a credential for all devices is sent only
        to those whose default it is: a user who may add devices could otherwise have it sent to any server.
        """
        is_free = not (within.is_limited and self.is_for_all_devices) or self.id == default_id
        return is_free and self.is_for(host, port)

    @property
    def shown_place(self) -> str:
        """The address to which it is restricted, for display; empty without a restriction."""
        if self.host is None:
            return ""
        return shown_address(self.host, self.port) if self.port else shown_host(self.host)


@dataclass(frozen=True, repr=False)
class Secrets:
    """New values for the vault; None leaves a field unchanged. The passphrase decrypts the private key in `secret`."""

    secret: str | None = None
    passphrase: str | None = None
    enable_secret: str | None = None

    def given(self) -> list[str]:
        """The names of the fields that are set."""
        return [field for field, text in asdict(self).items() if text is not None]


@dataclass(frozen=True, repr=False)
class LoginSecret:
    """The secret of a log-in to a device: a password, or a private key without a passphrase."""

    username: str
    changed_at: datetime
    password: str | None = None
    private_key: str | None = None


def create(
    tx: Transaction,
    vault: Vault,
    secrets: Secrets,
    *,
    name: str,
    credential_type: str,
    owner_id: UUID | None = None,
    username: str | None = None,
    host: str | None = None,
    port: int | None = None,
    description: str | None = None,
) -> Credential:
    """Creates a personal credential of `owner_id`, or a shared one. Raises InvalidInput, VaultLocked."""
    if secrets.secret is None:
        raise InvalidInput("secret: is missing")
    credential_id = uuid4()
    values = {
        "id": credential_id,
        "name": name,
        "description": description,
        "credential_type": credential_type,
        "username": username,
        "host": host and normal_host(host),
        "port": port,
        "vault_type": "personal" if owner_id else "shared",
        "owner_id": owner_id,
    }
    tx.execute(_SQL["create"], values)
    return _stored(tx, vault, credential_id, secrets)


def update(
    tx: Transaction,
    vault: Vault,
    old: Credential,
    changes: Mapping[str, Any],
    secrets: Secrets,
    *,
    by: str,
    seen: int | None = None,
) -> Credential:
    """Changes the members named in `changes` and the secrets given.

    Raises InvalidInput, VaultLocked, and ChangedMeanwhile as `versions.check` does.
    """
    versions.check(f"the credential {old.name}", old.version, old.updated_by, seen=seen)
    new = replace(old, **changes)
    if new.credential_type != old.credential_type and secrets.secret is None:
        raise InvalidInput("credential_type: a change of type needs a new secret: send it too")
    tx.execute(_SQL["update"], {**asdict(new), "host": new.host and normal_host(new.host), "by": by})
    return _stored(tx, vault, old.id, secrets)


def _stored(tx: Transaction, vault: Vault, credential_id: UUID, secrets: Secrets) -> Credential:
    credential = find(tx, credential_id)
    assert credential is not None
    if credential.credential_type in SSH_TYPES and not credential.username:
        raise InvalidInput("username: is missing: a log-in to a device needs one")
    if secrets.secret is not None:
        vault.seal(tx, credential_id, "secret", _checked_secret(credential.credential_type, secrets))
    elif secrets.passphrase is not None:
        raise InvalidInput("passphrase: send it together with its private key")
    if secrets.enable_secret is not None:
        vault.seal(tx, credential_id, "enable_secret", secrets.enable_secret)
    return find(tx, credential_id) or credential


def _checked_secret(credential_type: str, secrets: Secrets) -> str:
    assert secrets.secret is not None
    if credential_type == "ssh_key":
        return opened_private_key(secrets.secret, secrets.passphrase)
    if secrets.passphrase is not None:
        raise InvalidInput("passphrase: is for credentials of the type ssh_key")
    return secrets.secret


def delete(tx: Transaction, credential: Credential, *, within: Reach, seen: int | None = None) -> list[str]:
    """Returns the names of the devices `within` the reach whose default credential it was; they have none now.

    Raises ChangedMeanwhile as `versions.check` does.
    """
    versions.check(f"the credential {credential.name}", credential.version, credential.updated_by, seen=seen)
    devices = devices_using(tx, credential, within=within)
    tx.execute(_SQL["delete"], {"id": credential.id})
    return devices


def devices_using(tx: Transaction, credential: Credential, *, within: Reach) -> list[str]:
    """The names of the devices within the reach whose default credential it is."""
    rows = tx.execute(_SQL["devices_using"], {"id": credential.id, **within_of(within)}).fetchall()
    return [row["name"] for row in rows]


def find(tx: Transaction, credential_id: UUID) -> Credential | None:
    return next(iter(_all(tx, "find", id=credential_id)), None)


def lock(tx: Transaction, credential_id: UUID, owner_id: UUID | None, *, within: Reach) -> Credential:
    """The personal credential of `owner_id`, or the shared one, with its row locked until the transaction ends.

    Raises NotFound when it belongs to another user, or cannot be used `within` the reach of the user's role.
    """
    for credential in _all(tx, "lock", id=credential_id, **within_of(within)):
        if credential.owner_id == owner_id:
            return credential
    raise NotFound("there is no such credential")


def personal(tx: Transaction, user_id: UUID) -> list[Credential]:
    """The user's personal credentials of all types, by name."""
    return _all(tx, "personal", user_id=user_id)


def shared(tx: Transaction, *, within: Reach) -> list[Credential]:
    """The shared credentials of all types that can be used `within` a reach, by name."""
    return _all(tx, "shared", **within_of(within))


def usable(tx: Transaction, user_id: UUID, *, within: Reach) -> list[Credential]:
    """The credentials with which the user, whose role has that reach, may log in to devices, by name."""
    return _all(tx, "usable", user_id=user_id, **within_of(within))


def default_for(tx: Transaction, user_id: UUID, *, within: Reach) -> Credential | None:
    """The credential that Connect uses without asking: that of the user's DEFAULT_SETTING, else the only usable one.

    None with several to choose from: the order of their names must not decide which password a device receives.
    """
    candidates = usable(tx, user_id, within=within)
    try:
        preferred_id = user_settings.get(tx, user_id, DEFAULT_SETTING)
    except NotFound:
        preferred_id = None
    preferred = [credential for credential in candidates if str(credential.id) == preferred_id]
    only = candidates if len(candidates) == 1 else []
    return next(iter(preferred or only), None)


def for_login(
    tx: Transaction,
    vault: Vault,
    credential_id: UUID,
    user_id: UUID,
    *,
    host: str,
    port: int,
    default_id: UUID | None,
    within: Reach,
) -> LoginSecret:
    """The decrypted secret of a credential, for a log-in to the device at that address: see `may_be_sent`.

    Raises NotFound unless the user may use it, InvalidInput when it must not be sent to that device, VaultLocked.
    """
    credential = find(tx, credential_id)
    if credential is None or not credential.is_usable_by(user_id) or credential.username is None:
        raise NotFound("there is no such SSH credential, or it belongs to another user: choose another one")
    # Every secret for a device passes this check: no other function opens the vault for a log-in.
    _check_place(credential, host, port)
    if not credential.may_be_sent(host, port, default_id=default_id, within=within):
        raise InvalidInput(
            "with your role, a shared credential without an address is sent only to the devices whose default it is:"
            " choose another credential"
        )
    return _as_login_secret(credential, vault.open(tx, credential_id, "secret"), credential.updated_at)


def login_secret(
    credential: Credential, secrets: Secrets, changed_at: datetime, *, host: str, port: int
) -> LoginSecret:
    """A secret that is not stored, for a log-in to the device at that address. Raises InvalidInput."""
    if credential.credential_type not in SSH_TYPES or credential.username is None:
        raise InvalidInput("only SSH credentials with a user name can be tested on a device")
    if secrets.secret is None:
        raise InvalidInput("secret: is missing")
    _check_place(credential, host, port)
    return _as_login_secret(credential, _checked_secret(credential.credential_type, secrets), changed_at)


def _check_place(credential: Credential, host: str, port: int) -> None:
    if not credential.is_for(host, port):
        raise InvalidInput(
            f"the credential {credential.name} is only for {credential.shown_place}, and the device is at"
            f" {shown_address(host, port)}: choose another credential, or change its address on the page Credentials"
        )


def _as_login_secret(credential: Credential, secret: str, changed_at: datetime) -> LoginSecret:
    assert credential.username is not None
    if credential.credential_type == "ssh_key":
        return LoginSecret(credential.username, changed_at, private_key=secret)
    return LoginSecret(credential.username, changed_at, password=secret)


def _all(tx: Transaction, statement: str, **parameters: Any) -> list[Credential]:
    with tx.cursor(row_factory=row_of(Credential)) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchall()
