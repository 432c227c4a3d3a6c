"""The settings of a controller-admin."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from netstacks import urls
from netstacks.errors import InvalidInput


class SettingsError(Exception):
    """A sentence for the operator."""


@dataclass(frozen=True)
class Settings:
    api_url: urls.Origin
    """The controller, or the load balancer in front of several."""
    log_format: str = "text"
    address_connections_max: int = 200
    """Of one client address; an IPv6 /64 counts as one."""


def load(environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    text = environ.get("CONTROLLER_API_URL", "").strip().removesuffix("/")
    if not text:
        raise SettingsError(
            "CONTROLLER_API_URL is missing: set it to the address of the API, such as http://nginx:8080"
        )
    try:
        api_url = urls.Origin.parse(text)
    except InvalidInput as error:
        raise SettingsError(f"CONTROLLER_API_URL: {urls.masked(text)!r} {error}") from None
    log_format = environ.get("LOG_FORMAT") or "text"
    if log_format not in ("text", "json"):
        raise SettingsError(f"LOG_FORMAT: {log_format!r} must be text or json")
    most = _positive(environ, "ADDRESS_CONNECTIONS_MAX", Settings.address_connections_max)
    return Settings(api_url, log_format, most)


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise SettingsError(f"{name}: {text!r} must be a number from 1")
    return int(text)
