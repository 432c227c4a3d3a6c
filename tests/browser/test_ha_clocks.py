"""The HA status page warns of clocks that differ."""

from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.test_clocks import needs_faketime, off_by
from tests.browser.browser import PHONE, Browser, unless_replaced
from tests.browser.ha import id_of, watch
from tests.controller import Controller, until
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
    off = id_of(cluster.controllers[2])
    watch(browser)
    browser.wait_for("Clocks differ")

    def warning() -> str:
        # What a heartbeat needed on its way counts as a difference.
        text = browser.find("p.warning").text
        return text if "is 40 s ahead" in text else ""

    told = until(lambda: unless_replaced(warning), "the difference in the warning", timeout_secs=60)
    assert f"{off} on " in told
    assert "Run a time service" in told
    browser.wait_for(f"The clock of {off} is 40 s ahead")
    browser.wait_for("agrees")
    browser.screenshot("ha-clocks")
    browser.resize(PHONE)
    browser.screenshot("ha-clocks-phone")
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.errors() == []
