"""The pages of a controller-admin in a browser, in front of three instances behind nginx, and their losses."""

from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.acceptance.cluster import Cluster
from tests.acceptance.controller_admin import ControllerAdmin
from tests.acceptance.lab import Lab
from tests.browser.browser import Browser
from tests.browser.ha import confirm, id_of, row, said, session_row, text_of, watch
from tests.controller import ADMIN, Terminal, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd

PASSWORD = "a password of theirs"


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, chromium: webdriver.Chrome) -> Iterator[Cluster]:
    with Cluster(postgres, 3, TRUSTED_PROXIES="127.0.0.1") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def balancer(cluster: Cluster) -> Iterator[Balancer]:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    with Balancer("nginx", [each.port for each in cluster.controllers], admin="127.0.0.1") as balancer:
        yield balancer


@pytest.fixture(scope="module")
def site(balancer: Balancer) -> Iterator[ControllerAdmin]:
    with ControllerAdmin(balancer) as site:
        yield site


@pytest.fixture
def browser(chromium: webdriver.Chrome, site: ControllerAdmin) -> Browser:
    browser = Browser(chromium, site.url)
    browser.open("/")
    until(lambda: browser.path.startswith("/login?next="), "the log-in")
    username, password = ADMIN
    browser.fill(username=username, password=password)
    browser.type(Keys.ENTER)
    browser.wait_for("Log out")
    return browser


@pytest.fixture(scope="module")
def its_lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


@pytest.fixture
def terminal(its_lab: Lab) -> Iterator[Terminal]:
    terminal = its_lab.open()
    yield terminal
    terminal.leave()


def test_a_log_in_leads_to_ha_status_which_is_live(browser: Browser, terminal: Terminal, cluster: Cluster) -> None:
    assert browser.path == "/admin/ha"
    until(lambda: said(browser) == "Live", "the stream")
    for each in cluster.controllers:
        browser.wait_for(id_of(each))
    session_id = terminal.info["session_id"]
    until(lambda: session_row(browser, session_id), "the session")
    browser.screenshot("controller-admin-ha")
    browser.press_on(f"#session-{session_id} button[data-action=end]")
    confirm(browser)
    browser.wait_for("The session was ended.")
    assert "admin" in terminal.ended()
    until(lambda: not session_row(browser, session_id), "it is no longer listed")
    assert browser.errors() == []


def test_each_page_of_the_menu_opens_without_an_error(browser: Browser) -> None:
    paths = browser.run("return [...document.querySelectorAll('.side a')].map(each => each.getAttribute('href'))")
    assert len(paths) >= 14
    for path in (*paths, "/admin/audit/targets", "/admin/devices/import"):
        browser.open(path)
        until(lambda: browser.run("return document.readyState") == "complete", path)
        assert browser.find("main .content h1").text, path
        assert browser.errors() == [], path
        # No link leads to a page that only a controller has.
        links = browser.run("return [...document.querySelectorAll('a[href^=\"/\"]')].map(each => each.pathname)")
        foreign = {each for each in links if not each.startswith(("/admin", "/api/", "/static/", "/login"))}
        assert foreign == set(), path
        browser.screenshot(f"controller-admin{path.replace('/', '-')}")


def test_a_session_is_watched_through_it(browser: Browser, terminal: Terminal) -> None:
    session_id = terminal.info["session_id"]
    browser.open("/admin/sessions?state=live")
    until(lambda: session_row(browser, session_id), "the session")
    browser.press_on(f"#session-{session_id} button[data-dialog=watch]")
    confirm(browser)
    browser.switch_to_new_tab()
    until(lambda: browser.path.startswith("/share#"), "the page of the link")
    terminal.type("echo seen by ''another\r")
    until(lambda: "seen by another" in browser.screen, "what the device prints")
    browser.screenshot("controller-admin-watch")
    terminal.type("exit\r")


def test_a_recording_is_replayed_through_it(browser: Browser, terminal: Terminal) -> None:
    terminal.type("echo rec''orded; exit\r")
    terminal.ended()
    browser.open("/admin/sessions?state=ended")
    session_id = terminal.info["session_id"]
    until(lambda: session_row(browser, session_id), "the session")
    browser.press_on(f"#session-{session_id} a[href$=replay]")
    until(lambda: browser.path == f"/admin/sessions/{session_id}/replay", "the page of the replay")
    script = "return document.querySelector('.ap-term')?.innerText ?? ''"
    until(lambda: "recorded" in browser.run(script), "what the device has printed")
    browser.screenshot("controller-admin-replay")
    assert browser.errors() == []
    browser.click("Sessions")
    until(lambda: browser.path == "/admin/sessions", "the list")


def test_users_change_their_password_and_end_their_log_ins_through_it(
    browser: Browser, cluster: Cluster, its_lab: Lab
) -> None:
    its_lab.api.post("/api/users", {"username": "kim", "password": PASSWORD, "role": "viewer"})
    other = cluster.controllers[1].login("kim", PASSWORD)
    browser.click("Log out")
    until(lambda: browser.path.startswith("/login"), "the log-in page")
    browser.log_in("kim", PASSWORD)
    browser.click_on(".account a")
    until(lambda: browser.path == "/admin/account", "the account")
    rows = "return document.querySelectorAll('[data-fragment] table tbody tr').length"
    until(lambda: browser.run(rows) == 2, "both log-ins")
    browser.screenshot("controller-admin-account")
    browser.fill(current_password=PASSWORD, new_password=f"{PASSWORD} of today")
    browser.type(Keys.ENTER)
    browser.wait_for("Your password was changed.")
    until(lambda: browser.run(rows) == 1, "the end of the other log-in")
    other.call("GET", "/api/auth/me", expect=401)
    browser.click("Set up an authenticator app")
    browser.fill(password=f"{PASSWORD} of today")
    browser.type(Keys.ENTER)
    browser.wait_for("Scan this code with the app")
    assert browser.errors() == []


def test_an_instance_killed_in_the_middle_of_the_stream_is_shown_as_lost(browser: Browser, cluster: Cluster) -> None:
    watch(browser)
    serving = text_of(browser, "ha-seen").removeprefix("Seen by ").rstrip(".")
    victim = next(each for each in cluster.controllers if id_of(each) == serving)
    victim.kill()
    until(lambda: "lost" in row(browser, serving), "the loss, told by another instance", 60)
    until(lambda: text_of(browser, "ha-seen") != f"Seen by {serving}.", "the instance that tells it")
    until(lambda: said(browser) == "Live", "the stream")
    victim.start()
    cluster.gathered(3)


def test_without_instances_pages_say_so_and_come_back_by_themselves(browser: Browser, cluster: Cluster) -> None:
    watch(browser)
    for each in cluster.controllers:
        each.kill()
    browser.wait_for("cannot be reached")
    browser.new_tab()
    browser.open("/admin/about")
    browser.wait_for("Not available at the moment")
    browser.screenshot("controller-admin-unavailable")
    for each in cluster.controllers:
        each.launch()
    for each in cluster.controllers:
        each.started()
    browser.wait_for("Bundled C libraries")
