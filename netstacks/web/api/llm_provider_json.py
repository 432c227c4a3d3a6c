"""A provider of language models in the API, as administrators see it."""

from datetime import UTC, datetime

from typing_extensions import TypedDict

from netstacks.cluster.circuits import CircuitState
from netstacks.formats import Timestamp, Uuid
from netstacks.llm.service import ModelCircuit
from netstacks.store.llm_providers import StoredProvider
from netstacks.store.llm_usage import Usage
from netstacks.web.context import services
from netstacks.web.http.outputs import finite, timestamp


class UsageToday(TypedDict):
    """The calls of today, how many of them failed, and the tokens that the provider counted."""

    requests: int
    failures: int
    input_tokens: int
    output_tokens: int


class CircuitJson(TypedDict):
    """The circuit breaker of a model, which all instances share."""

    model: str
    state: CircuitState
    failures: int
    """In a row."""
    reason: str
    """Why it is open; empty while it is closed."""
    opened_at: Timestamp | None
    next_probe_at: Timestamp | None
    retry_after_secs: float


class LlmProviderJson(TypedDict):
    """A provider without its key. `requests`, `failures` and the durations are of recent calls of this instance."""

    id: Uuid
    name: str
    type: str
    base_url: str
    models: list[str]
    """The first one is the default."""
    has_key: bool
    enabled: bool
    position: int
    connect_secs: float | None
    """Null for the default, as for the other times."""
    first_token_secs: float | None
    total_secs: float | None
    max_concurrent: int
    """0 for no limit."""
    daily_tokens: int
    """0 for no limit."""
    updated_at: Timestamp
    updated_by: str
    version: int
    """Goes up with each change. A change that sends an older one is refused."""
    problem: str | None
    """Why it cannot be used."""
    today: UsageToday
    circuits: list[CircuitJson]
    requests: int
    failures: int
    p50_secs: float | None
    """The median duration."""
    p95_secs: float | None


class LlmProviders(TypedDict):
    items: list[LlmProviderJson]


def as_json(provider: StoredProvider, used: Usage) -> LlmProviderJson:
    """A provider without its key. `used` is its usage today."""
    state = services().llm.state_of(provider.id)
    return {
        "id": str(provider.id),
        "name": provider.name,
        "type": provider.type,
        "base_url": provider.base_url,
        "models": provider.models,
        "has_key": provider.has_key,
        "enabled": provider.enabled,
        "position": provider.position,
        "connect_secs": finite(provider.connect_secs),
        "first_token_secs": finite(provider.first_token_secs),
        "total_secs": finite(provider.total_secs),
        "max_concurrent": provider.max_concurrent,
        "daily_tokens": provider.daily_tokens,
        "updated_at": timestamp(provider.updated_at),
        "updated_by": provider.updated_by,
        "version": provider.revision,
        "problem": services().llm.directory.problem(provider.id),
        "today": {
            "requests": used.requests,
            "failures": used.failures,
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
        },
        "circuits": [_circuit(each) for each in state["circuits"]],
        "requests": state["requests"],
        "failures": state["failures"],
        "p50_secs": state["p50_secs"],
        "p95_secs": state["p95_secs"],
    }


def _circuit(circuit: ModelCircuit) -> CircuitJson:
    return {
        "model": circuit["model"],
        "state": circuit["state"],
        "failures": circuit["failures"],
        "reason": circuit["reason"],
        "opened_at": _moment(circuit["opened_at"]),
        "next_probe_at": _moment(circuit["next_probe_at"]),
        "retry_after_secs": circuit["retry_after_secs"],
    }


def _moment(secs: float | None) -> str | None:
    return timestamp(datetime.fromtimestamp(secs, UTC)) if secs else None
