"""The stored values of the system settings, each with the user and the time of its last change."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from netstacks.crypto.password_rules import Lengths
from netstacks.errors import InvalidInput
from netstacks.store import setting_changes, settings
from netstacks.store.pool import Transaction
from netstacks.store.queries import load
from netstacks.store.setting_changes import Change
from netstacks.store.setting_definitions import ADMIN_PASSWORD_LENGTH, BOUND_TO, PASSWORD_LENGTH, SETTINGS
from netstacks.store.setting_types import Setting, as_json
from netstacks.store.vault import Vault

T = TypeVar("T")

_SQL = load("settings")
# The holder of the secrets of settings in the vault.
_HOLDER = UUID("00000000-0000-4000-8000-000000000017")
_FIELDS = {"mail.password": "mail_password"}


def stored(tx: Transaction) -> dict[str, Any]:
    """The stored values in JSON, by key, as they are; those of secrets are true."""
    rows = tx.execute(_SQL["some"], {"keys": list(SETTINGS)}).fetchall()
    return {row["key"]: row["value"] for row in rows}


def changes(tx: Transaction) -> dict[str, Change]:
    """The last change of each setting that was ever changed, by key."""
    return setting_changes.of(tx, SETTINGS)


def understood(setting: Setting[T], values: Mapping[str, Any]) -> T:
    """The value of a setting among stored ones. An unreadable one is logged, and replaced by what is safe."""
    value = values.get(setting.key)
    if value is None or setting.type == "secret":
        return setting.default
    try:
        return setting.read(value)
    except InvalidInput:
        instead = setting.instead()
        settings.note_unreadable(setting.key, f"{as_json(instead)} applies instead")
        return instead


def get(tx: Transaction, setting: Setting[T]) -> T:
    """The stored value of one setting, or its default. An environment variable is not looked at."""
    return understood(setting, {setting.key: settings.get(tx, setting.key)})


def password_lengths(tx: Transaction) -> Lengths:
    """The minimum lengths of new passwords."""
    return Lengths(get(tx, PASSWORD_LENGTH), get(tx, ADMIN_PASSWORD_LENGTH))


def put(tx: Transaction, setting: Setting[T], value: T, by: str, *, seen: int | None = None) -> None:
    """Stores a value that the setting has read. `seen` is the version that the caller knows; None skips the check.

    Raises ChangedMeanwhile when the setting was changed since then.
    """
    _note(tx, setting, by, seen)
    settings.put(tx, setting.key, as_json(value))


def put_secret(tx: Transaction, vault: Vault, setting: Setting[str], value: str, by: str, *, seen: int | None) -> None:
    """The same for a secret. Raises VaultLocked."""
    _note(tx, setting, by, seen)
    vault.seal(tx, _HOLDER, _FIELDS[setting.key], value)
    settings.put(tx, setting.key, True)


def open_secret(tx: Transaction, vault: Vault, setting: Setting[str]) -> str:
    """The text of a secret. Raises NotFound when it is not set, VaultLocked."""
    return vault.open(tx, _HOLDER, _FIELDS[setting.key])


def remove(tx: Transaction, vault: Vault, setting: Setting[Any], by: str, *, seen: int | None = None) -> None:
    """Sets a setting back to its default. Raises ChangedMeanwhile as `put` does."""
    _note(tx, setting, by, seen)
    if setting.type == "secret":
        vault.remove(tx, _HOLDER, _FIELDS[setting.key])
    tx.execute(_SQL["remove"], {"key": setting.key})


def forget_bound(tx: Transaction, vault: Vault, setting: Setting[Any], by: str) -> list[Setting[str]]:
    """Deletes the secrets that were for the former value of a changed setting. Returns those that were set.

    One that was not set counts as changed, too: a form for it that was filled before is refused by its version.
    """
    bound = BOUND_TO.get(setting.key, ())
    held = stored(tx)
    for secret in bound:
        remove(tx, vault, secret, by)
    return [secret for secret in bound if held.get(secret.key)]


def _note(tx: Transaction, setting: Setting[Any], by: str, seen: int | None) -> None:
    setting_changes.note(tx, setting.key, f"the setting {setting.title}", by, seen=seen)
