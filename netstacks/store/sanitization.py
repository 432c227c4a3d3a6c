"""What is kept from providers of language models: the administrator's wishes, and the secrets that the vault knows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

import structlog

from netstacks.errors import NetstacksError
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
    """The configuration in force; members that a newer version has added are ignored."""
    stored: Mapping[str, Any] = settings.get(tx, SETTING) or {}
    values = {field.name: stored[field.name] for field in fields(SanitizationConfig) if field.name in stored}
    values["custom_patterns"] = tuple(
        CustomPattern(item["name"], item["regex"], item.get("replacement", ""))
        for item in values.get("custom_patterns", ())
    )
    values["allowlist"] = tuple(values.get("allowlist", ()))
    return SanitizationConfig(**values)


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
