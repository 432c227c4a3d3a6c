"""The settings: each read once from the environment, each wrong value refused with one line that says what is right."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

SECRETS = frozenset(
    {
        "database_url",
        "vault_master_key",
        "vault_master_key_previous",
        "jwt_secret",
        "valkey_url",
        "valkey_sentinel_url",
        "bootstrap_admin_password",
        "license_key",
    }
)
_MASK = "***"
_PASSWORD_IN_URL = re.compile(r"(?<=:)[^:/@]+(?=@)")


class SettingsError(Exception):
    """One or more settings are wrong; the text has one line for each."""


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _master_key(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them")
    return value


def _postgres_url(value: str) -> str:
    if urlsplit(value).scheme not in ("postgres", "postgresql"):
        raise ValueError("must be a URL such as postgres://user:password@host:5432/database")
    return value


def _valkey_url(value: str) -> str:
    if urlsplit(value.split(",")[0]).scheme not in ("redis", "rediss", "valkey", "valkeys"):
        raise ValueError("must be a URL such as redis://host:6379")
    return value


def _origin(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
            raise ValueError(f"has {value!r}: an origin is scheme and host, such as https://netstacks.example")
    return values


_List = Annotated[tuple[str, ...], BeforeValidator(_split)]
_MasterKey = Annotated[str, AfterValidator(_master_key)]
_ValkeyUrl = Annotated[str, AfterValidator(_valkey_url)]
_Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Every setting by its variable's name in lower case; see docs/settings.md."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", enable_decoding=False)

    port: _Port = 8080
    database_url: Annotated[str, AfterValidator(_postgres_url)]
    vault_master_key: _MasterKey
    vault_master_key_previous: _MasterKey | None = None
    jwt_secret: Annotated[str, Field(min_length=32)]
    valkey_url: _ValkeyUrl | None = None
    valkey_sentinel_url: _ValkeyUrl | None = None
    valkey_sentinel_master_name: str = "mymaster"
    ha_heartbeat_interval_secs: Annotated[float, Field(gt=0)] = 5
    ha_stale_instance_ttl_secs: Annotated[float, Field(gt=0)] = 30
    ha_advertise_host: str | None = None
    ha_peer_port: Annotated[int, Field(ge=0, le=65535)] = 0
    ha_peer_tls_cert: Path | None = None
    ha_peer_tls_key: Path | None = None
    ha_peer_tls_ca: Path | None = None
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = "ctrl"
    web_concurrency: Annotated[int, Field(ge=1, le=64)] = 1
    drain_timeout_secs: Annotated[float, Field(ge=1, le=3600)] = 20
    session_detach_ttl_secs: Annotated[float, Field(ge=1)] = 300
    session_log_bytes: Annotated[int, Field(ge=4096, le=64 * 1024 * 1024)] = 262144
    bootstrap_admin_username: Annotated[str, Field(min_length=1)] = "admin"
    bootstrap_admin_password: Annotated[str, Field(min_length=8)] | None = None
    recording_retention_days: Annotated[int, Field(ge=0)] = 0
    license_key: str | None = None
    trusted_proxies: _List = ()
    allowed_origins: Annotated[_List, AfterValidator(_origin)] = ()
    terminal_web_dir: Path | None = None
    log_format: Literal["text", "json"] = "text"
    llm_breaker_failures: Annotated[int, Field(ge=1)] = 5
    llm_breaker_cooldown_secs: Annotated[float, Field(gt=0)] = 30
    llm_timeout_secs: Annotated[float, Field(gt=0)] = 30

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values come from `load` alone: it also reads the files of NAME_FILE and knows what is a secret."""
        return (init_settings,)

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if self.ha_heartbeat_interval_secs * 3 > self.ha_stale_instance_ttl_secs:
            raise ValueError(
                f"HA_HEARTBEAT_INTERVAL_SECS={self.ha_heartbeat_interval_secs:g}: it must be at most a third of"
                f" HA_STALE_INSTANCE_TTL_SECS ({self.ha_stale_instance_ttl_secs:g}), or a single late heartbeat makes"
                " a living instance look dead"
            )
        if self.ha_peer_port and self.web_concurrency > 1:
            raise ValueError(
                f"HA_PEER_PORT={self.ha_peer_port}: with WEB_CONCURRENCY={self.web_concurrency} each worker needs a"
                " private port of its own, so it must be 0"
            )
        if (self.ha_peer_tls_cert is None) != (self.ha_peer_tls_key is None):
            raise ValueError("HA_PEER_TLS_CERT and HA_PEER_TLS_KEY: both must be set, or neither")
        if self.terminal_web_dir is not None and not (self.terminal_web_dir / "index.html").is_file():
            raise ValueError(f"TERMINAL_WEB_DIR={str(self.terminal_web_dir)!r}: there is no index.html in it")
        return self


def load(environ: Mapping[str, str]) -> Settings:
    """Reads the settings from the environment, an empty value counting as absent; raises SettingsError."""
    values: dict[str, str] = {}
    problems: list[str] = []
    for name in Settings.model_fields:
        variable = name.upper()
        value = environ.get(variable, "").strip()
        path = environ.get(f"{variable}_FILE", "").strip()
        if path and value:
            problems.append(f"{variable} and {variable}_FILE are both set: leave one of them out")
        elif path:
            try:
                value = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{variable}_FILE={path!r}: cannot be read ({type(error).__name__})")
                continue
        if value:
            values[name] = value
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        # Not chained: the cause shows the values, secrets among them.
        raise SettingsError("\n".join([*problems, *(_line(detail, values) for detail in error.errors())])) from None
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _line(detail: Any, values: Mapping[str, str]) -> str:
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if not detail["loc"]:
        return str(message)
    name = detail["loc"][0]
    if detail["type"] == "missing":
        return f"{name.upper()} is not set: {_WHAT_FOR.get(name, 'it is needed')}"
    message = message[0].lower() + message[1:]
    return f"{name.upper()}={shown(name, values.get(name, ''))!r}: {message}"


_WHAT_FOR = {
    "database_url": "it names the PostgreSQL database, such as postgres://user:password@host:5432/database",
    "vault_master_key": "it encrypts the credentials, 64 hexadecimal digits as `openssl rand -hex 32` prints them",
    "jwt_secret": "it signs the log-ins, 32 characters or more, the same on every instance",
}


def shown(name: str, value: Any) -> str:
    """A setting's value as a person may see it: secrets masked, URLs without their password."""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    if name in SECRETS and value is not None:
        return _PASSWORD_IN_URL.sub(_MASK, text) if name.endswith("_url") and "://" in text else _MASK
    return text


def effective(settings: Settings) -> dict[str, str]:
    """Every variable with the value in force, secrets masked; unset ones are empty."""
    values = settings.model_dump()
    return {name.upper(): "" if value is None else shown(name, value) for name, value in values.items()}
