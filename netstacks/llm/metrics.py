"""Prometheus metrics of the language models."""

from prometheus_client import Counter, Histogram

from netstacks.llm.outcomes import Attempt

CIRCUIT_CHANGES = Counter(
    "netstacks_llm_circuit_changes",
    "Changes of state of a provider's circuit that this instance made",
    ["provider", "model", "state"],
)
_REQUESTS = Counter(
    "netstacks_llm_requests",
    "Calls to a provider: answered, abandoned by the caller, or the kind of the failure",
    ["provider", "outcome"],
)
_DURATION = Histogram(
    "netstacks_llm_duration_seconds",
    "Duration of the calls to a provider, to the end of the answer",
    ["provider"],
    buckets=(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0),
)
_TOKENS = Counter("netstacks_llm_tokens", "Tokens of the calls to a provider", ["provider", "kind"])


def count(attempt: Attempt) -> None:
    """Counts a finished call."""
    name = attempt.provider.name
    _REQUESTS.labels(name, attempt.outcome).inc()
    _DURATION.labels(name).observe(attempt.took_secs)
    _TOKENS.labels(name, "input").inc(attempt.usage.input_tokens)
    _TOKENS.labels(name, "output").inc(attempt.usage.output_tokens)
