"""The inputs of redaction: the administrator's configuration, and the secrets in the vault."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

import structlog

from netstacks.errors import InvalidInput, NetstacksError
from netstacks.store import setting_changes, settings
from netstacks.store.pool import Transaction
from netstacks.store.queries import load
from netstacks.store.vault import Vault

log = structlog.get_logger()

_SQL = load("sanitization")
SETTING = "ai.sanitization"
"""The key of the configuration in the settings of the installation."""

MAX_SECRETS = 5000
"""The most secrets that are searched for in a request; decrypting them takes some 10 ms."""

# A shorter secret occurs in texts by chance.
MIN_SECRET = 6


@dataclass(frozen=True)
class CustomPattern:
    """A regular expression of the administrator. `replacement` replaces its matches and is not restored.

    Without a `replacement`, matches get a placeholder and are restored in the answer, like other secrets.
    """

    name: str
    regex: str
    replacement: str = ""


@dataclass(frozen=True)
class SanitizationConfig:
    """What is redacted besides credentials, which always are. Texts in the `allowlist` are never redacted."""

    redact_ip_addresses: bool = False
    redact_ipv6_addresses: bool = False
    redact_mac_addresses: bool = False
    redact_hostnames: bool = False
    redact_usernames: bool = False
    custom_patterns: tuple[CustomPattern, ...] = ()
    allowlist: tuple[str, ...] = ()


def get(tx: Transaction) -> SanitizationConfig:
    """The configuration in force. Raises InvalidInput when a part is unreadable: its secrets would not be redacted."""
    config, problems = stored(tx)
    if problems:
        settings.note_unreadable(SETTING, "; ".join(problems))
        raise InvalidInput(
            "the redaction settings are unreadable, so nothing was sent; an administrator can save them again:"
            f" {'; '.join(problems)}"
        )
    return config


def stored(tx: Transaction) -> tuple[SanitizationConfig, list[str]]:
    """The readable part of the configuration, and the problems with the rest.

    Members that a newer version has added are ignored.
    """
    found = settings.get(tx, SETTING)
    if found is None:
        return SanitizationConfig(), []
    if not isinstance(found, dict):
        return SanitizationConfig(), [f"the setting {SETTING} is not a JSON object"]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in fields(SanitizationConfig):
        if field.name in found:
            read: Callable[[Any], Any] = _READERS.get(field.name, _switch)
            try:
                values[field.name] = read(found[field.name])
            except (TypeError, KeyError, ValueError):
                problems.append(f"{field.name} is invalid")
    return SanitizationConfig(**values), problems


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _patterns(value: Any) -> tuple[CustomPattern, ...]:
    return tuple(
        CustomPattern(_word(item["name"]), _word(item["regex"]), _word(item.get("replacement", "")))
        for item in map(dict, value)
    )


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_word, value))


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_READERS: dict[str, Callable[[Any], Any]] = {"custom_patterns": _patterns, "allowlist": _words}


def version(tx: Transaction) -> int:
    """How often the configuration was changed."""
    return setting_changes.version(tx, SETTING)


def put(tx: Transaction, config: SanitizationConfig, by: str, *, seen: int | None = None) -> None:
    """Stores `config`, which takes effect with the next request; `by` is the name of the user who changes it.

    `seen` is the version that the change is based on; None skips the check. Raises ChangedMeanwhile.
    """
    setting_changes.note(tx, SETTING, "the redaction", by, seen=seen)
    settings.put(tx, SETTING, asdict(config))


def known_secrets(tx: Transaction, vault: Vault, user_id: UUID, session_id: UUID | None = None) -> list[str]:
    """The secrets that a device may print: those of the user's credentials and of shared credentials.

    For a request about a session, also those of its user and of its credential. At most MAX_SECRETS; a warning is
    logged when there are more. Private keys are excluded: patterns find them. Secrets that this instance cannot decrypt
    are left out. Never log or show the result.
    """
    parameters = {"user_id": user_id, "session_id": session_id, "limit": MAX_SECRETS + 1}
    rows = tx.execute(_SQL["of_user"], parameters).fetchall()
    if len(rows) > MAX_SECRETS:
        log.warning("ai.too_many_secrets", user_id=str(user_id), taken=MAX_SECRETS)
    found: dict[str, None] = {}
    for row in rows[:MAX_SECRETS]:
        try:
            secret = vault.open_row(row["key_id"], row["sealed"], row["credential_id"], row["field"])
        except NetstacksError:
            continue
        if len(secret) >= MIN_SECRET:
            found[secret] = None
    return list(found)
