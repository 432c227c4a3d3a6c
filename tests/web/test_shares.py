"""Shares through the API: their permissions, parameters and links."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from netstacks.errors import RetryLater
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.web.context import Services
from tests.rows import make_session
from tests.web.conftest import Api
from tests.web.test_users import Audited


def _nobody(*_: object, **__: object) -> None:
    raise RetryLater("nobody holds the session")


@pytest.fixture
def services(services: Services) -> Services:
    """A broker that finds no owner."""
    services.broker = cast(Any, SimpleNamespace(ask=_nobody))
    return services


@pytest.fixture
def theirs(operator: Api, database: Database) -> str:
    """The path of the shares of a live session of the operator's."""
    return f"/api/sessions/{make_session(database, user_id=operator.user_id, username='operator')}/share"


def test_a_share_is_listed_with_its_token_until_it_is_revoked(operator: Api, theirs: str, audited: Audited) -> None:
    made = operator.post(theirs, json={"permission": "read-write", "ttl_minutes": 5, "max_viewers": 50})
    assert made.status_code == 201
    assert set(made.json) == {"share_url", "token", "expires_at"}
    [listed] = operator.get(theirs).json
    assert listed["token"] == made.json["token"]
    assert (listed["permission"], listed["max_viewers"]) == ("read-write", 50)
    assert listed["expires_at"] == made.json["expires_at"]

    shown = operator.get(f"{theirs}/{made.json['token']}").json
    assert (shown["created_by"], shown["viewer_count"]) == ("operator", 0)
    for _ in range(2):
        revoked = operator.delete(f"{theirs}/{made.json['token']}")
        # No owner could be told.
        assert revoked.status_code == 202
        assert "is revoked" in revoked.json["status"]
    assert operator.get(theirs).json == []
    assert operator.get(f"{theirs}/{made.json['token']}").status_code == 404
    assert [row["event"] for row in audited("session.*")] == ["session.shared", "session.share_revoked"]
    assert made.json["token"] not in str(audited("session.*"))


def test_the_defaults_of_a_share_are_modest(operator: Api, theirs: str) -> None:
    assert operator.post(theirs, json={}).status_code == 201
    [listed] = operator.get(theirs).json
    assert (listed["permission"], listed["max_viewers"]) == ("read-only", 5)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("permission", "everything"),
        ("ttl_minutes", 4),
        ("ttl_minutes", 1441),
        ("max_viewers", 0),
        ("max_viewers", 51),
        ("max_viewers", "many"),
    ],
)
def test_a_wrong_wish_is_refused_by_name(operator: Api, theirs: str, member: str, value: object) -> None:
    answer = operator.post(theirs, json={member: value})
    assert answer.status_code == 422
    assert answer.json["error"].startswith(member)
    assert operator.get(theirs).json == []


def test_a_session_is_shared_by_its_user_or_a_manager_of_sessions(admin: Api, viewer: Api, theirs: str) -> None:
    token = admin.post(theirs, json={}).json["token"]
    for answer in (
        viewer.post(theirs, json={}),
        viewer.get(theirs),
        viewer.get(f"{theirs}/{token}"),
        viewer.delete(f"{theirs}/{token}"),
        viewer.delete(theirs),
        viewer.get(theirs.replace("/share", "/viewers")),
    ):
        assert answer.status_code == 404
    assert len(admin.get(theirs).json) == 1


def test_a_token_belongs_to_its_session(operator: Api, theirs: str, database: Database) -> None:
    other = f"/api/sessions/{make_session(database, user_id=operator.user_id, username='operator')}/share"
    token = operator.post(theirs, json={}).json["token"]
    assert operator.delete(f"{other}/{token}").status_code == 404
    assert len(operator.get(theirs).json) == 1


def test_the_shares_of_one_session_are_not_those_of_another(operator: Api, theirs: str, database: Database) -> None:
    other = f"/api/sessions/{make_session(database, user_id=operator.user_id, username='operator')}/share"
    tokens = {path: operator.post(path, json={}).json["token"] for path in (theirs, other)}
    for path, token in tokens.items():
        assert [each["token"] for each in operator.get(path).json] == [token]
    assert operator.get(f"{other}/{tokens[theirs]}").status_code == 404
    operator.delete(theirs)
    assert operator.get(theirs).json == []
    assert [each["token"] for each in operator.get(other).json] == [tokens[other]]


def test_an_expired_share_is_not_shown(operator: Api, theirs: str, database: Database) -> None:
    token = operator.post(theirs, json={}).json["token"]
    with database.transaction() as tx:
        tx.execute("UPDATE shares SET expires_at = date_trunc('second', now())")
    assert operator.get(theirs).json == []
    assert operator.get(f"{theirs}/{token}").status_code == 404


def test_an_ended_session_has_no_shares(operator: Api, theirs: str, database: Database) -> None:
    operator.post(theirs, json={})
    with database.transaction() as tx:
        sessions.end(tx, UUID(theirs.split("/")[3]), 1, "logged out")
    assert operator.post(theirs, json={}).status_code == 409
    assert operator.get(theirs).json == []


def test_links_lead_to_the_page_that_is_there(operator: Api, theirs: str, services: Services) -> None:
    made = operator.post(theirs, json={}).json
    assert made["share_url"] == f"http://localhost/share#{made['token']}"
    services.settings = services.settings.model_copy(update={"terminal_web_dir": Path("/usr/share/netstacks-terminal")})
    made = operator.post(theirs, json={}).json
    assert made["share_url"] == f"http://localhost/terminal/#share={made['token']}"


def test_no_viewer_joins_a_session_without_an_owner(operator: Api, theirs: str) -> None:
    assert operator.get(theirs.replace("/share", "/viewers")).json == {"items": []}


def test_the_share_page_asks_for_no_log_in(anonymous: Api) -> None:
    assert anonymous.get("/share").status_code == 200
