"""The live updates of the HA status page: renewed unseen, and never silently dead."""

import contextlib
from collections.abc import Iterator

import pytest
import requests

from tests.acceptance.cluster import Cluster
from tests.browser.browser import Browser
from tests.browser.ha import id_of, said, watch
from tests.browser.silence import pace
from tests.controller import ADMIN, Api, Controller, until
from tests.postgres import Postgres
from tests.wire import Wire

# Notes every text that tells whether the page is live.
_LISTEN = """
window.said = [document.getElementById("live").textContent];
new MutationObserver(() => window.said.push(document.getElementById("live").textContent)).observe(
  document.getElementById("live"), { childList: true, characterData: true, subtree: true });
"""


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster) -> Controller:
    return cluster.controllers[0]


def listen(browser: Browser) -> None:
    """Opens the page and notes what it says about its connection from now on."""
    watch(browser)
    browser.run(_LISTEN)


def be_patient(browser: Browser) -> None:
    """The page does not take a pause of the machine for a loss of the connection."""
    pace(browser, 1 / 3)


def renewed(wire: Wire) -> None:
    """Ends the stream and waits for the next one."""
    before = wire.connections
    wire.abort()
    until(lambda: wire.connections > before, "a new connection")


def test_a_stream_that_ends_is_renewed_unseen(browser: Browser, wire: Wire) -> None:
    listen(browser)
    be_patient(browser)
    for _ in range(3):
        renewed(wire)
    # Something that only a new stream can show.
    browser.run("document.querySelector('#ha-seen').textContent = 'old'")
    wire.abort()
    until(lambda: "Seen by ctrl-" in browser.text, "the sections are sent again")
    assert browser.run("return window.said") == ["Live"]


def test_another_instance_goes_on_when_one_is_gone(browser: Browser, cluster: Cluster, wire: Wire) -> None:
    a, b = (id_of(each) for each in cluster.controllers)
    listen(browser)
    be_patient(browser)
    browser.wait_for(f"Seen by {a}")
    wire.lead_to(cluster.controllers[1].port)
    wire.abort()
    browser.wait_for(f"Seen by {b}")
    assert browser.run("return window.said") == ["Live"]


def test_a_silent_connection_is_noticed_and_replaced(browser: Browser, wire: Wire) -> None:
    listen(browser)
    wire.freeze()
    browser.wait_for("Connection lost. This state may be old.")
    wire.thaw()
    until(lambda: said(browser) == "Live", "the stream is back")
    wire.cut()
    browser.wait_for("Connection lost. This state may be old.")
    wire.restore()
    until(lambda: said(browser) == "Live", "the stream is back")


def test_a_hidden_page_has_no_stream(browser: Browser, admin: Api) -> None:
    listen(browser)
    script = """
      Object.defineProperty(document, "hidden", { configurable: true, get: () => arguments[0] });
      document.dispatchEvent(new Event("visibilitychange"));
    """.replace("arguments[0]", "window.isHidden")
    browser.run(f"window.isHidden = true; {script}")
    changes = """
      window.changes = 0;
      new MutationObserver(() => (window.changes += 1)).observe(document.getElementById("ha"),
        { subtree: true, childList: true, characterData: true });
    """
    browser.run(changes)
    # The status changes meanwhile, and the page, if it had a stream, within a second or two.
    seen: list[str] = []

    def has_changed_often() -> bool:
        seen.append(admin.get("/api/v1/ha/status")["seen_at"])
        return len(set(seen)) > 6

    until(has_changed_often, "six more views")
    assert browser.run("return window.changes") == 0
    assert "Connection lost" not in browser.text
    browser.run(f"window.isHidden = false; {script}")
    until(lambda: browser.run("return window.changes") > 0, "updates again")


def test_a_page_beyond_the_limit_says_so_and_goes_on_later(browser: Browser, admin: Api) -> None:
    url, headers = f"{admin.controller.url}/admin/ha/stream", {"Authorization": f"Bearer {admin.token}"}
    with contextlib.ExitStack() as others:

        def has_opened() -> bool:
            """False while the pages of earlier tests, whose end the server has not noticed, have a place."""
            answer = others.enter_context(requests.get(url, headers=headers, stream=True, timeout=30))
            return answer.status_code == 200

        for _ in range(20):
            until(has_opened, "a place for one more page")
        browser.open("/admin/ha")
        browser.wait_for("20 of your pages receive live updates already. Close one of them.")
        assert "Healthy instances" in browser.text
    until(lambda: said(browser) == "Live", "a free place")
    assert "Connection lost" not in browser.text


def test_withdrawn_access_ends_the_updates_with_a_reason(stranger: Browser, admin: Api) -> None:
    user = {"username": "olaf", "display_name": "", "role": "operator", "password": "a password of his"}
    created = admin.post("/api/users", user)
    stranger.log_in("olaf", "a password of his")
    listen(stranger)
    admin.call("PUT", f"/api/users/{created['id']}", json=created | {"role": "viewer"})
    stranger.wait_for("You may no longer see this page.")


def test_a_withdrawn_login_ends_the_updates_with_a_reason(stranger: Browser, admin: Api) -> None:
    user = {"username": "ole", "display_name": "", "role": "operator", "password": "a password of his"}
    created = admin.post("/api/users", user)
    stranger.log_in("ole", "a password of his")
    listen(stranger)
    admin.call("PUT", f"/api/users/{created['id']}", json=created | {"is_active": False})
    stranger.wait_for("You are logged out. Reload the page to log in again.")
    stranger.log_in(*ADMIN)
