"""The terminal page when the instance that holds its session is killed: another one goes on, and says so."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import Cluster
from tests.browser.browser import Browser
from tests.controller import Api, Controller, until
from tests.postgres import Postgres
from tests.wire import Wire

TOLD = "[the SSH connection was re-established at "


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    """The one that the browser talks to first."""
    return cluster.controllers[0]


def test_the_screen_is_kept_and_the_new_shell_announced(
    browser: Browser, admin: Api, known_lab: str, cluster: Cluster, wire: Wire
) -> None:
    a, b = cluster.controllers
    browser.eavesdrop()
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    session = browser.path
    browser.type("PS1='old> '; clear; echo be''fore", Keys.ENTER)
    until(lambda: browser.screen.startswith("before\nold>"), "a clear screen")
    browser.type("printf '\\033[?1049h\\033[H~ an %s' editor; sleep 600", Keys.ENTER)
    until(lambda: browser.screen.startswith("~ an editor"), "the alternate screen")
    recording = f"/api/recordings/{session.removeprefix('/terminals/')}"
    until(lambda: admin.get(recording)["bytes"] == len(browser.received), "the recording")

    wire.lead_to(b.port)
    a.kill()
    until(lambda: TOLD in browser.screen, "the line that tells")
    browser.wait_for("Connected")
    browser.type("echo af''ter", Keys.ENTER)
    until(lambda: browser.screen.partition("\nafter\n")[2].strip(), "the new shell's answer and its prompt")
    browser.screenshot("terminal-migrated")
    kept, told = browser.screen.split(TOLD)
    assert kept.startswith("before\nold> printf")
    assert "~ an editor" not in kept
    assert "UTC: this is a new shell on lab-1]" in told
    assert "before" not in told
    assert browser.path == session

    shown = browser.screen.rstrip()
    browser.driver.refresh()
    browser.wait_for("Connected")
    until(lambda: browser.screen.rstrip() == shown, f"the same screen after a reload: {shown!r}")
