"""Registries under test. `age` makes an instance look as if its last heartbeat had been so much earlier."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import pytest

from netstacks.registry import keys
from netstacks.registry.base import Registry
from netstacks.registry.connection import connect
from netstacks.registry.memory import MemoryRegistry
from netstacks.registry.valkey import ValkeyRegistry
from tests.patience import wait_patiently
from tests.valkey import Valkey, needs_redis


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of the machine fails no call, except in tests that use `product_limits`."""
    if "product_limits" not in request.fixturenames:
        wait_patiently(monkeypatch)


@pytest.fixture
def product_limits() -> None:
    """The time limits of the product: for tests in which a server hangs."""


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Valkey]:
    """One server for all tests that leave it running."""
    server = Valkey().start()
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Valkey]:
    """The same with Debian's Redis."""
    server = Valkey(program=needs_redis()).start()
    yield server
    server.destroy()


@dataclass
class Lab:
    registry: Registry
    age: Callable[[str, float], None]
    slack_secs: float
    """How far the registry's clock may move during a test, beside what `age` does."""


@pytest.fixture(params=["memory", "valkey", "redis"])
def lab(request: pytest.FixtureRequest) -> Lab:
    if request.param == "memory":
        return _memory()
    return _valkey(cast(Valkey, request.getfixturevalue(f"shared_{request.param}")))


def _memory() -> Lab:
    clock = [1_700_000_000.0]
    registry = MemoryRegistry(lambda: clock[0])

    def age(instance_id: str, secs: float) -> None:
        clock[0] += secs
        for other in registry.snapshot().instances:
            if other != instance_id:
                registry.heartbeat(other)

    return Lab(registry, age, 0.0)


def _valkey(server: Valkey) -> Lab:
    client = connect(server.url)
    client.flushall()

    def age(instance_id: str, secs: float) -> None:
        client.zincrby(keys.INSTANCES, -secs, instance_id)

    return Lab(ValkeyRegistry(client), age, 20.0)


@pytest.fixture
def registry(lab: Lab) -> Registry:
    return lab.registry
