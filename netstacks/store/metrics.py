"""Prometheus metrics of the connections to PostgreSQL."""

from prometheus_client import Histogram

WAIT_SECS = Histogram(
    "netstacks_database_wait_seconds",
    "Wait of a transaction for a connection to PostgreSQL, by pool",
    ["pool"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0),
)
