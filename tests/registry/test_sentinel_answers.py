"""Which node the answers of the Sentinels lead to, and when a connection leaves a node.

The Sentinels are fakes; the nodes are real.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from netstacks import greenlets
from netstacks.errors import RegistryUnavailable
from netstacks.registry.addresses import Endpoint
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey import ValkeyRegistry, open_registry
from tests.cluster.facts import instance
from tests.valkey import Valkey

MASTER_NAME = "mymaster"
OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)

Answer = Callable[[], dict[str, str]]


def names(address: tuple[str, int], config_epoch: int, *, after_secs: float = 0.0) -> Answer:
    """A Sentinel that names `address` as the primary since `config_epoch`."""

    def answer() -> dict[str, str]:
        greenlets.sleep(after_secs)
        return {"ip": address[0], "port": str(address[1]), "config-epoch": str(config_epoch)}

    return answer


def knows_nothing() -> dict[str, str]:
    return {}


@pytest.fixture
def sentinels(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """What each Sentinel answers, by its port: the first one has port 1."""
    answers: list[Answer] = []

    def client(endpoint: Endpoint) -> Any:
        return SimpleNamespace(close=lambda: None, sentinel_master=lambda _: answers[endpoint.port - 1]())

    monkeypatch.setattr("netstacks.registry.sentinel.connect_to", client)
    return answers


def discovered(answers: list[Answer]) -> tuple[str, int]:
    endpoints = tuple(Endpoint("127.0.0.1", port) for port in range(1, len(answers) + 1))
    return Sentinels(endpoints, MASTER_NAME).discover()


@pytest.mark.parametrize("newest_comes", ["first", "last"])
def test_the_primary_of_the_newest_configuration_is_used(sentinels: list[Answer], newest_comes: str) -> None:
    """9 and 10: epochs are compared as numbers."""
    sentinels += [names(OLD, 9), names(NEW, 10)]
    if newest_comes == "first":
        sentinels.reverse()
    assert discovered(sentinels) == NEW


def test_the_first_answer_does_not_decide_before_a_majority_has_answered(sentinels: list[Answer]) -> None:
    sentinels += [names(OLD, 1), names(NEW, 2, after_secs=0.05), names(NEW, 2, after_secs=30)]
    assert discovered(sentinels) == NEW


def test_a_minority_decides_when_the_others_name_no_primary(sentinels: list[Answer]) -> None:
    sentinels += [knows_nothing, names(NEW, 2, after_secs=0.05), knows_nothing]
    assert discovered(sentinels) == NEW


@pytest.fixture
def nodes() -> Iterator[tuple[Valkey, Valkey]]:
    """Two nodes that are both primaries until a test makes one a replica."""
    both = Valkey(), Valkey()
    try:
        for node in both:
            node.start()
        yield both
    finally:
        for node in both:
            node.destroy()


def at(node: Valkey, config_epoch: int) -> Answer:
    return names(("127.0.0.1", node.port), config_epoch)


def command(node: Valkey, *words: str) -> None:
    with Redis(port=node.port) as client:
        client.execute_command(*words)


def through(sentinels: list[Answer]) -> ValkeyRegistry:
    assert len(sentinels) == 1
    return open_registry(None, "redis://127.0.0.1:1", MASTER_NAME)


def test_a_node_that_is_no_primary_is_not_used(sentinels: list[Answer], nodes: tuple[Valkey, Valkey]) -> None:
    """A Sentinel that was cut off may name a node that has been replaced."""
    primary, replica = nodes
    command(replica, "REPLICAOF", "127.0.0.1", str(primary.port))
    sentinels += [at(replica, 1)]
    registry = through(sentinels)
    with pytest.raises(RegistryUnavailable, match=rf"127\.0\.0\.1:{replica.port} is not a primary but a slave"):
        registry.now()
    sentinels[0] = at(primary, 1)
    assert registry.now() > 0


@pytest.mark.parametrize("error", ["read only replica", "NOREPLICAS"])
def test_a_connection_leaves_a_node_that_takes_no_writes(
    sentinels: list[Answer], nodes: tuple[Valkey, Valkey], error: str
) -> None:
    """No announcement of the change is heard here: only the answer of the node tells."""
    former, new = nodes
    sentinels += [at(former, 1)]
    registry = through(sentinels)
    registry.register(instance("a"))
    sentinels[0] = at(new, 2)
    if error == "read only replica":
        command(former, "REPLICAOF", "127.0.0.1", str(new.port))
    else:
        command(former, "CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(RegistryUnavailable, match=error):
        registry.register(instance("b"))
    registry.register(instance("b"))
    assert registry.instance("b") is not None
    figures = registry.status().figures
    assert figures is not None
    assert figures.address == f"127.0.0.1:{new.port}"
