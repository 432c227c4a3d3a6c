"""What is kept from providers of language models: the administrator's wishes, and the secrets that the vault knows."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

import structlog

from netstacks.errors import InvalidInput, NetstacksError
from netstacks.store import settings
from netstacks.store.pool import Transaction
from netstacks.store.queries import load
from netstacks.store.vault import Vault

log = structlog.get_logger()

_SQL = load("sanitization")
SETTING = "ai.sanitization"
"""The key of the configuration in the settings of the installation."""

MOST_SECRETS = 5000
"""So many are looked for in a question; opening them takes some 10 ms."""

# A shorter one occurs in any text by chance.
SHORTEST_SECRET = 6


@dataclass(frozen=True)
class CustomPattern:
    """A regular expression of the administrator's; `replacement` stands for what it matches and is not put back.

    Without a `replacement` what it matches gets a placeholder and is put back, as other secrets are.
    """

    name: str
    regex: str
    replacement: str = ""


@dataclass(frozen=True)
class SanitizationConfig:
    """What is kept from providers besides credentials, which always are; texts of the `allowlist` never are."""

    redact_ip_addresses: bool = False
    redact_ipv6_addresses: bool = False
    redact_mac_addresses: bool = False
    redact_hostnames: bool = False
    redact_usernames: bool = False
    custom_patterns: tuple[CustomPattern, ...] = ()
    allowlist: tuple[str, ...] = ()


def get(tx: Transaction) -> SanitizationConfig:
    """The configuration in force. Raises InvalidInput when a part of it cannot be read: it would not be kept back."""
    config, problems = stored(tx)
    if problems:
        settings.note_unreadable(SETTING, "; ".join(problems))
        raise InvalidInput(
            "what is kept from providers is not known, so nothing was sent; an administrator can store it anew:"
            f" {'; '.join(problems)}"
        )
    return config


def stored(tx: Transaction) -> tuple[SanitizationConfig, list[str]]:
    """The configuration as far as it can be read, and what is wrong with the rest.

    Members that a newer version has added are ignored.
    """
    found = settings.get(tx, SETTING)
    if found is None:
        return SanitizationConfig(), []
    if not isinstance(found, dict):
        return SanitizationConfig(), [f"the setting {SETTING} is no JSON object"]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in fields(SanitizationConfig):
        if field.name in found:
            read: Callable[[Any], Any] = _READERS.get(field.name, _switch)
            try:
                values[field.name] = read(found[field.name])
            except (TypeError, KeyError, ValueError):
                problems.append(f"{field.name} is not what it must be")
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


def put(tx: Transaction, config: SanitizationConfig) -> None:
    """Puts `config` in force."""
    settings.put(tx, SETTING, asdict(config))


def known_secrets(tx: Transaction, vault: Vault, user_id: UUID, session_id: UUID | None = None) -> list[str]:
    """The secrets that a device may have shown: those of the user's credentials and of the shared ones.

    For a question about a session, those of its user and of its credential too. A warning is logged when there are more
    than are taken. Private keys are not among them: they have a form of their own. Those that this instance's keys do
    not open are left out. Never to be logged or shown.
    """
    parameters = {"user_id": user_id, "session_id": session_id, "limit": MOST_SECRETS + 1}
    rows = tx.execute(_SQL["of_user"], parameters).fetchall()
    if len(rows) > MOST_SECRETS:
        log.warning("ai.too_many_secrets", user_id=str(user_id), taken=MOST_SECRETS)
    found: dict[str, None] = {}
    for row in rows[:MOST_SECRETS]:
        try:
            secret = vault.open_row(row["key_id"], row["sealed"], row["credential_id"], row["field"])
        except NetstacksError:
            continue
        if len(secret) >= SHORTEST_SECRET:
            found[secret] = None
    return list(found)
