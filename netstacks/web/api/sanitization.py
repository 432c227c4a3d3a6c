"""Administration of redaction: the data that providers of language models do not receive."""

from typing import Annotated, NotRequired

from flask import Blueprint
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from netstacks.llm.redaction import Redactor
from netstacks.store import audit, sanitization
from netstacks.store.pool import Transaction
from netstacks.store.sanitization import CustomPattern, SanitizationConfig
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.declarations import takes_body
from netstacks.web.http.fields import Name, Seen

blueprint = Blueprint("sanitization", __name__)


class PatternInput(BaseModel):
    name: Name
    regex: str
    replacement: str = Field(default="", max_length=200)


class ConfigInput(BaseModel):
    """`based_on` is the version that a form was filled from.

    It is not called `version`: the Terminal client sends back all members that it has read, also in later changes.
    """

    redact_ip_addresses: bool = False
    redact_ipv6_addresses: bool = False
    redact_mac_addresses: bool = False
    redact_hostnames: bool = False
    redact_usernames: bool = False
    custom_patterns: list[PatternInput] = Field(default=[], max_length=50)
    allowlist: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(default=[], max_length=500)
    based_on: Seen = None

    def config(self) -> SanitizationConfig:
        """The requested configuration. Raises InvalidInput for a pattern that is invalid or too slow."""
        values = self.model_dump(exclude={"based_on"}) | {
            "custom_patterns": tuple(CustomPattern(**pattern.model_dump()) for pattern in self.custom_patterns),
            "allowlist": tuple(self.allowlist),
        }
        config = SanitizationConfig(**values)
        Redactor(config, ())
        return config


class TestInput(BaseModel):
    text: str = Field(max_length=100_000)


class PatternJson(TypedDict):
    name: str
    regex: str
    replacement: str


class ConfigJson(TypedDict):
    """What is redacted besides credentials."""

    redact_ip_addresses: bool
    redact_ipv6_addresses: bool
    redact_mac_addresses: bool
    redact_hostnames: bool
    redact_usernames: bool
    custom_patterns: list[PatternJson]
    allowlist: list[str]
    """Texts that are never redacted."""
    version: int
    """Goes up with each change. A change that sends an older one is refused."""
    problems: NotRequired[list[str]]
    """Why nothing is sent to providers now."""


class Sanitized(TypedDict):
    sanitized: str
    redaction_count: int
    pattern_names: list[str]


@blueprint.get("/api/admin/sanitization/config")
@guard.requires("llm.manage")
def get_config() -> ConfigJson:
    """The configuration in force; credentials are always redacted. While there are `problems`, nothing is sent."""
    with services().database.transaction() as tx:
        config, problems = sanitization.stored(tx)
        answer = _as_json(tx, config)
    if problems:
        answer["problems"] = problems
    return answer


@blueprint.put("/api/admin/sanitization/config")
@guard.requires("llm.manage")
@takes_body(ConfigInput)
def put_config(body: ConfigInput) -> ConfigJson:
    config = body.config()
    with guard.transaction() as tx:
        changed = changes(sanitization.stored(tx)[0], config)
        sanitization.put(tx, config, guard.identity().username, seen=body.based_on)
        audit.append(tx, guard.actor(), "ai.sanitization_changed", f"setting:{sanitization.SETTING}", **changed)
        return _as_json(tx, config)


@blueprint.post("/api/ai/sanitization/test")
@guard.requires()
@takes_body(TestInput)
def test(body: TestInput) -> Sanitized:
    """Returns a text as a provider would receive it.

    Does not redact the secrets of the vault: the answer would tell a user whether a guessed text is one of them.
    """
    text = body.text
    with services().database.transaction() as tx:
        config = sanitization.get(tx)
    redactor = Redactor(config, ())
    return {
        "sanitized": redactor.redact(text),
        "redaction_count": redactor.counts.total(),
        "pattern_names": list(redactor.counts),
    }


def _as_json(tx: Transaction, config: SanitizationConfig) -> ConfigJson:
    return {
        "version": sanitization.version(tx),
        "redact_ip_addresses": config.redact_ip_addresses,
        "redact_ipv6_addresses": config.redact_ipv6_addresses,
        "redact_mac_addresses": config.redact_mac_addresses,
        "redact_hostnames": config.redact_hostnames,
        "redact_usernames": config.redact_usernames,
        "custom_patterns": [
            {"name": each.name, "regex": each.regex, "replacement": each.replacement} for each in config.custom_patterns
        ],
        "allowlist": list(config.allowlist),
    }
