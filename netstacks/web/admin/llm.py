"""The providers of language models, the switch for AI, and what is removed from the texts that providers receive."""

from typing import Any

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page
from netstacks.web.admin.orders import orders

_TYPES = (
    ("anthropic", "Anthropic"),
    ("openai", "OpenAI"),
    ("openrouter", "OpenRouter"),
    ("ollama", "Ollama"),
    ("litellm", "LiteLLM"),
    ("custom", "Other server with the Chat Completions API"),
)
_CHANGEABLE = (
    "name",
    "base_url",
    "models",
    "enabled",
    "connect_secs",
    "first_token_secs",
    "total_secs",
    "max_concurrent",
    "daily_tokens",
    "version",
)


@blueprint.get("/llm")
def llm() -> str:
    providers = api().get("/api/v1/llm/providers")["items"]
    return render_page(
        "admin/llm.html",
        providers=[_with_forms(each, moves) for each, moves in zip(providers, orders(providers), strict=True)],
        switch=api().get("/api/v1/llm/settings"),
        redaction=api().get("/api/admin/sanitization/config"),
        types=_TYPES,
    )


def _with_forms(provider: dict[str, Any], moves: dict[str, Any]) -> dict[str, Any]:
    """A provider with the values of its form, and the orders in which it is one place earlier or later."""
    return {
        **provider,
        **moves,
        "values": {name: provider[name] for name in _CHANGEABLE},
        "may_trip": provider["enabled"] and any(each["state"] != "open" for each in provider["circuits"]),
        "may_reset": any(each["state"] != "closed" for each in provider["circuits"]),
    }
