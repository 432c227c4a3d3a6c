"""Lists of users, and what each has open: log-ins and live sessions, which an administrator can end."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from netstacks.store import user_lists
from netstacks.store.pool import Database
from netstacks.store.users import User
from tests.rows import make_session
from tests.web.conftest import Api

AddUser = Callable[..., User]
LogIn = Callable[..., Api]
Audited = Callable[[str], list[dict[str, Any]]]


def test_users_are_searched_and_counted(
    admin: Api, operator: Api, add_user: AddUser, log_in: LogIn, database: Database
) -> None:
    add_user("kim", role="viewer", display_name="Kim Operson")
    log_in("operator")
    make_session(database, user_id=operator.user_id)
    found = admin.get("/api/v1/users?search=OPER&limit=1").json
    assert (found["total"], [each["username"] for each in found["items"]]) == (2, ["kim"])
    [second] = admin.get("/api/v1/users?search=OPER&limit=1&offset=1").json["items"]
    assert (second["username"], second["logins"], second["sessions"]) == ("operator", 2, 1)
    assert [each["username"] for each in admin.get("/api/v1/users?role=viewer").json["items"]] == ["kim"]
    assert admin.get("/api/v1/users?state=inactive").json["items"] == []
    assert admin.get("/api/v1/users?state=gone").status_code == 422


def test_one_log_in_of_a_user_is_ended(admin: Api, operator: Api, log_in: LogIn, audited: Audited) -> None:
    other = log_in("operator")
    path = f"/api/v1/users/{operator.user_id}"
    listed = admin.get(f"{path}/logins").json["items"]
    assert len(listed) == 2
    mine = operator.get("/api/v1/me").json["login_id"]
    assert admin.delete(f"{path}/logins/{mine}").status_code == 204
    assert operator.get("/api/auth/me").status_code == 401
    assert other.get("/api/auth/me").status_code == 200
    assert admin.delete(f"{path}/logins/{mine}").status_code == 404
    assert admin.delete(f"/api/v1/users/{admin.user_id}/logins/{listed[0]['id']}").status_code == 404
    [row] = audited("user.login_revoked")
    assert row["details"] == {"username": "operator", "login": mine}


def test_the_live_sessions_of_a_user_are_listed(admin: Api, operator: Api, database: Database) -> None:
    session_id = make_session(database, user_id=operator.user_id)
    make_session(database, user_id=admin.user_id)
    path = f"/api/v1/users/{operator.user_id}"
    assert [each["id"] for each in admin.get(f"{path}/sessions").json["items"]] == [str(session_id)]
    found = admin.get(path).json
    assert (found["may_change"], found["second_factors"], found["sessions"]) == (True, [], 1)
    assert admin.get(f"/api/v1/users/{UUID(int=1)}").status_code == 404


def test_the_page_of_a_user_has_the_password_length_without_a_list_of_users(
    admin: Api, page: Api, operator: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert admin.put("/api/v1/settings/passwords.min_length", json={"value": 17}).status_code == 200
    monkeypatch.setattr(user_lists, "page", lambda *_, **__: pytest.fail("other users are read"))
    assert 'minlength="17"' in page.get(f"/admin/users/{operator.user_id}").text
