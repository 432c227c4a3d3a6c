"""The HA status page while instances join, leave and are drained."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import Cluster
from tests.browser.browser import PHONE, Browser
from tests.controller import Controller, until
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    """The one that the browser talks to; it stays."""
    return cluster.controllers[0]


def test_the_page_follows_the_cluster(browser: Browser, known_lab: str, cluster: Cluster) -> None:
    _, b, c = cluster.controllers
    killed, drained = b.health()["instance_id"], c.health()["instance_id"]
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.new_tab()
    browser.open("/")
    browser.click("HA status")
    browser.wait_for("Live")
    for controller in cluster.controllers:
        browser.wait_for(controller.health()["instance_id"])
    browser.wait_for("serves this page")
    until(lambda: "1 100 %" in browser.text, "the session in the distribution")
    browser.screenshot("ha")

    b.kill()
    browser.wait_for("no heartbeat for")
    browser.screenshot("ha-late")
    browser.wait_for(f"{killed} was declared dead by")
    browser.screenshot("ha-reaped")

    browser.click(f"Drain {drained}")
    browser.wait_for(f"Drain {drained}?")
    browser.screenshot("ha-drain-dialog")
    browser.find("dialog[open] button[type=submit]").send_keys(Keys.ENTER)
    browser.wait_for(f"{drained} shut down cleanly")
    assert c.process is not None
    assert c.process.wait(30) == 0

    b.start()
    browser.wait_for(f"{b.health()['instance_id']} joined")
    assert browser.errors() == []
    browser.resize(PHONE)
    browser.screenshot("ha-phone")
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]


def test_without_valkey_the_page_says_so_and_shows_what_was_last_seen(browser: Browser, cluster: Cluster) -> None:
    browser.open("/ha")
    browser.wait_for("Live")
    cluster.valkey.kill()
    browser.wait_for("Valkey does not answer")
    browser.wait_for("The state below is from")
    assert cluster.controllers[0].health()["instance_id"] in browser.text
    browser.screenshot("ha-blind")
    cluster.valkey.start()
    browser.wait_for("Valkey does not answer", gone=True)


def test_the_page_is_complete_without_javascript(browser: Browser, cluster: Cluster) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open("/ha")
        source = browser.driver.page_source
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert cluster.controllers[0].health()["instance_id"] in source
    assert "Reload the page to see the current state." in source
