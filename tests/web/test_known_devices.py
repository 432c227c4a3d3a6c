"""A storm of guesses at one user, from many addresses: strangers wait, and the user is known and passes."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from netstacks import greenlets
from netstacks.store import failed_logins
from netstacks.store.pool import Database
from netstacks.web.auth import authenticate, known_devices, password_checks
from tests.web.conftest import PASSWORD, Api
from tests.web.test_guessing import are_waits, at, later, wrong
from tests.web.test_login import AddUser, attempt


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals come at once, and sooner: to look at a password takes long."""
    monkeypatch.setattr(authenticate, "_REFUSAL_SECS", 0.0)
    monkeypatch.setattr(failed_logins, "MAX_OF_ACCOUNT", 20)


def test_guesses_keep_the_user_out_nowhere_where_the_user_has_logged_in_before(
    anonymous: Api, add_user: AddUser
) -> None:
    add_user("lee")
    home = at(anonymous, "198.51.100.1")
    assert attempt(home).status_code == 200
    for number in range(4):
        wrong(at(anonymous, f"192.0.2.{number}"), 10)
    assert [attempt(at(anonymous, f"192.0.2.{number}")).status_code for number in range(4)] == [429] * 4
    assert attempt(home).status_code == 200
    assert wrong(home, 11) == [401] * 10 + [429]


def test_guesses_for_one_user_from_many_addresses_share_one_wait_that_grows(
    anonymous: Api, add_user: AddUser, database: Database
) -> None:
    add_user("lee")
    add_user("kim")
    for number in range(2):
        assert wrong(at(anonymous, f"192.0.2.{number}"), 10) == [401] * 10
    waits = []
    for number in range(5):
        blocked = attempt(at(anonymous, f"198.51.100.{number}"))
        assert blocked.status_code == 429
        waits.append(int(blocked.headers["Retry-After"]))
        later(database, waits[-1])
        assert wrong(at(anonymous, f"203.0.113.{number}"), 1) == [429]
    assert are_waits(waits, [10, 20, 40, 60, 60])
    assert wrong(at(anonymous, "198.51.100.9"), 10, username="kim") == [401] * 10
    later(database, 60)
    assert attempt(at(anonymous, "198.51.100.9")).status_code == 200


def test_a_name_that_no_user_has_gets_the_same_wait(anonymous: Api) -> None:
    for number in range(2):
        assert wrong(at(anonymous, f"192.0.2.{number}"), 10, username="nobody") == [401] * 10
    assert 0 < int(attempt(at(anonymous, "198.51.100.1"), username="nobody").headers["Retry-After"]) <= 10


def test_a_browser_in_which_the_user_has_logged_in_passes_wherever_it_is(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    add_user("kim")
    browser = at(anonymous, "198.51.100.1")
    assert attempt(browser).status_code == 200
    browser.client.environ_base["REMOTE_ADDR"] = "192.0.2.0"
    for number in range(4):
        wrong(at(anonymous, f"192.0.2.{number}"), 10)
    assert wrong(at(anonymous, "192.0.2.0"), 1) == [429]
    assert attempt(browser).status_code == 200
    # The mark is lee's, and what is guessed with it is slowed like all guessing.
    assert wrong(browser, 11) == [401] * 10 + [429]
    for number in range(2):
        wrong(at(anonymous, f"203.0.113.{number}"), 10, username="kim")
    assert attempt(browser, username="kim").status_code == 429


@pytest.mark.parametrize(
    "damage",
    [lambda value: value[:-1] + "~", lambda value: "x" + value, lambda value: "1.2.3"],
    ids=["signature", "device", "all"],
)
def test_a_forged_mark_of_a_browser_counts_for_nothing(
    anonymous: Api, add_user: AddUser, damage: Callable[[str], str]
) -> None:
    add_user("lee")
    browser = at(anonymous, "198.51.100.1")
    attempt(browser)
    mark = browser.client.get_cookie(known_devices.COOKIE)
    assert mark is not None
    browser.client.set_cookie(known_devices.COOKIE, damage(mark.value))
    browser.client.environ_base["REMOTE_ADDR"] = "192.0.2.0"
    for number in range(2):
        wrong(at(anonymous, f"192.0.2.{number}"), 10)
    assert attempt(browser).status_code == 429


def test_an_address_is_known_for_a_quarter_of_a_year_after_the_last_log_in_from_there(
    anonymous: Api, add_user: AddUser, database: Database
) -> None:
    add_user("lee")
    attempt(at(anonymous, "2001:db8::1"))
    for number in range(2):
        wrong(at(anonymous, f"192.0.2.{number}"), 10)
    assert attempt(at(anonymous, "2001:db8::2")).status_code == 200
    with database.transaction() as tx:
        tx.execute("UPDATE known_networks SET last_at = now() - interval '91 days'")
    assert attempt(at(anonymous, "2001:db8::2")).status_code == 429


def test_a_mark_has_an_end(anonymous: Api, add_user: AddUser, monkeypatch: pytest.MonkeyPatch) -> None:
    add_user("lee")
    monkeypatch.setattr(known_devices, "KEPT", timedelta(seconds=-1))
    browser = at(anonymous, "198.51.100.1")
    answer = attempt(browser)
    [mark] = [header for header in answer.headers.getlist("Set-Cookie") if header.startswith(known_devices.COOKIE)]
    monkeypatch.setattr(known_devices, "KEPT", timedelta(days=180))
    browser.client.set_cookie(known_devices.COOKIE, mark.partition("=")[2].partition(";")[0])
    browser.client.environ_base["REMOTE_ADDR"] = "192.0.2.0"
    for number in range(2):
        wrong(at(anonymous, f"192.0.2.{number}"), 10)
    assert attempt(browser).status_code == 429


@pytest.mark.parametrize("is_page", [True, False])
def test_the_mark_is_out_of_reach_of_scripts_and_opens_nothing(
    anonymous: Api, add_user: AddUser, is_page: bool
) -> None:
    add_user("lee")
    headers = {"X-NetStacks-Page": "1"} if is_page else {}
    body = {"username": "lee", "password": PASSWORD}
    answer = anonymous.post("/api/auth/login", json=body, headers=headers, base_url="https://localhost")
    [mark] = [header for header in answer.headers.getlist("Set-Cookie") if "netstacks_device=" in header]
    assert mark.startswith("__Host-netstacks_device=")
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert f"; {attribute}" in mark
    assert "Domain" not in mark
    value = mark.partition("=")[2].partition(";")[0]
    stranger = at(anonymous, "127.0.0.1")
    stranger.client.set_cookie("netstacks_page", value)
    assert stranger.get("/api/auth/me").status_code == 401


def test_strangers_take_no_place_of_a_browser_in_which_a_user_has_logged_in(
    anonymous: Api, add_user: AddUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_user("lee")
    browser = at(anonymous, "198.51.100.1")
    assert attempt(browser).status_code == 200
    monkeypatch.setattr(password_checks, "MAX_WAITING", 0)
    assert attempt(at(anonymous, "198.51.100.1")).status_code == 503
    assert attempt(browser).status_code == 200
    monkeypatch.setattr(password_checks, "MAX_WAITING_MARKED", 0)
    assert attempt(browser).status_code == 503


def test_guesses_from_many_addresses_at_once_are_no_more_than_in_a_row(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    strangers = [at(anonymous, f"192.0.2.{number}") for number in range(40)]
    guessing = [greenlets.spawn("log-in", wrong, each, 1) for each in strangers]
    greenlets.joinall(guessing, raise_error=True)
    assert sorted(each.value for each in guessing) == [[401]] * 20 + [[429]] * 20
