"""The HA status page while instances join, freeze, die and are drained, and while Valkey is away."""

import itertools
import re
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import HEARTBEAT_SECS, TTL_SECS, Cluster
from tests.browser.browser import PHONE, Browser
from tests.browser.ha import alarms, confirm, foreseen, id_of, is_healthy, note_alarms, row, said, soon, text_of, watch
from tests.controller import Api, Controller, until
from tests.postgres import Postgres

# Within how many heartbeats of the others a missing one is seen, and a loss: twice what it takes at most.
LATE = 2 * (2 + 1)
LOST = 2 * (TTL_SECS // HEARTBEAT_SECS + 2 + 1)


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    """The one that the browser talks to; it stays."""
    return cluster.controllers[0]


def test_a_killed_instance_stays_as_a_lost_one_until_another_replaces_it(
    browser: Browser, known_lab: str, cluster: Cluster
) -> None:
    _, b, _ = cluster.controllers
    killed = id_of(b)
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.new_tab()
    browser.open("/")
    browser.click("Admin")
    until(lambda: said(browser) == "Live", "the stream")
    for controller in cluster.controllers:
        browser.wait_for(id_of(controller))
    browser.wait_for("3 of 3 instances")
    until(lambda: "1 100 %" in browser.text, "the session in the distribution")
    until(lambda: "lab-1" in browser.text, "the session in the list")
    browser.screenshot("ha")

    b.kill()
    soon(cluster, lambda: re.search("late|lost", row(browser, killed)), "the missing heartbeat", beats=LATE)
    browser.screenshot("ha-late")
    soon(cluster, lambda: "lost" in row(browser, killed), "the loss", beats=LOST)
    browser.wait_for("Degraded")
    browser.wait_for("Lost instances")
    browser.screenshot("ha-lost")

    b.start()
    until(lambda: is_healthy(browser, id_of(b)), "the new instance")
    until(lambda: not row(browser, killed), "the loss is replaced")
    browser.wait_for("Degraded", gone=True)
    assert browser.errors() == []


def test_a_lost_instance_is_dismissed(browser: Browser, cluster: Cluster) -> None:
    _, b, _ = cluster.controllers
    killed = id_of(b)
    watch(browser)
    b.kill()
    browser.press(f"Dismiss {killed}")
    browser.wait_for(f"Dismiss {killed}?")
    browser.screenshot("ha-dismiss")
    confirm(browser)
    until(lambda: not row(browser, killed), "the row is gone")
    browser.wait_for("Lost instances", gone=True)
    b.start()
    browser.wait_for(id_of(b))


def test_a_frozen_instance_is_lost_and_returns(browser: Browser, cluster: Cluster) -> None:
    _, b, _ = cluster.controllers
    frozen = id_of(b)
    watch(browser)
    b.freeze()
    try:
        soon(cluster, lambda: "lost" in row(browser, frozen), "the loss", beats=LOST)
    finally:
        b.thaw()
    until(lambda: is_healthy(browser, frozen), "its return")
    browser.wait_for("Lost instances", gone=True)


def test_a_drain_is_foreseen_before_it_is_requested(browser: Browser, cluster: Cluster) -> None:
    _, _, c = cluster.controllers
    drained = id_of(c)
    watch(browser)
    browser.press(f"Drain {drained}")
    browser.wait_for(f"Drain {drained}?")
    foreseen(browser, "The instance has no sessions")
    until(lambda: browser.find("dialog[open] [type=submit]").is_enabled(), "the button can be pressed")
    browser.screenshot("ha-drain-dialog")
    # Only the dialog's button drains; opening and closing it does nothing.
    browser.type(Keys.ESCAPE)
    until(lambda: is_healthy(browser, drained), "its row")
    until(lambda: c.health().get("status") == "healthy", "its health")
    assert f"requested the drain of {drained}" not in text_of(browser, "ha-events")
    browser.press(f"Drain {drained}")
    confirm(browser)
    browser.wait_for(f"{drained} shut down")
    assert c.process is not None
    assert c.process.wait(60) == 0
    until(lambda: not row(browser, drained), "a drained instance is not lost")
    c.start()
    browser.wait_for(id_of(c))
    assert browser.errors() == []


def test_without_valkey_the_page_says_so_and_shows_what_was_last_seen(browser: Browser, cluster: Cluster) -> None:
    ids = [id_of(each) for each in cluster.controllers]
    watch(browser)
    note_alarms(browser)
    cluster.valkey.kill()
    browser.wait_for("Valkey does not answer")
    browser.wait_for("The state below is from")
    browser.wait_for("The figures are from")
    assert all(row(browser, each) for each in ids)
    browser.screenshot("ha-blind")
    # Longer than the TTL, by the clock that the page shows: a wait for nothing to happen needs a time.
    since = browser.run("return performance.now()")
    until(lambda: browser.run("return performance.now()") - since > 1500 * TTL_SECS, "more than a TTL", timeout_secs=60)
    cluster.valkey.start()
    browser.wait_for("Valkey does not answer", gone=True)
    until(lambda: all(is_healthy(browser, each) for each in ids), "all are healthy again")
    until(lambda: "3 of 3 instances" in browser.text, "the cluster is healthy")
    assert alarms(browser) == []


def test_selected_text_focus_and_open_details_survive_updates(browser: Browser, cluster: Cluster) -> None:
    own = id_of(cluster.controllers[0])
    watch(browser)
    browser.press(f"History of {own}")
    until(lambda: len(browser.driver.find_elements("css selector", ".uplot")) == 5, "five charts")
    browser.screenshot("ha-history")
    browser.run(
        """
        window.updates = 0;
        new MutationObserver(() => (window.updates += 1)).observe(document.getElementById("ha"),
          { subtree: true, childList: true, characterData: true, attributes: true });
        const cell = document.querySelector(`#row-${arguments[0]} td`);
        document.querySelector(`#row-${arguments[0]} a`).focus();
        window.cell = cell;
        getSelection().selectAllChildren(cell.closest("tr"));
        """,
        own,
    )
    selected = browser.run("return getSelection().toString()")
    assert own in selected
    until(lambda: browser.run("return window.updates") > 3, "updates")
    assert browser.run("return getSelection().toString()") == selected
    assert browser.run("return window.cell.isConnected")
    assert browser.driver.switch_to.active_element.accessible_name == f"History of {own}"
    assert browser.run("return document.getElementById(arguments[0]).open", f"history-{own}")
    assert len(browser.driver.find_elements("css selector", ".uplot")) == 5


def test_the_order_of_the_rows_is_the_same_everywhere_and_stays(browser: Browser, cluster: Cluster) -> None:
    order = "return [...document.querySelectorAll('#ha-instances tbody tr')].map((row) => row.id)"
    watch(browser)
    first = browser.run(order)
    assert len(first) == 3
    for controller, _ in itertools.product(cluster.controllers, range(2)):
        answer = controller.login().get("/api/v1/ha/status")
        assert [f"row-{each['id']}" for each in answer["instances"]] == first
    assert browser.run(order) == first


def test_the_page_is_complete_without_javascript(browser: Browser, cluster: Cluster) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open("/admin/ha?kind=joined")
        source = browser.driver.page_source
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Reload the page to see the current state." in source
    for text in (id_of(cluster.controllers[0]), "noeviction", "Oldest transaction", "Loop lag", "Session distribution"):
        assert text in source
    assert " joined" in source
    assert " shut down" not in source


def test_the_page_fits_a_phone(browser: Browser, cluster: Cluster) -> None:
    browser.resize(PHONE)
    watch(browser)
    browser.press(f"History of {id_of(cluster.controllers[0])}")
    browser.screenshot("ha-phone")
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]


def test_an_operator_sees_the_page_without_actions(stranger: Browser, admin: Api, cluster: Cluster) -> None:
    user = {"username": "olga", "display_name": "", "role": "operator", "password": "a password of hers"}
    admin.post("/api/users", user)
    stranger.log_in("olga", "a password of hers")
    watch(stranger)
    for controller in cluster.controllers:
        stranger.wait_for(id_of(controller))
    names = [each.accessible_name for each in stranger.driver.find_elements("css selector", "#ha button, #ha a")]
    assert f"History of {id_of(cluster.controllers[0])}" in names
    assert not [each for each in names if each.split()[0] in ("Drain", "Dismiss", "End", "Move", "Watch", "Stop")]
    stranger.screenshot("ha-operator")
