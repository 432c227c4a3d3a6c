"""The secrets of this environment, and their removal from what leaves it."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from netstacks import settings
from netstacks.errors import InvalidInput
from netstacks.llm import provider_file

# Variables that are not settings of ours, such as PGPASSWORD, may hold the same secrets.
_SECRET_NAME = re.compile(r"PASSW|PASS$|SECRET|TOKEN|CREDENTIAL|_KEY$|APIKEY$|_PW$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?:://|,)[^/@:?#,]*:([^@/]*)@|[?&]\w*password=([^&\s#]+)", re.IGNORECASE)
_URL_USER = re.compile(r"^(?:redis|valkey)\w*://([^/@:?#]+)@")
# Tokens and private keys, whether or not they are known.
_LOOKS_SECRET = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)
_HEX_KEY = re.compile(r"[0-9a-fA-F]{32,}")
# A shorter text occurs in ordinary words; urls.masked hides it where it is a password in a URL.
_SHORTEST = 4
_REMOVED = "***"


class Scrubber:
    """Removes every secret that the environment holds, in each form in which it may be written."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        found = {form for secret in _secrets(environ) for form in (secret, unquote(secret))}
        # The longest first: one secret may contain another.
        known = sorted((each for each in found if len(each) >= _SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_pattern, known)) or r"(?!)")

    def text(self, text: str) -> str:
        """`text` without secrets, and without what looks like one."""
        return self._pattern.sub(_REMOVED, _LOOKS_SECRET.sub(_REMOVED, text))

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, its keys included."""
        match value:
            case Mapping():
                return {self.text(str(key)): self.value(each) for key, each in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(each) for each in value]
            case None | bool():
                return value
            case int() | float():
                return value if self.text(str(value)) == str(value) else _REMOVED
            case _:
                return self.text(str(value))


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        is_file = name.endswith("_FILE")
        if _is_secret(name.removesuffix("_FILE")):
            text = _content(Path(value.strip())) if is_file else value.strip()
            yield from (text, *text.splitlines(), *_in_url(text), *_in_headers(text))
        yield from _in_url(value)
    path = environ.get("LLM_PROVIDERS_FILE", "").strip()
    if path:
        yield from _of_providers(Path(path))


def _is_secret(name: str) -> bool:
    ours = name.lower()
    if ours in settings.Settings.model_fields:
        return ours in settings.SECRETS
    return _SECRET_NAME.search(name) is not None


def _in_headers(text: str) -> Iterator[str]:
    """The values of `name=value,name=value`, and those without their scheme, as in `authorization=Bearer%20abc`."""
    values = [value.strip() for part in text.split(",") for _, is_pair, value in [part.partition("=")] if is_pair]
    yield from values
    yield from (token for value in values for _, _, token in [unquote(value).partition(" ")])


def _in_url(text: str) -> Iterator[str]:
    for found in _URL_PASSWORD.finditer(text):
        yield found[1] or found[2] or ""
    # Without a colon, a Valkey password looks like a user name.
    if user := _URL_USER.match(text):
        yield user[1]


def _of_providers(path: Path) -> Iterator[str]:
    try:
        yield from (key for _, key in provider_file.read(path) if key)
    except InvalidInput:
        # The file as a whole: nothing of it is in a bundle, and an error may quote any of its texts.
        yield from re.findall(r'"(?:key|api_key)"\s*:\s*"([^"]+)"', _content(path))


def _content(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _pattern(secret: str) -> str:
    """Matches the secret, each of its characters as it is, percent-encoded, or escaped as in JSON."""
    pattern = "".join(map(_any_form, secret))
    return f"(?i:{pattern})" if _HEX_KEY.fullmatch(secret) else pattern


def _any_form(character: str) -> str:
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    forms = {re.escape(character), f"(?i:{percent})", re.escape(json.dumps(character)[1:-1])}
    if character == " ":
        forms.add(r"\+")
    return f"(?:{'|'.join(sorted(forms))})"
