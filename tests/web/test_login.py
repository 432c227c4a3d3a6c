"""Logging in, staying logged in, logging out (wire contract 3 and 15)."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from netstacks import greenlets
from netstacks.store import failed_logins
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web import authenticate
from netstacks.web.app import create_app
from netstacks.web.context import Services
from tests.web.conftest import JWT_SECRET, PASSWORD, Api

AddUser = Callable[..., User]
LogIn = Callable[..., Api]
Audited = Callable[[str], list[dict[str, Any]]]


def attempt(api: Api, **body: Any) -> Any:
    return api.post("/api/auth/login", json={"username": "lee", "password": PASSWORD} | body)


def tokens_of(api: Api, **body: Any) -> dict[str, Any]:
    answer = attempt(api, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def renew(api: Api, refresh_token: str) -> Any:
    return api.post("/api/auth/refresh", json={"refresh_token": refresh_token})


def age(database: Database, column: str, by: timedelta) -> None:
    """Moves a time of every log-in into the past."""
    statements = {
        "previous_until": "UPDATE logins SET previous_until = previous_until - %s",
        "expires_at": "UPDATE logins SET expires_at = expires_at - %s",
    }
    with database.transaction() as tx:
        tx.execute(statements[column].encode(), [by])


def test_an_answer_has_what_client_and_pact_read(anonymous: Api, add_user: AddUser) -> None:
    user = add_user("lee", email="lee@example.net", display_name="Lee")
    answer = tokens_of(anonymous, client_type="terminal")
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3600
    assert answer["refresh_token"]
    expected = {
        "id": str(user.id),
        "username": "lee",
        "email": "lee@example.net",
        "display_name": "Lee",
        "name": "Lee",
        "role": "operator",
        "roles": ["operator"],
        "permissions": ["devices.access", "recordings.view", "sessions.connect"],
        "auth_provider": "local",
        "is_active": True,
        "last_login": None,
    }
    created_at = answer["user"].pop("created_at")
    assert answer["user"] == expected
    assert created_at.endswith("Z")


def test_the_access_token_is_a_jwt_of_an_hour_with_a_numeric_end(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    claims = jwt.decode(tokens_of(anonymous)["access_token"], JWT_SECRET, algorithms=["HS256"])
    assert claims["exp"] - time.time() > 3000
    assert (claims["name"], claims["role"], claims["typ"]) == ("lee", "operator", "access")


@pytest.mark.parametrize(
    "body",
    [
        {"username": "LEE"},
        {"username": "Lee@Example.net"},
        {"username": " lee "},
        {"username": None, "email": "lee@example.net"},
        {"username": None, "email": "lee"},
    ],
)
def test_a_user_name_or_an_email_address_in_either_member(
    anonymous: Api, add_user: AddUser, body: dict[str, Any]
) -> None:
    add_user("lee", email="lee@example.net")
    given = {name: value for name, value in ({"username": "lee"} | body).items() if value is not None}
    answer = anonymous.post("/api/auth/login", json={"password": PASSWORD} | given)
    assert answer.status_code == 200, answer.text
    assert answer.json["user"]["username"] == "lee"


def test_a_wrong_password_an_unknown_name_and_an_inactive_user_get_the_same_sentence(
    anonymous: Api, add_user: AddUser, database: Database
) -> None:
    add_user("lee")
    add_user("gone")
    with database.transaction() as tx:
        tx.execute("UPDATE users SET is_active = false WHERE username = 'gone'")
    refused = [attempt(anonymous, password="wrong"), attempt(anonymous, username="nobody")]
    refused.append(attempt(anonymous, username="gone"))
    assert [answer.status_code for answer in refused] == [401, 401, 401]
    assert {answer.json["error"] for answer in refused} == {"The user name or the password is not correct."}


def test_log_ins_are_audited_without_the_password(anonymous: Api, add_user: AddUser, audited: Audited) -> None:
    user = add_user("lee")
    attempt(anonymous, password="hunter2-typed")
    attempt(anonymous, username="n" * 500, password="hunter2-typed")
    attempt(anonymous)
    wrong, unknown, right = audited("auth.*")
    assert (wrong["event"], wrong["actor"], wrong["resource"]) == ("auth.login_failed", "lee", f"user:{user.id}")
    assert (unknown["actor"], unknown["resource"]) == ("n" * 128, "user:unknown")
    assert (right["event"], right["actor_id"], right["address"]) == ("auth.login", user.id, "127.0.0.1")
    assert "hunter2" not in str([wrong, unknown, right])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "password: is missing"),
        ({"password": "x"}, "username: is missing"),
        (
            {"username": "lee", "password": "x", "client_type": "toaster"},
            "client_type: must be 'terminal' or 'admin_ui'",
        ),
    ],
)
def test_an_incomplete_log_in_is_told_what_is_missing(anonymous: Api, body: dict[str, str], text: str) -> None:
    answer = anonymous.post("/api/auth/login", json=body)
    assert (answer.status_code, answer.json["error"]) == (422, text)


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


def test_guessing_one_user_is_made_to_wait_after_ten_attempts(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    assert wrong(anonymous, 10) == [401] * 10
    blocked = attempt(anonymous)
    assert blocked.status_code == 429
    assert blocked.json["error"] == "Too many wrong passwords for this user from here. Try again in 10 seconds."
    assert blocked.headers["Retry-After"] == "10"


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
    assert waits == [10, 20, 40, 80, 160, 300, 300]
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


def test_guesses_keep_the_user_out_at_no_other_address(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    for number in range(15):
        wrong(at(anonymous, f"192.0.2.{number}"), 10)
    assert [attempt(at(anonymous, f"192.0.2.{number}")).status_code for number in range(15)] == [429] * 15
    assert attempt(at(anonymous, "198.51.100.1")).status_code == 200


def test_a_user_guessed_at_from_many_addresses_has_fewer_attempts_at_each(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    add_user("kim")
    for number in range(10):
        wrong(at(anonymous, f"192.0.2.{number}"), 10)
    elsewhere = at(anonymous, "198.51.100.1")
    assert wrong(elsewhere, 4) == [401, 401, 401, 429]
    assert wrong(elsewhere, 10, username="kim") == [401] * 10


@pytest.fixture
def throttled(anonymous: Api, add_user: AddUser, monkeypatch: pytest.MonkeyPatch) -> Api:
    """A client at an address that has guessed too many names; "lee" is a user."""
    add_user("lee")
    monkeypatch.setattr(failed_logins, "MOST_OF_ADDRESS", 20)
    assert [wrong(anonymous, 1, username=f"name{number}") for number in range(20)] == [[401]] * 20
    return anonymous


def test_an_address_that_guesses_many_names_has_fewer_attempts_at_each(throttled: Api, database: Database) -> None:
    assert wrong(throttled, 3) == [429] * 3
    with database.transaction() as tx:
        tx.execute("UPDATE failed_logins SET failures = failures + 5")
    assert attempt(throttled).status_code == 429
    assert wrong(at(throttled, "192.0.2.1"), 10) == [401] * 10


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


def test_a_right_password_gets_in_where_ever_new_names_are_guessed(throttled: Api) -> None:
    assert wrong(throttled, 1) == [429]
    assert attempt(throttled).status_code == 200


def test_where_many_names_are_guessed_users_and_other_names_get_the_same_answer(
    throttled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(greenlets, "sleep", slept.append)
    monkeypatch.setattr(authenticate, "_REFUSAL_SECS", 1000.0)
    answers = [attempt(throttled, username=name, password="wrong") for name in ("lee", "nobody")]
    assert {answer.status_code for answer in answers} == {429}
    assert {answer.headers["Retry-After"] for answer in answers} == {"10"}
    assert {answer.json["error"] for answer in answers} == {
        "Too many wrong passwords from here. Try again in 10 seconds."
    }
    assert len(slept) == 2
    assert min(slept) > 500


def test_ever_new_addresses_of_one_ipv6_network_are_throttled_together(
    anonymous: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_logins, "MOST_OF_ADDRESS", 20)
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
    assert authenticate.MOST_WAITING_OF_ADDRESS * 10 <= authenticate.MOST_WAITING
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
    monkeypatch.setattr(authenticate, "MOST_WAITING_OF_ADDRESS", 0)
    busy = attempt(anonymous)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "2")
    monkeypatch.undo()
    assert attempt(anonymous).status_code == 200


def test_refreshing_is_never_limited(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    token = tokens_of(anonymous)["refresh_token"]
    for _ in range(150):
        answer = renew(anonymous, token)
        assert answer.status_code == 200
        token = answer.json["refresh_token"]


def test_a_refresh_answers_with_both_tokens_new(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    first = tokens_of(anonymous)
    answer = renew(anonymous, first["refresh_token"]).json
    assert answer["refresh_token"] != first["refresh_token"]
    me = anonymous.get("/api/auth/me", headers={"Authorization": f"Bearer {answer['access_token']}"})
    assert me.json["username"] == "lee"


def test_two_refreshes_with_one_token_lead_to_the_same_successor(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    token = tokens_of(anonymous)["refresh_token"]
    answers = [renew(anonymous, token), renew(anonymous, token)]
    assert [answer.status_code for answer in answers] == [200, 200]
    # Whichever answer the client keeps, its token is the current one.
    for answer in answers:
        assert renew(anonymous, answer.json["refresh_token"]).status_code == 200


def test_the_previous_token_is_refused_after_its_grace_and_ends_the_log_in(
    anonymous: Api, add_user: AddUser, database: Database, audited: Audited
) -> None:
    user = add_user("lee")
    first = tokens_of(anonymous)
    second = renew(anonymous, first["refresh_token"]).json
    age(database, "previous_until", timedelta(seconds=61))
    reused = renew(anonymous, first["refresh_token"])
    assert reused.status_code == 401
    assert reused.json["error"].endswith(".")
    assert renew(anonymous, second["refresh_token"]).status_code == 401
    me = anonymous.get("/api/auth/me", headers={"Authorization": f"Bearer {second['access_token']}"})
    assert me.status_code == 401
    [row] = audited("auth.refresh_reused")
    assert row["resource"] == f"user:{user.id}"


def test_a_token_older_than_the_previous_one_ends_the_log_in_at_once(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    first = tokens_of(anonymous)["refresh_token"]
    second = renew(anonymous, first).json["refresh_token"]
    third = renew(anonymous, second).json["refresh_token"]
    assert renew(anonymous, first).status_code == 401
    assert renew(anonymous, third).status_code == 401


def test_reuse_ends_no_other_log_in(anonymous: Api, add_user: AddUser, database: Database) -> None:
    add_user("lee")
    other = tokens_of(anonymous)["refresh_token"]
    first = tokens_of(anonymous)["refresh_token"]
    renew(anonymous, first)
    age(database, "previous_until", timedelta(seconds=61))
    assert renew(anonymous, first).status_code == 401
    assert renew(anonymous, other).status_code == 200


def test_a_refresh_moves_the_end_of_the_log_in(anonymous: Api, add_user: AddUser, database: Database) -> None:
    add_user("lee")
    token = tokens_of(anonymous)["refresh_token"]
    age(database, "expires_at", timedelta(days=6))
    token = renew(anonymous, token).json["refresh_token"]
    age(database, "expires_at", timedelta(days=6))
    assert renew(anonymous, token).status_code == 200


def test_a_log_in_that_was_not_refreshed_for_a_week_has_ended(
    anonymous: Api, add_user: AddUser, database: Database
) -> None:
    add_user("lee")
    token = tokens_of(anonymous)["refresh_token"]
    age(database, "expires_at", timedelta(days=7, seconds=1))
    assert renew(anonymous, token).status_code == 401


def test_a_refresh_carries_the_role_of_now(anonymous: Api, add_user: AddUser, database: Database) -> None:
    add_user("lee", role="viewer")
    token = tokens_of(anonymous)["refresh_token"]
    with database.transaction() as tx:
        tx.execute("UPDATE users SET role = 'operator'")
    claims = jwt.decode(renew(anonymous, token).json["access_token"], JWT_SECRET, algorithms=["HS256"])
    assert claims["role"] == "operator"


def test_only_hashes_of_refresh_tokens_are_stored(anonymous: Api, add_user: AddUser, database: Database) -> None:
    add_user("lee")
    token = tokens_of(anonymous)["refresh_token"]
    token_id = jwt.decode(token, JWT_SECRET, algorithms=["HS256"])["jti"]
    with database.transaction() as tx:
        rows = str(tx.execute("SELECT * FROM logins").fetchall())
    assert token not in rows
    assert token_id not in rows


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_what_is_no_refresh_token_is_refused(anonymous: Api, token: str) -> None:
    assert renew(anonymous, token).status_code == 401


def test_an_access_token_refreshes_nothing(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    assert renew(anonymous, tokens_of(anonymous)["access_token"]).status_code == 401


def test_logging_out_ends_access_and_refresh(anonymous: Api, add_user: AddUser, audited: Audited) -> None:
    add_user("lee")
    tokens = tokens_of(anonymous)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert anonymous.post("/api/auth/logout", headers=headers).status_code == 200
    assert anonymous.get("/api/auth/me", headers=headers).status_code == 401
    assert renew(anonymous, tokens["refresh_token"]).status_code == 401
    [row] = audited("auth.logout")
    assert row["actor"] == "lee"


def test_me_is_the_user_of_the_log_in(operator: Api) -> None:
    assert operator.get("/api/auth/me").json == operator.user | {
        "last_login": operator.get("/api/auth/me").json["last_login"]
    }


def test_me_needs_a_log_in(anonymous: Api) -> None:
    answer = anonymous.get("/api/auth/me")
    assert answer.status_code == 401
    assert isinstance(answer.json["error"], str)


def test_providers_are_an_array(anonymous: Api) -> None:
    assert anonymous.get("/api/auth/providers").json == [{"type": "local", "name": "Local users", "enabled": True}]
