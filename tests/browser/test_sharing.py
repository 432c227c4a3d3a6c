"""A terminal shared by its page, and watched in another browser by a guest without a log-in."""

import re
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import Cluster
from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.ha import findings
from tests.browser.sharing import Tabs, make_link
from tests.browser.silence import wait_for_hint, wait_for_state
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.wire import Wire


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    """The one that the browser talks to first."""
    return cluster.controllers[0]


@pytest.fixture(autouse=True)
def whole(cluster: Cluster) -> Iterator[None]:
    """Starts the instances again that the test has killed."""
    yield
    for controller in cluster.controllers:
        if not controller.is_running:
            controller.start()
            cluster.gathered(len(cluster.controllers))


@pytest.fixture
def owner(browser: Browser, known_lab: str) -> Browser:
    """The page of a terminal, its prompt in sight."""
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.type("PS1='lab> '; clear; echo he''re", Keys.ENTER)
    until(lambda: "here" in browser.screen, "a clear screen")
    return browser


def test_a_guest_watches_what_the_owner_does_until_sharing_stops(owner: Browser) -> None:
    tabs = Tabs(owner)
    owner.click("Share")
    owner.wait_for("None yet. Only you see this terminal.")
    owner.screenshot("share-dialog-empty")
    owner.click("Close")
    link = make_link(owner)
    owner.screenshot("share-dialog")
    guest = tabs.invite(link)
    guest.wait_for("Viewing")
    until(lambda: "here" in guest.screen, "the owner's screen")
    assert "lab-1" in guest.text
    assert re.search(r"a session of admin, shared until \d+:\d+", guest.text)
    guest.type("x")
    wait_for_hint(guest, "This link allows watching only")
    guest.screenshot("share-viewing")
    guest.resize(PHONE)
    width = "return document.querySelector('.xterm-screen').offsetWidth"
    until(lambda: guest.run(width) < DESKTOP[0] / 2, "the owner's whole lines on a small screen")
    guest.screenshot("share-viewing-phone")
    until(lambda: guest.run("return document.documentElement.scrollWidth") <= PHONE[0], "nothing is wider than it")
    for scheme in ("dark", "light"):
        guest.prefer(scheme)
        assert findings(guest) == [], scheme

    tabs.to_owner()
    owner.wait_for("Guest")
    owner.screenshot("share-dialog-watched")
    owner.click("Close")
    owner.wait_for("Share (1 watching)")
    owner.type("echo a''fter", Keys.ENTER)
    tabs.to_guest()
    until(lambda: "after" in guest.screen, "what the owner did meanwhile")
    assert "lab> x" not in guest.screen

    tabs.to_owner()
    owner.click("Share (1 watching)")
    owner.click("Stop sharing")
    owner.wait_for("None yet. Only you see this terminal.")
    tabs.to_guest()
    guest.wait_for("No longer shared with you")
    guest.wait_for("This share was revoked by admin")
    guest.screenshot("share-stopped")
    guest.driver.refresh()
    guest.wait_for("Unable to join")
    guest.screenshot("share-refused")
    assert guest.errors() == []


def test_a_collaborator_types_and_can_be_shown_out(owner: Browser) -> None:
    tabs = Tabs(owner)
    guest = tabs.invite(make_link(owner, "Watch and type"))
    guest.wait_for("Collaborating")
    until(lambda: "here" in guest.screen, "the owner's screen")
    guest.type("echo typed by a gu''est", Keys.ENTER)
    until(lambda: "typed by a guest" in guest.screen, "the answer of the device")
    tabs.to_owner()
    until(lambda: "typed by a guest" in owner.screen, "the same on the owner's screen")
    owner.click("End the view of the guest at 127.0.0.1")
    owner.wait_for("No viewers.")
    tabs.to_guest()
    guest.wait_for("Admin has ended your view of this session")


def test_the_end_of_the_session_is_told(owner: Browser) -> None:
    tabs = Tabs(owner)
    guest = tabs.invite(make_link(owner))
    guest.wait_for("Viewing")
    tabs.to_owner()
    owner.click("Close")
    owner.type("exit", Keys.ENTER)
    owner.wait_for("Session ended")
    tabs.to_guest()
    guest.wait_for("Session ended")
    guest.screenshot("share-ended")


def test_a_wrong_link_is_told(stranger: Browser) -> None:
    stranger.open("/share#nonsense")
    stranger.wait_for("Unable to join")
    stranger.wait_for("This link is not complete, or not of this controller")


def test_a_guest_comes_back_by_itself_when_the_owner_of_the_session_was_killed(
    owner: Browser, cluster: Cluster, wire: Wire
) -> None:
    tabs = Tabs(owner)
    a, b = cluster.controllers
    guest = tabs.invite(make_link(owner))
    guest.wait_for("Viewing")
    wire.lead_to(b.port)
    a.kill()
    wait_for_state(guest, "Connection lost", "Trying again in")
    guest.screenshot("share-lost")
    tabs.to_owner()
    until(lambda: "the SSH connection was re-established" in owner.screen, "the new shell")
    owner.click("Close")
    owner.type("echo new''er", Keys.ENTER)
    tabs.to_guest()
    guest.wait_for("Viewing")
    until(lambda: "newer" in guest.screen, "the new shell on the guest's screen")


def test_a_guest_is_told_that_the_session_waits_for_its_user(owner: Browser, cluster: Cluster, wire: Wire) -> None:
    tabs = Tabs(owner)
    a, b = cluster.controllers
    wire.lead_to(b.port)
    guest = tabs.invite(make_link(owner, "Watch and type"))
    guest.wait_for("Collaborating")
    tabs.to_owner()
    terminal = owner.driver.current_url
    # Its user is away: the page is gone, and its session is still there.
    owner.driver.get("about:blank")
    tabs.to_guest()
    a.kill()
    guest.wait_for("Waiting")
    guest.wait_for("It continues when its user reconnects")
    guest.type("x")
    wait_for_hint(guest, "Not sent")
    guest.screenshot("share-unowned")
    tabs.to_owner()
    owner.driver.get(terminal)
    until(lambda: "the SSH connection was re-established" in owner.screen, "the new shell")
    tabs.to_guest()
    guest.wait_for("Collaborating")
    assert guest.errors() == []
