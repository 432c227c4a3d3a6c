"""The HA status page of a quiet cluster for SOAK_SECONDS: it stays healthy, connected and in order."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.browser.browser import Browser
from tests.browser.ha import alarms, id_of, is_healthy, note_alarms, said, watch
from tests.controller import Controller, until
from tests.postgres import Postgres

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))

# Notes each new order of the rows, each word of the headline and each text about the connection.
_LISTEN = """
const ids = () => [...document.querySelectorAll("#ha-instances tbody tr")].map((row) => row.id).join(" ");
const headline = () => document.querySelector(".condition strong").textContent.trim();
const connection = () => document.getElementById("live").textContent;
window.seen = { orders: new Set(), headlines: new Set(), connections: new Set() };
window.updates = 0;
const look = () => {
  window.updates += 1;
  window.seen.orders.add(ids());
  window.seen.headlines.add(headline());
  window.seen.connections.add(connection());
};
look();
new MutationObserver(look).observe(document.getElementById("main"),
  { subtree: true, childList: true, characterData: true, attributes: true });
"""


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    return cluster.controllers[0]


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS + 300)
def test_a_quiet_cluster_stays_quiet(browser: Browser, cluster: Cluster) -> None:
    watch(browser)
    ids = [id_of(each) for each in cluster.controllers]
    until(lambda: all(is_healthy(browser, each) for each in ids), "rest")
    browser.wait_for("3 of 3 instances")
    note_alarms(browser)
    browser.run(_LISTEN)
    ends_at = time.monotonic() + SOAK_SECONDS
    until(lambda: time.monotonic() > ends_at, "the end", SOAK_SECONDS + 60)
    until(lambda: browser.run("return window.updates") > 3, "updates")
    assert alarms(browser) == []
    assert said(browser) == "Live"
    seen = browser.run("return Object.fromEntries(Object.entries(window.seen).map(([name, all]) => [name, [...all]]))")
    assert seen["connections"] == ["Live"]
    assert seen["headlines"] == ["Healthy"]
    assert len(seen["orders"]) == 1
    assert sorted(seen["orders"][0].split()) == sorted(f"row-{each}" for each in ids)
    assert browser.errors() == []
