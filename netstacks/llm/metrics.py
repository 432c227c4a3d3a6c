"""Prometheus metrics of the language models."""

from prometheus_client import Counter

CIRCUIT_CHANGES = Counter(
    "netstacks_llm_circuit_changes",
    "Changes of state of a provider's circuit that this instance made",
    ["provider", "model", "state"],
)
