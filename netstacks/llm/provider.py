"""A configured provider as the calls need it."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

# What the Terminal client knows as types of providers (its picker ignores others).
ProviderType = Literal["anthropic", "openai", "openrouter", "ollama", "litellm", "custom"]
Dialect = Literal["messages", "chat_completions"]

DEFAULT_BASE_URLS: dict[ProviderType, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "ollama": "http://localhost:11434/v1",
}
"""Where a provider of a type is reached unless its entry says otherwise; the other types have no default."""


@dataclass(frozen=True, repr=False)
class Provider:
    """One entry of the administrator's list, with its key. `revision` changes with every change of the entry.

    Times are in seconds. `position` is its place in the order in which providers are tried. `models` are the names that
    clients may choose from, the first one being the default. 0 of a limit or a budget means that there is none.
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
        """What it speaks."""
        return "messages" if self.type == "anthropic" else "chat_completions"

    def model(self, hint: str | None) -> str:
        """The hinted model if this provider has it, else its default one."""
        return hint if hint in self.models else self.models[0]
