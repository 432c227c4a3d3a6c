"""The HA status page in both themes and on both sizes of screen: whole, and usable with assistive technology."""

import json
from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.browser.browser import PHONE, Browser, unless_replaced
from tests.browser.ha import WIDE, findings, id_of, row, shoot, text_of, watch, write_an_hour
from tests.controller import Controller, until
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3) as cluster:
        write_an_hour(cluster)
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    return cluster.controllers[0]


@pytest.fixture(scope="module")
def lost(cluster: Cluster) -> str:
    """The id of an instance that was lost."""
    third = cluster.controllers[2]
    instance_id = id_of(third)
    third.kill()
    return instance_id


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("wide", WIDE), ("phone", PHONE)])
def test_the_page_is_whole_and_accessible(
    browser: Browser, known_lab: str, cluster: Cluster, lost: str, scheme: str, device: str, size: tuple[int, int]
) -> None:
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.new_tab()
    browser.prefer(scheme)
    browser.resize(size)
    watch(browser)
    own = id_of(cluster.controllers[0])
    until(lambda: "lost" in row(browser, lost), "the loss", timeout_secs=60)
    until(lambda: "lab-1" in text_of(browser, "ha-sessions"), "the session")
    until(lambda: " ms" in row(browser, own), "the first figures", timeout_secs=60)
    drawn = "return document.querySelectorAll(`#history-${arguments[0]} .spark`).length"
    until(lambda: browser.run(drawn, own) == 5, "a small chart of each series")
    browser.press(f"History of {own}")
    until(lambda: len(browser.driver.find_elements("css selector", ".uplot")) == 5, "the charts")
    shoot(browser, f"ha-{device}-{scheme}", size)
    assert findings(browser) == [], json.dumps(findings(browser), indent=1)
    assert browser.run("return document.documentElement.scrollWidth") <= size[0]

    browser.press(f"Drain {own}")
    until(lambda: browser.find("dialog[open] [type=submit]").is_enabled(), "the forecast")
    browser.screenshot(f"ha-dialog-{device}-{scheme}")
    assert findings(browser) == [], "in the dialog"
    assert browser.errors() == []


def test_everything_can_be_reached_with_the_keyboard(browser: Browser, cluster: Cluster, lost: str) -> None:
    watch(browser)
    until(lambda: "lost" in row(browser, lost), "the loss", timeout_secs=60)

    def are_all_reached() -> bool:
        for element in browser.driver.find_elements("css selector", "#ha a, #ha button, #ha select, #ha summary"):
            assert element.accessible_name, element.get_attribute("outerHTML")
            assert browser.run("arguments[0].focus(); return document.activeElement === arguments[0]", element)
        return True

    until(lambda: unless_replaced(are_all_reached), "the end of the page", timeout_secs=90)
