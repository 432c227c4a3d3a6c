"""Prometheus metrics of the recorder."""

from prometheus_client import Counter

STORED_BYTES = Counter("netstacks_recorder_stored_bytes", "Bytes of recordings stored in PostgreSQL, after compression")
FAILURES = Counter("netstacks_recorder_failures", "Attempts to store recordings that have failed")
