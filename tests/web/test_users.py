"""Users as administrators manage them, and each user's own password."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.context import Services
from tests.rows import make_session
from tests.web.conftest import PASSWORD, Api

AddUser = Callable[..., User]
LogIn = Callable[..., Api]
Audited = Callable[[str], list[dict[str, Any]]]

KIM = {"username": "kim", "password": "kims own password", "role": "viewer", "email": "kim@example.net"}


def status_of_log_in(api: Api, username: str, password: str) -> int:
    return api.client.post("/api/auth/login", json={"username": username, "password": password}).status_code


def test_a_created_user_can_log_in_and_is_listed(admin: Api) -> None:
    created = admin.post("/api/users", json=KIM)
    assert created.status_code == 201
    assert (created.json["username"], created.json["role"], created.json["email"]) == ("kim", "viewer", KIM["email"])
    assert "password" not in created.text
    assert status_of_log_in(admin, "kim", KIM["password"]) == 200
    listed = admin.get("/api/users").json
    assert [user["username"] for user in listed["items"]] == ["admin", "kim"]
    assert listed["total"] == 2
    assert admin.get(f"/api/users/{created.json['id']}").json["username"] == "kim"


@pytest.mark.parametrize(
    ("change", "status", "member"),
    [
        ({"username": "a b"}, 422, "username"),
        ({"password": "short"}, 422, "password"),
        ({"role": "king"}, 422, "role"),
        ({"email": "no address"}, 422, "email"),
        ({"username": "ADMIN"}, 409, "username: is the name of another user"),
        ({"email": "admin@example.net"}, 409, "email: is the address of another user"),
        ({"username": "Admin@example.net"}, 409, "username: is the e-mail address of another user"),
    ],
)
def test_an_invalid_user_is_refused_with_the_reason(
    admin: Api, change: dict[str, str], status: int, member: str
) -> None:
    answer = admin.post("/api/users", json=KIM | change)
    assert answer.status_code == status
    assert member in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/api/users"),
        ("post", "/api/users"),
        ("get", f"/api/users/{UUID(int=1)}"),
        ("put", f"/api/users/{UUID(int=1)}"),
        ("delete", f"/api/users/{UUID(int=1)}"),
        ("put", f"/api/users/{UUID(int=1)}/password"),
        ("delete", f"/api/users/{UUID(int=1)}/logins"),
    ],
)
def test_only_administrators_keep_users(operator: Api, anonymous: Api, method: str, path: str) -> None:
    assert getattr(operator, method)(path, json={}).status_code == 403
    assert getattr(anonymous, method)(path, json={}).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "", {}),
        ("put", "", {"role": "viewer", "is_active": True}),
        ("delete", "", {}),
        ("put", "/password", {"password": "long enough"}),
        ("delete", "/logins", {}),
    ],
)
def test_an_unknown_user_is_a_404(admin: Api, method: str, path: str, body: dict[str, Any]) -> None:
    assert getattr(admin, method)(f"/api/users/{uuid4()}{path}", json=body).status_code == 404


def test_a_profile_is_replaced(admin: Api, add_user: AddUser) -> None:
    user = add_user("kim", role="viewer", email="kim@example.net", display_name="Kim")
    answer = admin.put(f"/api/users/{user.id}", json={"role": "operator", "is_active": True, "display_name": "K."})
    assert answer.status_code == 200
    assert (answer.json["role"], answer.json["display_name"], answer.json["email"]) == ("operator", "K.", None)


def test_a_new_role_counts_at_once_where_it_is_given(admin: Api, operator: Api) -> None:
    assert "sessions.connect" in operator.get("/api/capabilities").json["permissions"]
    admin.put(f"/api/users/{operator.user_id}", json={"role": "viewer", "is_active": True})
    assert "sessions.connect" not in operator.get("/api/capabilities").json["permissions"]


def test_a_deactivated_user_is_out_and_stays_out_of_old_log_ins(admin: Api, operator: Api) -> None:
    path = f"/api/users/{operator.user_id}"
    admin.put(path, json={"role": "operator", "is_active": False})
    assert operator.get("/api/auth/me").status_code == 401
    assert status_of_log_in(admin, "operator", PASSWORD) == 401
    admin.put(path, json={"role": "operator", "is_active": True})
    assert operator.get("/api/auth/me").status_code == 401
    assert status_of_log_in(admin, "operator", PASSWORD) == 200


def test_a_deleted_user_is_gone_with_all_log_ins(admin: Api, operator: Api) -> None:
    assert admin.delete(f"/api/users/{operator.user_id}").status_code == 204
    assert operator.get("/api/auth/me").status_code == 401
    assert admin.get(f"/api/users/{operator.user_id}").status_code == 404


def test_the_last_administrator_cannot_go(admin: Api, operator: Api) -> None:
    path = f"/api/users/{admin.user_id}"
    refused = [
        admin.delete(path),
        admin.put(path, json={"role": "operator", "is_active": True}),
        admin.put(path, json={"role": "admin", "is_active": False}),
    ]
    assert [answer.status_code for answer in refused] == [409, 409, 409]
    assert admin.get("/api/auth/me").status_code == 200


def test_a_password_set_by_an_administrator_ends_all_log_ins(admin: Api, operator: Api) -> None:
    path = f"/api/users/{operator.user_id}/password"
    assert admin.put(path, json={"password": "short"}).status_code == 422
    assert admin.put(path, json={"password": "a new password"}).status_code == 204
    assert operator.get("/api/auth/me").status_code == 401
    assert status_of_log_in(admin, "operator", PASSWORD) == 401
    assert status_of_log_in(admin, "operator", "a new password") == 200


def test_changing_ones_own_password_ends_the_other_log_ins_only(operator: Api, log_in: LogIn) -> None:
    other = log_in("operator")
    body = {"current_password": PASSWORD, "new_password": "a new password"}
    assert operator.put("/api/auth/password", json=body).status_code == 204
    assert operator.get("/api/auth/me").status_code == 200
    assert other.get("/api/auth/me").status_code == 401
    assert status_of_log_in(operator, "operator", "a new password") == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "what"),
    [
        ("put", "", {"role": "operator", "is_active": False}, Scope.ACCESS),
        ("put", "", {"role": "viewer", "is_active": True}, Scope.TERMINALS),
        ("delete", "", {}, Scope.ACCESS),
        ("put", "/password", {"password": "a new password"}, Scope.ALL_LOGINS),
        ("delete", "/logins", {}, Scope.ALL_LOGINS),
    ],
)
def test_whose_access_is_withdrawn_has_no_terminal_any_more(
    services: Services,
    admin: Api,
    operator: Api,
    database: Database,
    audited: Audited,
    method: str,
    path: str,
    body: dict[str, Any],
    what: Scope,
) -> None:
    theirs = make_session(database, user_id=operator.user_id)
    released = make_session(database, user_id=operator.user_id)
    others = make_session(database, user_id=admin.user_id)
    with database.transaction() as tx:
        sessions.release(tx, released, 1)
    told: list[Withdrawal] = []
    services.withdrawals = cast(Any, SimpleNamespace(everywhere=told.append))
    assert getattr(admin, method)(f"/api/users/{operator.user_id}{path}", json=body).status_code in (200, 204)
    # The owner stores what it has recorded, then ends the session. A session without an owner has ended by now.
    [withdrawal] = told
    assert (withdrawal.user_id, withdrawal.scope) == (operator.user_id, what)
    # The log-in that was ended is named.
    assert len(withdrawal.login_ids) == (what is Scope.ALL_LOGINS)
    assert state_of(database, theirs) == ("active", None)
    assert requested(database, theirs) == "access was withdrawn"
    assert state_of(database, released) == ("ended", "access was withdrawn")
    assert state_of(database, others) == ("active", None)
    rows = audited("session.ended_by_user")
    assert {row["resource"] for row in rows} == {f"session:{theirs}", f"session:{released}"}
    assert {row["actor"] for row in rows} == {"admin"}


def test_terminals_outlive_a_new_name_ones_own_password_and_a_log_out(
    admin: Api, operator: Api, database: Database
) -> None:
    session_id = make_session(database, user_id=operator.user_id)
    admin.put(f"/api/users/{operator.user_id}", json={"role": "operator", "is_active": True, "display_name": "O."})
    operator.put("/api/auth/password", json={"current_password": PASSWORD, "new_password": "a new password"})
    operator.post("/api/auth/logout")
    assert state_of(database, session_id) == ("active", None)


def requested(database: Database, session_id: UUID) -> str | None:
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    return row.end_requested


def state_of(database: Database, session_id: UUID) -> tuple[str, str | None]:
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    return row.state, row.end_reason


def test_a_user_changes_their_password_only_with_the_current_one(operator: Api) -> None:
    body = {"current_password": "wrong", "new_password": "a new password"}
    # 403: a 401 would make the client refresh its token and try again.
    statuses = [operator.put("/api/auth/password", json=body).status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]
    assert status_of_log_in(operator, "operator", PASSWORD) == 200


def test_changes_of_users_are_audited_without_passwords(admin: Api, audited: Audited) -> None:
    user_id = admin.post("/api/users", json=KIM).json["id"]
    admin.put(f"/api/users/{user_id}", json={"role": "operator", "is_active": True})
    admin.put(f"/api/users/{user_id}/password", json={"password": "another password"})
    admin.delete(f"/api/users/{user_id}/logins")
    admin.delete(f"/api/users/{user_id}")
    rows = audited("user.*")
    events = [row["event"] for row in rows]
    assert events == ["user.created", "user.updated", "user.updated", "user.logins_revoked", "user.deleted"]
    assert {(row["actor"], row["resource"]) for row in rows} == {("admin", f"user:{user_id}")}
    assert "another password" not in str(rows)
    assert KIM["password"] not in str(rows)
