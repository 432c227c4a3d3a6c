"""The settings, read once from the environment. Each invalid value is reported in one line that says what is valid."""

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    ValidationError,
    model_validator,
)

from netstacks import urls
from netstacks.errors import InvalidInput
from netstacks.llm import provider_file
from netstacks.registry import addresses
from netstacks.store import database_url
from netstacks.tracing import otlp

SECRETS = frozenset(
    {
        "database_url",
        "vault_master_key",
        "vault_master_key_previous",
        "jwt_secret",
        "jwt_secret_accepted",
        "valkey_url",
        "valkey_sentinel_url",
        "bootstrap_admin_password",
        "license_key",
        "metrics_token",
        "otlp_headers",
    }
)


class SettingsError(Exception):
    """One or more settings are invalid; the text has one line for each."""


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _master_key(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them")
    return value


def _understood(parse: Callable[[str], object]) -> AfterValidator:
    """Validates a value by `parse`, and keeps it unchanged."""

    def check(value: str) -> str:
        try:
            parse(value)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(check)


def _advertised_host(value: str) -> str:
    try:
        return str(IPv6Address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if "%" in value or ":" in value:
        raise ValueError("must be only a host name or an address: without scheme, port, user or path")
    try:
        urls.check_text(value)
        return urls.check_host(value)
    except InvalidInput:
        raise ValueError("must be only a host name or an address, such as 10.0.0.5") from None


def _instance_id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", value):
        raise ValueError("must be 1 to 40 letters, digits or any of . _ -")
    return value


def _bearer_token(value: str) -> str:
    # The characters of a bearer token (RFC 6750, 2.1).
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", value):
        raise ValueError("must be 16 or more letters, digits or any of . _ ~ + / -, as `openssl rand -hex 32` prints")
    return value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(f"has {value!r}: must be addresses or networks such as 10.0.0.0/8") from None
    return values


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    """The origins in the form that browsers send."""
    found = []
    for value in values:
        try:
            found.append(str(urls.Origin.parse(value)))
        except InvalidInput as error:
            raise ValueError(f"has {urls.masked(value) if '@' in value else value!r}: it {error}") from None
    return tuple(found)


_List = Annotated[tuple[str, ...], BeforeValidator(_split)]
_Amount = Annotated[int, Field(ge=0, lt=2**63)]
_MasterKey = Annotated[str, AfterValidator(_master_key)]
_Port = Annotated[int, Field(ge=1, le=65535)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Every setting by its variable's name in lower case; see docs/settings.md."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    port: _Port = 8080
    agent_check_port: Annotated[int, Field(ge=0, le=65535)] = 0
    address_connections_max: Annotated[int, Field(ge=1)] = 2000
    database_url: Annotated[str, _understood(database_url.parse)]
    vault_master_key: _MasterKey
    vault_master_key_previous: _MasterKey | None = None
    jwt_secret: Annotated[str, Field(min_length=32)]
    jwt_secret_accepted: Annotated[str, Field(min_length=32)] | None = None
    valkey_url: Annotated[str, _understood(addresses.parse_valkey)] | None = None
    valkey_sentinel_url: Annotated[str, _understood(addresses.parse)] | None = None
    valkey_sentinel_master_name: str = "mymaster"
    ha_heartbeat_interval_secs: _Seconds = 5
    ha_stale_instance_ttl_secs: _Seconds = 30
    ha_expected_instances: Annotated[int, Field(ge=0, le=1000)] = 0
    ha_advertise_host: Annotated[str, AfterValidator(_advertised_host)] | None = None
    ha_peer_port: Annotated[int, Field(ge=0, le=65535)] = 0
    ha_peer_tls_cert: FilePath | None = None
    ha_peer_tls_key: FilePath | None = None
    ha_peer_tls_ca: FilePath | None = None
    instance_id: Annotated[str, AfterValidator(_instance_id)] = "ctrl"
    web_concurrency: Annotated[int, Field(ge=1, le=64)] = 1
    drain_timeout_secs: Annotated[float, Field(ge=1, le=3600)] = 20
    session_detach_ttl_secs: Annotated[_Seconds, Field(ge=1)] = 300
    session_close_grace_secs: Annotated[_Seconds, Field(ge=1)] = 10
    session_log_bytes: Annotated[int, Field(ge=4096, le=64 * 1024 * 1024)] = 262144
    bootstrap_admin_username: Annotated[str, Field(min_length=1)] = "admin"
    # The password rules are checked when it is used, which is on an empty database only.
    bootstrap_admin_password: Annotated[str, Field(min_length=8)] | None = None
    login_max_days: Annotated[int, Field(ge=1, le=3650)] = 30
    spool_dir: Path = Path("var/spool")
    recording_retention_days: Annotated[int, Field(ge=0)] = 0
    recording_session_max_bytes: _Amount = 1024 * 1024 * 1024
    recording_user_daily_bytes: _Amount = 10 * 1024 * 1024 * 1024
    recording_limit_action: Literal["end", "unrecorded"] = "end"
    user_sessions_max: _Amount = 500
    user_openings_max: Annotated[int, Field(ge=1, le=1000)] = 24
    device_sessions_max: _Amount = 0
    audit_failed_logins_per_hour: Annotated[int, Field(ge=1, lt=2**31)] = 1000
    disk_free_min_bytes: _Amount = 500 * 1024 * 1024
    license_key: str | None = None
    trusted_proxies: Annotated[_List, AfterValidator(_networks)] = ()
    allowed_origins: Annotated[_List, AfterValidator(_origins)] = ()
    terminal_web_dir: Path | None = None
    log_format: Literal["text", "json"] = "text"
    metrics_token: Annotated[str, AfterValidator(_bearer_token)] | None = None
    otlp_endpoint: Annotated[str, _understood(otlp.parse_endpoint)] | None = None
    otlp_headers: Annotated[str, _understood(otlp.parse_headers)] | None = None
    llm_breaker_failures: Annotated[int, Field(ge=1)] = 5
    llm_breaker_cooldown_secs: _Seconds = 30
    llm_timeout_secs: _Seconds = 30
    llm_first_token_secs: _Seconds = 15
    llm_user_concurrency: Annotated[int, Field(ge=1, le=1000)] = 4
    llm_user_daily_tokens: Annotated[int, Field(ge=0, lt=2**63)] = 0
    llm_providers_file: Path | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if misfits := list(self._misfits()):
            raise ValueError("\n".join(misfits))
        return self

    def _misfits(self) -> Iterator[str]:
        if self.ha_heartbeat_interval_secs * 3 > self.ha_stale_instance_ttl_secs:
            yield (
                f"HA_HEARTBEAT_INTERVAL_SECS={self.ha_heartbeat_interval_secs:g}: must be at most a third of"
                f" HA_STALE_INSTANCE_TTL_SECS ({self.ha_stale_instance_ttl_secs:g}), otherwise one late heartbeat"
                " declares a living instance dead"
            )
        if self.ha_peer_port and self.web_concurrency > 1:
            yield (
                f"HA_PEER_PORT={self.ha_peer_port}: must be 0 with WEB_CONCURRENCY={self.web_concurrency}, because each"
                " worker needs a private port of its own"
            )
        if self.agent_check_port and self.agent_check_port in (self.port, self.ha_peer_port):
            yield f"AGENT_CHECK_PORT={self.agent_check_port}: must differ from PORT and HA_PEER_PORT"
        if (self.ha_peer_tls_cert is None) != (self.ha_peer_tls_key is None):
            yield "HA_PEER_TLS_CERT and HA_PEER_TLS_KEY: must both be set, or neither"
        if self.terminal_web_dir is not None and not (self.terminal_web_dir / "index.html").is_file():
            yield f"TERMINAL_WEB_DIR={str(self.terminal_web_dir)!r}: must be a folder with an index.html in it"
        if self.llm_providers_file is not None:
            yield from _providers_problems(self.llm_providers_file)


def _providers_problems(path: Path) -> Iterator[str]:
    try:
        provider_file.read(path)
    except InvalidInput as error:
        for line in str(error).splitlines():
            yield f"LLM_PROVIDERS_FILE={str(path)!r}: {line}"


def load(environ: Mapping[str, str]) -> Settings:
    """Reads the settings from the environment; an empty value counts as absent. Raises SettingsError."""
    values: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name in Settings.model_fields:
        try:
            if value := _read(name, environ):
                values[name] = value
        except ValueError as error:
            problems[name] = str(error)
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = {_name(detail): _line(detail, values) for detail in error.errors()} | problems
    if problems:
        # Outside the handler: a chained exception would show the values, including secrets.
        raise SettingsError("\n".join(problems.values()))
    return settings


def _read(name: str, environ: Mapping[str, str]) -> str:
    """The value of a variable, or the content of the file named by NAME_FILE; raises ValueError."""
    variable = name.upper()
    value = environ.get(variable, "").strip()
    path = environ.get(f"{variable}_FILE", "").strip() if name in SECRETS else ""
    if not path:
        return value
    if value:
        raise ValueError(f"{variable} and {variable}_FILE: must not both be set")
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable}_FILE={path!r}: must be a readable text file ({type(error).__name__})") from None


def _name(detail: Any) -> str:
    """The name of the invalid setting, empty when several contradict each other."""
    return str(detail["loc"][0]) if detail["loc"] else ""


def _line(detail: Any, values: Mapping[str, str]) -> str:
    name = _name(detail)
    message: str = detail["msg"]
    for theirs, ours in _WORDING.items():
        message = message.replace(theirs, ours)
    if not name:
        return message
    if detail["type"] == "missing":
        return f"{name.upper()} is not set: {_WHAT_FOR[name]}"
    return f"{name.upper()}={shown(name, values[name])!r}: {message.split(', unable')[0]}"


# Rewrites pydantic's messages so that they can follow a colon.
_WORDING = {
    "Value error, ": "",
    "Input should ": "must ",
    "String should ": "must ",
    "Path does not point to ": "must be the path of ",
}

_WHAT_FOR = {
    "database_url": "it names the PostgreSQL database, such as postgres://user:password@host:5432/database",
    "vault_master_key": "it encrypts the credentials, 64 hexadecimal digits as `openssl rand -hex 32` prints them",
    "jwt_secret": "it signs the log-ins, 32 characters or more, the same on every instance",
}


def shown(name: str, value: Any) -> str:
    """A setting's value for display: secrets masked, URLs without their password."""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    if name not in SECRETS:
        # A URL that is not secret may have been given with a password nevertheless.
        return urls.masked(text) if "://" in text and "@" in text else text
    return urls.masked(text) if name.endswith("_url") else "***"


def effective(settings: Settings) -> dict[str, str]:
    """Every variable with its effective value, secrets masked; unset variables are empty."""
    values = settings.model_dump()
    return {name.upper(): "" if value is None else shown(name, value) for name, value in values.items()}
