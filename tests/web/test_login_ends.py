"""A log-in ends LOGIN_MAX_DAYS after it began, however much it is used: for every token, at every instance."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.settings import Settings
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.app import create_app
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.context import Services
from tests.web.conftest import JWT_SECRET, MASTER_KEY, Api, change_auth
from tests.web.test_login import renew, tokens_of

AddUser = Callable[..., User]
MAX_DAYS = 9


@pytest.fixture
def settings() -> Settings:
    return Settings(
        database_url="postgresql://localhost/unused",
        vault_master_key=MASTER_KEY,
        jwt_secret=JWT_SECRET,
        login_max_days=MAX_DAYS,
    )


@pytest.fixture
def services(services: Services, database: Database) -> Services:
    return replace(services, login_states=LoginStates(database, max_days=MAX_DAYS))


@pytest.fixture
def elsewhere(services: Services, database: Database) -> Flask:
    """Another instance on the same database."""
    return create_app(replace(services, login_states=LoginStates(database, max_days=MAX_DAYS)))


def pass_time(database: Database, services: Services, **by: float) -> None:
    """Lets time pass for all log-ins."""
    with database.transaction() as tx:
        tx.execute(
            "UPDATE logins SET created_at = created_at - %(by)s, last_seen_at = last_seen_at - %(by)s,"
            " expires_at = expires_at - %(by)s, previous_until = previous_until - %(by)s",
            {"by": timedelta(**by)},
        )
        users = tx.execute("SELECT DISTINCT user_id FROM logins").fetchall()
    for row in users:
        services.login_states.forget(Withdrawal(row["user_id"], Scope.NOTHING))


def ends_in(database: Database) -> timedelta:
    with database.transaction() as tx:
        row = tx.execute("SELECT expires_at - now() AS left FROM logins").fetchone()
    assert row is not None
    left: timedelta = row["left"]
    return left


def test_a_chain_of_refreshes_ends_when_the_log_in_is_too_old(
    anonymous: Api, add_user: AddUser, database: Database, services: Services, elsewhere: Flask
) -> None:
    add_user("lee")
    token = tokens_of(anonymous)["refresh_token"]
    instances = [anonymous, Api(elsewhere.test_client())]
    for day in range(MAX_DAYS - 1):
        pass_time(database, services, days=1)
        answer = renew(instances[day % 2], token)
        assert answer.status_code == 200, day
        token = answer.json["refresh_token"]
        assert ends_in(database) <= timedelta(days=MAX_DAYS - 1 - day)
    access = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert anonymous.get("/api/auth/me", headers=access).status_code == 200
    pass_time(database, services, days=1)
    ended = renew(anonymous, token)
    assert (ended.status_code, ended.json["error"]) == (401, "Your log-in has ended. Log in again.")
    assert anonymous.get("/api/auth/me", headers=access).status_code == 401


def test_a_page_that_is_always_in_use_ends_when_the_log_in_is_too_old(
    page: Api, database: Database, services: Services
) -> None:
    for _ in range(2 * MAX_DAYS - 1):
        pass_time(database, services, hours=11.9)
        assert page.get("/api/auth/me").status_code == 200
    pass_time(database, services, hours=11.9)
    assert page.get("/api/auth/me").status_code == 200
    pass_time(database, services, hours=1.9)
    assert page.get("/api/auth/me").status_code == 401
    to_log_in = page.get("/sessions", follow_redirects=True)
    assert to_log_in.request.path == "/login"
    assert "Your log-in has ended" in to_log_in.text


@pytest.mark.parametrize("max_days", [1, 3])
def test_a_shorter_limit_counts_for_log_ins_that_began_before(
    anonymous: Api, add_user: AddUser, database: Database, services: Services, max_days: int
) -> None:
    add_user("lee")
    token = tokens_of(anonymous)["refresh_token"]
    pass_time(database, services, days=max_days)
    services.settings = services.settings.model_copy(update={"login_max_days": max_days})
    assert renew(anonymous, token).status_code == 401


def test_an_access_token_ends_with_its_log_in_when_the_limit_is_less_than_a_week(
    anonymous: Api, add_user: AddUser, database: Database, services: Services
) -> None:
    add_user("lee")
    change_auth(anonymous, login_max_days=1)
    tokens: dict[str, Any] = tokens_of(anonymous)
    assert timedelta(hours=23) < ends_in(database) <= timedelta(days=1)
    pass_time(database, services, days=1)
    access = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert anonymous.get("/api/auth/me", headers=access).status_code == 401
