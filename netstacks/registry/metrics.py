"""Prometheus metrics of the connections to Valkey."""

from prometheus_client import Histogram

WAIT_SECS = Histogram(
    "netstacks_registry_wait_seconds",
    "Wait of a call for a free connection to Valkey",
    buckets=(0.001, 0.005, 0.025, 0.05, 0.1, 0.2),
)
