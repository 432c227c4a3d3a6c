"""The pool's time limit in tests of the store."""

import pytest

from netstacks.store import pool


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of the machine takes no connection away, except in tests that use `product_limits`."""
    if "product_limits" not in request.fixturenames:
        monkeypatch.setattr(pool, "GET_CONNECTION_SECS", 30.0)


@pytest.fixture
def product_limits() -> None:
    """The time limit of the product: for tests in which there is no connection to be had."""
