"""Validation of provider entries, from the API and from the providers file alike.

The settings import this module before gevent patches the process, so it must not import networking code.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from netstacks import urls
from netstacks.errors import InvalidInput
from netstacks.llm.provider import DEFAULT_BASE_URLS, ProviderType

MAX_CONCURRENT = 16
"""The default limit of concurrent calls to a provider per instance."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


def _key(text: str) -> str:
    # The key is sent in a header.
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must be printable ASCII without spaces, as the provider has issued it")
    return text


def _base_url(text: str) -> str:
    try:
        return text and check_base_url(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def _different(models: list[str]) -> list[str]:
    if len(set(models)) < len(models):
        raise ValueError("must not name a model twice")
    return models


def check_base_url(text: str) -> str:
    """The URL without its trailing slash. Raises InvalidInput, whose text contains no secret.

    Addresses of the internal network are allowed, because models may run there: only administrators set the URL.
    """
    url = urls.parse(text, ("http", "https"), "https://llm.example.net/v1", ())
    if url.username is not None:
        raise InvalidInput("must not contain a user or a password: the key is a separate member")
    if "?" in text:
        raise InvalidInput("must end with its path: a base URL has no '?' and no parameters")
    [*others, (host, _)] = url.hosts
    if others or not host or "/" in host or "%" in host:
        raise InvalidInput("must name one host, such as https://llm.example.net/v1")
    return text.rstrip("/")


def base_url_of(provider_type: ProviderType, base_url: str) -> str:
    """The given base URL, or else the default of the type. Raises InvalidInput when the type has none."""
    found = base_url or DEFAULT_BASE_URLS.get(provider_type)
    if found is None:
        raise InvalidInput(f"base_url: is missing, the type {provider_type} has no default")
    return found


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_printable)
]
BaseUrl = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000), AfterValidator(_base_url)]
Models = Annotated[
    list[
        Annotated[
            str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
        ]
    ],
    Field(min_length=1, max_length=50),
    AfterValidator(_different),
]
Key = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4096), AfterValidator(_key)]
# Below the 130 s that the load balancers wait for an answer.
Seconds = Annotated[float, Field(ge=0.1, le=120, allow_inf_nan=False)]


class ProviderFacts(BaseModel):
    """The mutable members, documented at `Provider`.

    A time of None means the default of the settings, an empty base URL the default of the type.
    """

    name: Name = ""
    base_url: BaseUrl = ""
    models: Models = Field(default_factory=list)
    enabled: bool = True
    connect_secs: Seconds | None = None
    first_token_secs: Seconds | None = None
    total_secs: Seconds | None = None
    max_concurrent: int = Field(MAX_CONCURRENT, ge=0, le=10_000)
    daily_tokens: int = Field(0, ge=0, le=10**15)


class NewProvider(ProviderFacts):
    """A new provider; the base URL may be omitted where the type has a default."""

    name: Name
    type: ProviderType
    models: Models
    key: Key | None = None

    def facts(self) -> dict[str, Any]:
        """All members except the key, for storage. Raises InvalidInput when there is no base URL."""
        return {**self.model_dump(exclude={"key"}), "base_url": base_url_of(self.type, self.base_url)}
