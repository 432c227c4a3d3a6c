"""A drain from the HA status page and the death of an instance: what becomes of the sessions."""

from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster, come_back
from tests.browser.browser import Browser
from tests.browser.ha import alarms, confirm, foreseen, id_of, note_alarms, row, session_row, text_of, watch
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3, DRAIN_TIMEOUT_SECS="60") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    return cluster.controllers[0]


def test_its_session_goes_to_another_instance(browser: Browser, cluster: Cluster, sshd: Sshd) -> None:
    a, b, c = cluster.controllers
    drained, others = id_of(b), (id_of(a), id_of(c))
    terminal = cluster.lab(sshd).at(b).open()
    session_id = terminal.info["session_id"]
    watch(browser)
    until(lambda: drained in session_row(browser, session_id), "its owner")
    note_alarms(browser)

    browser.press(f"Drain {drained}")
    foreseen(browser, "1 session: 1 in use now.")
    forecast = browser.find("dialog[open] [data-slot=forecast]").text
    assert any(f"The one in use moves to {each} on " in forecast for each in others)
    browser.screenshot("ha-drain-of-three")
    confirm(browser)
    browser.wait_for(f"{drained} shut down")
    assert b.process is not None
    assert b.process.wait(60) == 0

    terminal.closed()
    again = come_back(terminal, a, c)
    until(lambda: any(each in session_row(browser, session_id) for each in others), "its new owner")
    again.type("echo still he''re\n")
    again.expect("still here")
    again.leave()
    # It left on purpose: it is neither lost nor missed.
    until(lambda: not row(browser, drained), "its row is gone")
    browser.wait_for("2 of 2 instances")
    assert f"requested the drain of {drained}" in text_of(browser, "ha-events")
    assert alarms(browser) == []
    assert browser.errors() == []


def test_a_session_of_a_killed_instance_can_only_be_ended(browser: Browser, cluster: Cluster, sshd: Sshd) -> None:
    c = cluster.controllers[2]
    killed = id_of(c)
    terminal = cluster.lab(sshd).at(c).open()
    session_id = terminal.info["session_id"]
    watch(browser)
    until(lambda: killed in session_row(browser, session_id), "its owner")
    c.kill()
    terminal.vanish()
    until(lambda: f"none (was {killed})" in session_row(browser, session_id), "no owner", timeout_secs=60)
    selector = f"#session-{session_id} button"
    names = "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent.trim())"
    assert browser.run(names, selector) == ["End"]
    browser.screenshot("ha-orphan")
    browser.press_on(selector)
    confirm(browser)
    until(lambda: not session_row(browser, session_id), "it is ended")
    assert browser.errors() == []
