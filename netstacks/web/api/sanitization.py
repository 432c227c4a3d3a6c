"""Administration of redaction: the data that providers of language models do not receive."""

from dataclasses import asdict
from typing import Annotated, Any

from flask import Blueprint
from pydantic import BaseModel, Field, StringConstraints

from netstacks.llm.redaction import Redactor
from netstacks.store import audit, sanitization
from netstacks.store.sanitization import CustomPattern, SanitizationConfig
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.fields import Name
from netstacks.web.http.inputs import parse

blueprint = Blueprint("sanitization", __name__)


class PatternInput(BaseModel):
    name: Name
    regex: str
    replacement: str = Field(default="", max_length=200)


class ConfigInput(BaseModel):
    redact_ip_addresses: bool = False
    redact_ipv6_addresses: bool = False
    redact_mac_addresses: bool = False
    redact_hostnames: bool = False
    redact_usernames: bool = False
    custom_patterns: list[PatternInput] = Field(default=[], max_length=50)
    allowlist: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(default=[], max_length=500)

    def config(self) -> SanitizationConfig:
        """The requested configuration. Raises InvalidInput for a pattern that is invalid or too slow."""
        values = self.model_dump() | {
            "custom_patterns": tuple(CustomPattern(**pattern.model_dump()) for pattern in self.custom_patterns),
            "allowlist": tuple(self.allowlist),
        }
        config = SanitizationConfig(**values)
        Redactor(config, ())
        return config


class TestInput(BaseModel):
    text: str = Field(max_length=100_000)


@blueprint.get("/api/admin/sanitization/config")
@guard.requires("llm.manage")
def get_config() -> dict[str, Any]:
    """The configuration in force; credentials are always redacted. While there are `problems`, nothing is sent."""
    with services().database.transaction() as tx:
        config, problems = sanitization.stored(tx)
    return asdict(config) | ({"problems": problems} if problems else {})


@blueprint.put("/api/admin/sanitization/config")
@guard.requires("llm.manage")
def put_config() -> dict[str, Any]:
    config = parse(ConfigInput).config()
    with guard.transaction() as tx:
        changed = changes(sanitization.stored(tx)[0], config)
        sanitization.put(tx, config)
        audit.append(tx, guard.actor(), "ai.sanitization_changed", f"setting:{sanitization.SETTING}", **changed)
    return asdict(config)


@blueprint.post("/api/ai/sanitization/test")
@guard.requires()
def test() -> dict[str, Any]:
    """Returns a text as a provider would receive it.

    Does not redact the secrets of the vault: the answer would tell a user whether a guessed text is one of them.
    """
    text = parse(TestInput).text
    with services().database.transaction() as tx:
        config = sanitization.get(tx)
    redactor = Redactor(config, ())
    return {
        "sanitized": redactor.redact(text),
        "redaction_count": redactor.counts.total(),
        "pattern_names": list(redactor.counts),
    }
