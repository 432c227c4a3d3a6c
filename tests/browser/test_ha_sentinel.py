"""The HA status page of a cluster behind Sentinels: their panel, and a failover that alarms nobody."""

from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.browser.browser import Browser
from tests.browser.ha import WIDE, alarms, id_of, is_healthy, note_alarms, shoot, text_of, watch
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.valkey import SentinelCluster


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelCluster]:
    with SentinelCluster() as sentinels:
        yield sentinels


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, sentinels: SentinelCluster) -> Iterator[Cluster]:
    with Cluster(postgres, 2, sentinels) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    return cluster.controllers[0]


def panel(browser: Browser) -> str:
    """The text of Valkey's panel."""
    text: str = browser.run("return document.getElementById('valkey-heading').closest('section').innerText")
    return text


def test_the_panel_names_the_sentinels_and_the_replicas(browser: Browser, sentinels: SentinelCluster) -> None:
    watch(browser)

    def whole() -> str:
        """The panel, when the three Sentinels have answered and both replicas follow."""
        shown = panel(browser)
        is_whole = "a failover is possible" in shown and shown.count("online") == 2 and shown.count("sees ") == 3
        return shown if is_whole else ""

    shown = until(whole, "the Sentinels' answers and both replicas", timeout_secs=60)
    for each in (*sentinels.nodes, *sentinels.sentinels):
        assert f"127.0.0.1:{each.port}" in shown
    assert f"Sentinels of {SentinelCluster.MASTER_NAME}" in shown
    assert "Quorum 2 of 3" in shown
    shoot(browser, "ha-sentinel", WIDE)


def test_a_failover_is_an_event_and_no_alarm(browser: Browser, cluster: Cluster, sentinels: SentinelCluster) -> None:
    watch(browser)
    ids = [id_of(each) for each in cluster.controllers]
    until(lambda: all(is_healthy(browser, each) for each in ids), "rest")
    note_alarms(browser)
    old = sentinels.primary()
    former = f"127.0.0.1:{old.port}"
    old.kill()
    try:
        until(lambda: sentinels.primary() is not old, "the failover", timeout_secs=60)
        address = f"127.0.0.1:{sentinels.primary().port}"
        until(lambda: f"from {former} to {address}" in panel(browser), "the last failover", timeout_secs=60)
        until(lambda: all(each in text_of(browser, "ha-events") for each in (former, address)), "its event")
    finally:
        old.start()
    until(lambda: panel(browser).count("online") == 2, "the former primary is a replica", timeout_secs=60)
    until(lambda: all(is_healthy(browser, each) for each in ids), "all are healthy", timeout_secs=60)
    until(lambda: "2 of 2 instances" in browser.text, "the cluster is healthy", timeout_secs=60)
    shoot(browser, "ha-failover", WIDE)
    # The headline may say that Valkey is away; no instance is called dead for it.
    assert alarms(browser) == []
