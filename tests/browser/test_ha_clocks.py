"""The HA status page warns of clocks that differ."""

from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.test_clocks import needs_faketime, off_by
from tests.browser.browser import PHONE, Browser
from tests.browser.ha import watch
from tests.controller import Controller
from tests.postgres import Postgres

pytestmark = needs_faketime


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    """Three instances; the clock of the last one is off."""
    cluster = Cluster(postgres, 3)
    cluster.controllers[2].environ |= off_by(40)
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    """The one that the browser talks to."""
    return cluster.controllers[0]


def test_the_page_names_the_instance_and_what_to_do(browser: Browser, cluster: Cluster) -> None:
    off = cluster.controllers[2].health()["instance_id"]
    watch(browser)
    browser.wait_for("Clocks differ")
    warning = browser.find("p.warning").text
    assert f"{off} on " in warning
    assert "is 40 s ahead" in warning
    assert "Run a time service" in warning
    browser.wait_for(f"The clock of {off} is 40 s ahead")
    browser.wait_for("agrees")
    browser.screenshot("ha-clocks")
    browser.resize(PHONE)
    browser.screenshot("ha-clocks-phone")
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.errors() == []
