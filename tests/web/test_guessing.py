"""Guessing passwords becomes slow, on all instances together; the user, and others at the same address, get in."""

from typing import Any

import pytest

from netstacks import greenlets
from netstacks.store import failed_logins
from netstacks.store.pool import Database
from netstacks.web.app import create_app
from netstacks.web.auth import authenticate, password_checks
from netstacks.web.context import Services
from tests.web.conftest import Api
from tests.web.test_login import AddUser, Audited, attempt


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals come at once."""
    monkeypatch.setattr(authenticate, "_REFUSAL_SECS", 0.0)


def wrong(api: Api, count: int, **body: Any) -> list[int]:
    return [attempt(api, password="wrong", **body).status_code for _ in range(count)]


def at(api: Api, address: str) -> Api:
    """The same client at another address."""
    other = Api(api.client.application.test_client())  # type: ignore[attr-defined]
    other.client.environ_base["REMOTE_ADDR"] = address
    return other


def later(database: Database, secs: int) -> None:
    """Lets so many seconds pass for the counts of failures."""
    with database.transaction() as tx:
        tx.execute(
            "UPDATE failed_logins SET since = since - make_interval(secs => %s),"
            " last_at = last_at - make_interval(secs => %s)",
            [secs, secs],
        )


def are_waits(told: list[int], whole: list[int]) -> bool:
    """Whether these are the waits: a few seconds of each may have passed when it is told."""
    return len(told) == len(whole) and all(each - 5 < secs <= each for secs, each in zip(told, whole, strict=True))


def test_guessing_one_user_is_made_to_wait_after_ten_attempts(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    assert wrong(anonymous, 10) == [401] * 10
    blocked = attempt(anonymous)
    assert blocked.status_code == 429
    assert blocked.json["error"].startswith("Too many wrong passwords for this user from here. Try again in ")
    assert 0 < int(blocked.headers["Retry-After"]) <= 10


def test_each_guess_waits_twice_as_long_and_five_minutes_at_most(
    anonymous: Api, add_user: AddUser, database: Database
) -> None:
    add_user("lee")
    wrong(anonymous, 10)
    waits = []
    for _ in range(7):
        blocked = attempt(anonymous, password="wrong")
        assert blocked.status_code == 429
        waits.append(int(blocked.headers["Retry-After"]))
        later(database, waits[-1])
        assert wrong(anonymous, 1) == [401]
    assert are_waits(waits, [10, 20, 40, 80, 160, 300, 300])
    assert attempt(anonymous).json["error"].endswith("Try again in 5 minutes.")
    later(database, 300)
    assert attempt(anonymous).status_code == 200


def test_a_quarter_of_an_hour_later_all_is_forgotten(anonymous: Api, add_user: AddUser, database: Database) -> None:
    add_user("lee")
    wrong(anonymous, 10)
    later(database, 901)
    assert wrong(anonymous, 10) == [401] * 10


def test_guesses_keep_no_other_user_of_the_address_out(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    for name in ("kim", "sam"):
        add_user(name)
    for _ in range(110):
        attempt(anonymous, password="wrong")
    assert attempt(anonymous).status_code == 429
    assert [attempt(anonymous, username=name).status_code for name in ("kim", "sam")] == [200, 200]
    assert wrong(anonymous, 1, username="kim") == [401]


@pytest.fixture
def throttled(anonymous: Api, add_user: AddUser, monkeypatch: pytest.MonkeyPatch) -> Api:
    """A client at an address that has guessed too many names; the user "lee" has logged in from there before."""
    add_user("lee")
    attempt(anonymous)
    anonymous = at(anonymous, "127.0.0.1")
    monkeypatch.setattr(failed_logins, "MAX_OF_ADDRESS", 20)
    assert [wrong(anonymous, 1, username=f"name{number}") for number in range(20)] == [[401]] * 20
    return anonymous


def test_strangers_at_an_address_that_guesses_many_names_share_one_wait_that_grows(
    throttled: Api, add_user: AddUser, database: Database
) -> None:
    add_user("kim")
    waits = []
    for _ in range(5):
        blocked = attempt(throttled, username="kim")
        assert blocked.status_code == 429
        waits.append(int(blocked.headers["Retry-After"]))
        later(database, waits[-1])
        assert wrong(throttled, 1, username="nobody") == [429]
    assert are_waits(waits, [10, 20, 40, 60, 60])
    assert attempt(at(throttled, "192.0.2.1"), username="kim").status_code == 200
    later(database, 60)
    assert attempt(throttled, username="kim").status_code == 200


def test_ever_new_names_write_nothing_once_their_address_has_guessed_too_much(
    throttled: Api, database: Database, audited: Audited
) -> None:
    def written() -> list[dict[str, Any]]:
        with database.transaction() as tx:
            return tx.execute("SELECT * FROM failed_logins ORDER BY key").fetchall()

    before = written()
    assert [wrong(throttled, 1, username=f"more{number}") for number in range(5)] == [[429]] * 5
    assert written() == before
    assert len(audited("auth.login_failed")) == 20
    [row] = audited("auth.address_throttled")
    assert (row["resource"], row["address"]) == ("address:127.0.0.1", "127.0.0.1")


def test_a_known_user_gets_in_while_new_names_are_guessed(throttled: Api) -> None:
    assert wrong(throttled, 1) == [429]
    assert attempt(throttled).status_code == 200


def test_where_many_names_are_guessed_users_and_other_names_get_the_same_answer(
    throttled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(authenticate, "_wait", slept.append)
    monkeypatch.setattr(authenticate, "_REFUSAL_SECS", 1000.0)
    answers = [attempt(throttled, username=name, password="wrong") for name in ("lee", "nobody")]
    assert {answer.status_code for answer in answers} == {429}
    assert all(0 < int(answer.headers["Retry-After"]) <= 10 for answer in answers)
    assert all(answer.json["error"].startswith("Too many wrong passwords. Try again in ") for answer in answers)
    assert len(slept) == 2
    assert min(slept) > 500


def test_ever_new_addresses_of_one_ipv6_network_are_throttled_together(
    anonymous: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_logins, "MAX_OF_ADDRESS", 20)
    for number in range(20):
        assert wrong(at(anonymous, f"2001:db8::{number}"), 1, username=f"name{number}") == [401]
    assert wrong(at(anonymous, "2001:db8::ffff"), 1, username="another") == [429]
    assert wrong(at(anonymous, "2001:db8:0:1::1"), 1, username="another") == [401]


def at_once(api: Api, count: int, **body: Any) -> list[int]:
    def one() -> int:
        return int(attempt(at(api, "127.0.0.1"), **body).status_code)

    trying = [greenlets.spawn("log-in", one) for _ in range(count)]
    greenlets.joinall(trying, raise_error=True)
    return sorted(each.value for each in trying)


def test_right_passwords_sent_at_once_all_get_in(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    assert at_once(anonymous, 20) == [200] * 20
    assert wrong(anonymous, 10) == [401] * 10


def test_guesses_sent_at_once_are_no_more_than_in_a_row(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    assert at_once(anonymous, 20, password="wrong") == [401] * 10 + [429] * 10


def test_one_address_takes_a_tenth_of_the_waiting_places(anonymous: Api, add_user: AddUser) -> None:
    for name in ("lee", "kim"):
        add_user(name)
    assert password_checks.MAX_WAITING_OF_ADDRESS * 10 <= password_checks.MAX_WAITING
    waiting = [greenlets.spawn("log-in", attempt, at(anonymous, "192.0.2.1")) for _ in range(40)]
    greenlets.sleep(0)
    assert attempt(anonymous, username="kim").status_code == 200
    greenlets.joinall(waiting, raise_error=True)
    assert sorted(each.value.status_code for each in waiting) == [200] * 30 + [503] * 10


def test_log_ins_refused_for_their_number_are_not_audited(anonymous: Api, add_user: AddUser, audited: Audited) -> None:
    add_user("lee")
    assert wrong(anonymous, 15) == [401] * 10 + [429] * 5
    assert len(audited("auth.*")) == 10


def test_addresses_of_one_ipv6_network_are_one(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    statuses = [wrong(at(anonymous, f"2001:db8::{number}"), 1) for number in range(1, 12)]
    assert statuses == [[401]] * 10 + [[429]]
    assert attempt(at(anonymous, "2001:db8:0:1::1")).status_code == 200


@pytest.mark.parametrize("name", ["nobody", "lee"])
def test_another_spelling_of_the_name_is_no_new_chance(anonymous: Api, add_user: AddUser, name: str) -> None:
    add_user("lee", email="lee@example.net")
    spellings = [" " * number + (name, name.upper())[number % 2] for number in range(9)]
    spellings.append("lee@example.net" if name == "lee" else name)
    assert [wrong(anonymous, 1, username=spelling) for spelling in spellings] == [[401]] * 10
    assert attempt(anonymous, username=name).status_code == 429


def test_a_right_password_forgives_the_wrong_ones_before_it(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    for _ in range(3):
        assert wrong(anonymous, 9) == [401] * 9
        assert attempt(anonymous).status_code == 200


def test_a_right_password_forgives_nothing_that_another_address_or_user_got_wrong(
    anonymous: Api, add_user: AddUser, database: Database
) -> None:
    add_user("lee")
    add_user("kim")
    # So many that the wait outlasts the test.
    wrong(anonymous, 10, username="kim")
    wrong(at(anonymous, "192.0.2.1"), 10)
    with database.transaction() as tx:
        tx.execute("UPDATE failed_logins SET failures = failures + 5")
    assert attempt(anonymous).status_code == 200
    assert attempt(anonymous, username="kim").status_code == 429
    assert attempt(at(anonymous, "192.0.2.1")).status_code == 429


def test_instances_count_together(anonymous: Api, add_user: AddUser, services: Services) -> None:
    add_user("lee")
    other = Api(create_app(services).test_client())
    assert wrong(anonymous, 5) + wrong(other, 5) == [401] * 10
    assert attempt(other).status_code == 429


def test_as_many_log_ins_wait_as_may(anonymous: Api, add_user: AddUser, monkeypatch: pytest.MonkeyPatch) -> None:
    add_user("lee")
    monkeypatch.setattr(password_checks, "MAX_WAITING_OF_ADDRESS", 0)
    busy = attempt(anonymous)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "2")
    monkeypatch.undo()
    assert attempt(anonymous).status_code == 200
