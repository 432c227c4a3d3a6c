"""Logging in, staying logged in, logging out (docs/protocol.md, 3)."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from netstacks.store.pool import Database
from netstacks.store.users import User
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
        "permissions": ["devices.access", "ha.view", "recordings.view", "sessions.connect"],
        "auth_provider": "local",
        "is_active": True,
        "second_factors": [],
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


def test_reuse_ends_access_at_once_although_the_log_in_has_just_been_looked_up(
    anonymous: Api, add_user: AddUser, database: Database
) -> None:
    add_user("lee")
    first = tokens_of(anonymous)
    headers = {"Authorization": f"Bearer {renew(anonymous, first['refresh_token']).json['access_token']}"}
    assert anonymous.get("/api/auth/me", headers=headers).status_code == 200
    age(database, "previous_until", timedelta(seconds=61))
    assert renew(anonymous, first["refresh_token"]).status_code == 401
    assert anonymous.get("/api/auth/me", headers=headers).status_code == 401


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
def test_a_malformed_refresh_token_is_refused(anonymous: Api, token: str) -> None:
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
