"""The HA status page of a quiet cluster for SOAK_SECONDS: it stays healthy, connected and in order.

A busy machine lets a process stand still now and then. The page rightly says so, which proves nothing: such a time
does not count.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
import requests
from psycopg import connect

from tests.acceptance.cluster import Cluster
from tests.browser.browser import Browser
from tests.browser.ha import alarms, id_of, is_healthy, note_alarms, watch
from tests.controller import Controller, until
from tests.postgres import Postgres

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
_LOOK_SECS = 5
# An instance waits a little longer for Valkey; the page may tell of it so much later.
_PAUSE_SECS, _TOLD_WITHIN_SECS = 0.8, 10

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


class Pulse(threading.Thread):
    """Asks a process all the time whether it is there."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self._answered_at = time.monotonic()
        self._paused_at = 0.0
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.1):
            self._ask()
            self._paused_at, self._answered_at = self.paused_at(), time.monotonic()

    def paused_at(self) -> float:
        """When the process stood still at last, by the monotonic clock."""
        now = time.monotonic()
        return now if now - self._answered_at > _PAUSE_SECS else self._paused_at

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@pytest.fixture
def pulses(cluster: Cluster) -> Iterator[list[Pulse]]:
    """Those of all processes that the page tells of."""
    with redis.Redis.from_url(cluster.valkey.url) as client, connect(cluster.database_url, autocommit=True) as database:
        instances = (partial(requests.get, f"{each.url}/health", timeout=60) for each in cluster.controllers)
        pulses = [Pulse(ask) for ask in (client.ping, partial(database.execute, "SELECT 1"), *instances)]
        for each in pulses:
            each.start()
        yield pulses
        for each in pulses:
            each.stop()


def begin(browser: Browser, ids: list[str]) -> None:
    """Opens the page, waits for rest, and notes from then on what the page says."""
    watch(browser)
    until(lambda: all(is_healthy(browser, each) for each in ids), "rest", timeout_secs=60)
    browser.wait_for("3 of 3 instances")
    headline = "return document.querySelector('.condition strong').textContent.trim()"
    until(lambda: browser.run(headline) == "Healthy", "a healthy cluster", timeout_secs=60)
    note_alarms(browser)
    browser.run(_LISTEN)


def look(browser: Browser) -> dict[str, list[Any]]:
    """All that the page has said since `begin`, after some more updates."""
    updates = browser.run("return window.updates")
    ends_at = time.monotonic() + _LOOK_SECS
    until(lambda: time.monotonic() > ends_at, "the end", _LOOK_SECS + 60)
    until(lambda: browser.run("return window.updates") > updates, "updates")
    seen = browser.run("return Object.fromEntries(Object.entries(window.seen).map(([name, all]) => [name, [...all]]))")
    rows = [sorted(order.split()) for order in seen.pop("orders")]
    return {**seen, "rows": rows, "alarms": alarms(browser), "errors": browser.errors()}


@pytest.mark.soak
@pytest.mark.timeout(2 * SOAK_SECONDS + 380)
def test_a_quiet_cluster_stays_quiet(browser: Browser, cluster: Cluster, pulses: list[Pulse]) -> None:
    ids = [id_of(each) for each in cluster.controllers]
    # One order of the rows.
    quiet = {"connections": ["Live"], "headlines": ["Healthy"], "rows": [sorted(f"row-{each}" for each in ids)]}
    quiet |= {"alarms": [], "errors": []}
    quiet_secs = 0.0
    begin(browser, ids)
    while quiet_secs < SOAK_SECONDS:
        began_at = time.monotonic()
        if (seen := look(browser)) == quiet:
            quiet_secs += _LOOK_SECS
            continue
        paused_at = max(each.paused_at() for each in pulses)
        assert paused_at > began_at - _TOLD_WITHIN_SECS, f"{seen} though no process stood still"
        begin(browser, ids)
