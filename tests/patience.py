"""More time for Valkey than this machine pauses, for tests that are not about the product's time limits."""

import pytest

from netstacks.registry import circuit_breaker, connection, sentinel

PATIENCE_SECS = 30.0


def wait_patiently(patch: pytest.MonkeyPatch) -> None:
    """Gives each call so much time, and the circuit breaker no reason to open."""
    for module, limit in (
        (connection, "CONNECT_SECS"),
        (connection, "REPLY_SECS"),
        (sentinel, "ANSWER_SECS"),
        (sentinel, "DISCOVERY_SECS"),
        (circuit_breaker, "HUNG_SECS"),
    ):
        patch.setattr(module, limit, PATIENCE_SECS)
