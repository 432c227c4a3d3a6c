"""Fixtures for the tests of instances."""

import pytest

from tests.patience import wait_patiently


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of this machine fails no call to Valkey. A test in which a server hangs runs in a process of its own."""
    wait_patiently(monkeypatch)
