"""Refresh, resume, proxy and share-join go on while PostgreSQL is away."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from netstacks.store.users import User
from netstacks.web.auth import login_states
from tests.postgres import Postgres
from tests.waits import until
from tests.web.conftest import PASSWORD, Api

AddUser = Callable[..., User]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.destroy()


@pytest.fixture
def own_postgres(server: Postgres) -> Iterator[Postgres]:
    """A server that a test may stop."""
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database(own_postgres: Postgres) -> Iterator[Database]:
    database = Database(own_postgres.create_database())
    database.open()
    # The first connection may take longer than a transaction waits for one.
    database._pool.wait(60)
    migrate(database)
    yield database
    database.close()


def tokens_of(api: Api) -> dict[str, Any]:
    answer = api.post("/api/auth/login", json={"username": "lee", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def renew(api: Api, refresh_token: str) -> Any:
    return api.post("/api/auth/refresh", json={"refresh_token": refresh_token})


def get_prompts(api: Api, access_token: str) -> Any:
    return api.get("/api/host-keys/prompts", headers={"Authorization": f"Bearer {access_token}"})


def test_a_log_in_outlives_the_database(anonymous: Api, add_user: AddUser, own_postgres: Postgres) -> None:
    add_user("lee")
    tokens = tokens_of(anonymous)
    own_postgres.stop()

    renewed = renew(anonymous, tokens["refresh_token"])
    assert renewed.status_code == 200
    assert renewed.json["refresh_token"] == tokens["refresh_token"]
    assert get_prompts(anonymous, renewed.json["access_token"]).status_code == 200
    refused = anonymous.post("/api/auth/login", json={"username": "lee", "password": PASSWORD})
    assert refused.status_code == 503
    assert "database" in refused.json["error"]

    own_postgres.start()

    def rotated() -> bool:
        answer = renew(anonymous, renewed.json["refresh_token"])
        assert answer.status_code == 200
        return bool(answer.json["refresh_token"] != tokens["refresh_token"])

    until(rotated, "another refresh token")


def test_a_forged_or_expired_refresh_token_is_refused_all_the_same(
    anonymous: Api, add_user: AddUser, own_postgres: Postgres
) -> None:
    add_user("lee")
    tokens = tokens_of(anonymous)
    own_postgres.stop()
    for token in (tokens["refresh_token"][:-3] + "AAA", tokens["access_token"]):
        assert renew(anonymous, token).status_code == 401


def test_a_log_in_known_to_be_revoked_stays_so(anonymous: Api, add_user: AddUser, own_postgres: Postgres) -> None:
    add_user("lee")
    tokens = tokens_of(anonymous)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    anonymous.post("/api/auth/logout", headers=headers)
    assert get_prompts(anonymous, tokens["access_token"]).status_code == 401
    own_postgres.stop()
    assert get_prompts(anonymous, tokens["access_token"]).status_code == 401
    assert renew(anonymous, tokens["refresh_token"]).status_code == 401


def test_a_page_goes_on_by_its_cookie(page: Api, own_postgres: Postgres) -> None:
    own_postgres.stop()
    assert page.get("/api/host-keys/prompts").status_code == 200


def test_one_request_waits_for_the_database_and_the_others_do_not(
    anonymous: Api, add_user: AddUser, own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_states, "AWAY_SECS", 3600.0)
    add_user("lee")
    tokens = [tokens_of(anonymous)["access_token"] for _ in range(3)]
    states = anonymous.client.application.extensions["netstacks"].login_states
    own_postgres.stop()
    assert get_prompts(anonymous, tokens[0]).status_code == 200
    # From here on a question to the database would be an error.
    monkeypatch.setattr(states, "_database", None)
    assert [get_prompts(anonymous, token).status_code for token in tokens] == [200, 200, 200]
