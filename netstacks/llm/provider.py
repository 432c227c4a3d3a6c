"""A configured provider with the values that calls need."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

# The provider types of the Terminal client, whose picker ignores others.
ProviderType = Literal["anthropic", "openai", "openrouter", "ollama", "litellm", "custom"]
Dialect = Literal["messages", "chat_completions"]

DEFAULT_BASE_URLS: dict[ProviderType, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "ollama": "http://localhost:11434/v1",
}
"""The base URL of a type unless an entry names another; the remaining types have no default."""


@dataclass(frozen=True, repr=False)
class Provider:
    """One entry of the administrator's list, with its key. `revision` changes with every change of the entry.

    Times are in seconds. Providers are tried in the order of `position`. `models` are the names that clients may
    choose from; the first is the default. 0 for `max_concurrent` or `daily_tokens` means no limit.
    """

    id: UUID
    revision: int
    name: str
    type: ProviderType
    base_url: str
    models: tuple[str, ...]
    key: str | None
    position: int
    enabled: bool
    connect_secs: float
    first_token_secs: float
    total_secs: float
    max_concurrent: int
    daily_tokens: int

    @property
    def dialect(self) -> Dialect:
        """The API of the provider."""
        return "messages" if self.type == "anthropic" else "chat_completions"

    def model(self, hint: str | None) -> str:
        """The hinted model if this provider has it, else the default."""
        return hint if hint in self.models else self.models[0]
