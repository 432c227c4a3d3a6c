"""A primary with replicas and Sentinels, and their faults."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from netstacks.errors import RegistryUnavailable
from netstacks.registry import addresses
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey import ValkeyRegistry, open_registry
from tests.cluster.facts import SESSION, instance, record
from tests.ports import free_port
from tests.registry.answers import answered
from tests.valkey import SentinelCluster, needs_redis
from tests.waits import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["valkey", "redis"])
def cluster(request: pytest.FixtureRequest) -> Iterator[SentinelCluster]:
    with SentinelCluster(program=needs_redis() if request.param == "redis" else None) as cluster:
        yield cluster


def through(cluster: SentinelCluster, name: str = SentinelCluster.MASTER_NAME) -> ValkeyRegistry:
    return open_registry(None, cluster.url, name)


def refusal(registry: ValkeyRegistry) -> str:
    with pytest.raises(RegistryUnavailable) as caught:
        registry.now()
    assert registry.status().error == str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("state", [{}, {"ip": "x", "port": "many", "config-epoch": "1"}], ids=["nothing", "no port"])
def test_a_sentinel_that_is_not_understood_is_named(monkeypatch: pytest.MonkeyPatch, state: dict[str, str]) -> None:
    client = SimpleNamespace(
        close=lambda: None,
        sentinel_master=lambda name: state,
        sentinel_slaves=lambda name: [],
        sentinel_ckquorum=lambda name: True,
    )
    monkeypatch.setattr("netstacks.registry.sentinel.connect_to", lambda endpoint: client)
    sentinels = Sentinels(addresses.parse("redis://127.0.0.1:1"), SentinelCluster.MASTER_NAME)
    for ask in (sentinels.discover, sentinels.report):
        with pytest.raises(RegistryUnavailable, match=r"the answer of Sentinel 127\.0\.0\.1:1 is malformed"):
            ask()


@pytest.mark.usefixtures("product_limits")
@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_the_new_primary_is_found_and_the_thawed_old_one_is_not(cluster: SentinelCluster, fault: str) -> None:
    registry = through(cluster)
    answered(lambda: registry.register(instance("a")))
    before = answered(lambda: registry.heartbeat("a"))
    old = cluster.primary()
    getattr(old, fault)()
    answered(lambda: registry.register(instance("a")))
    cluster.keep_primary()
    assert answered(lambda: registry.heartbeat("a")).server != before.server
    assert answered(lambda: registry.publish(record("a"))) == ["published"]
    if fault == "freeze":
        old.thaw()
    else:
        old.start()
    until(lambda: cluster.primary() is not old, "the last Sentinel's knowledge of it")
    assert answered(lambda: registry.session(SESSION)) == record("a")
    assert address_of(registry) == f"127.0.0.1:{cluster.primary().port}" != f"127.0.0.1:{old.port}"
    assert answered(lambda: registry.heartbeat("a")).address == address_of(registry)


def address_of(registry: ValkeyRegistry) -> str:
    return str(until(lambda: registry.status().figures, "the figures").address)


@pytest.mark.usefixtures("product_limits")
def test_a_frozen_first_sentinel_delays_nothing_for_long(
    cluster: SentinelCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the limit of each question ends the wait for the frozen one.
    monkeypatch.setattr("netstacks.registry.sentinel.DISCOVERY_SECS", 3600.0)
    primary = cluster.primary()
    cluster.sentinels[0].freeze()
    sentinels = Sentinels(addresses.parse(cluster.url), SentinelCluster.MASTER_NAME)
    assert answered(sentinels.discover) == ("127.0.0.1", primary.port)
    cluster.sentinels[0].thaw()


@pytest.mark.usefixtures("product_limits")
def test_a_primary_that_is_cut_off_with_a_minority_of_sentinels_takes_nothing(cluster: SentinelCluster) -> None:
    """So nothing is written there that is lost when the partition ends (docs/design-notes.md, 3)."""
    registry = through(cluster)
    answered(lambda: registry.register(instance("a")))
    lone, primary = cluster.sentinels[0], cluster.primary()
    away = [each for each in (*cluster.nodes, *cluster.sentinels) if each not in (lone, primary)]
    for server in away:
        server.freeze()
    until(lambda: "NOREPLICAS" in why_refused(registry), "a primary that notices its loneliness")
    for server in away:
        server.thaw()
    assert answered(lambda: registry.heartbeat("a")).state == "active"


def why_refused(registry: ValkeyRegistry) -> str:
    try:
        registry.heartbeat("a")
    except RegistryUnavailable as error:
        return str(error)
    return ""


def test_wrong_names_wrong_passwords_and_silence_are_told_apart() -> None:
    cluster = SentinelCluster(password="right").start()
    try:
        assert "VALKEY_SENTINEL_MASTER_NAME" in refusal(through(cluster, "MyMaster"))
        wrong = cluster.url.replace("right", "wrong-secret")
        told = refusal(open_registry(None, wrong, SentinelCluster.MASTER_NAME))
        assert "refuses the password" in told
        assert "wrong-secret" not in told
        # The nodes ask for none, which VALKEY_URL says.
        registry = open_registry("redis://nodes", cluster.url, SentinelCluster.MASTER_NAME)
        answered(lambda: registry.register(instance("a")))
        assert registry.status().mode == "sentinel"
    finally:
        cluster.destroy()
    absent = open_registry(None, f"redis://127.0.0.1:{free_port()}", "mymaster")
    assert "unreachable" in refusal(absent)
