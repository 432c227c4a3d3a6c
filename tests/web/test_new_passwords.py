"""Passwords that users and administrators choose: the rules hold wherever one is set."""

from collections.abc import Callable
from typing import Any

import pytest

from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.api import login
from tests.web.conftest import PASSWORD, Api

AddUser = Callable[..., User]
ELEVEN = "seven lamps"


def new_user(role: str, password: str) -> dict[str, Any]:
    return {"username": "kim", "password": password, "role": role, "email": "kim.larsen@example.net"}


@pytest.mark.parametrize(
    ("role", "password", "said"),
    [
        ("viewer", "password1", "a common password"),
        ("viewer", "kim.larsen!", "must not be 'kim.larsen'"),
        ("viewer", "netstacks99", "must not be 'netstacks'"),
        ("admin", ELEVEN, "12 to 1024 characters for an administrator"),
    ],
)
def test_a_new_user_gets_no_bad_password(admin: Api, role: str, password: str, said: str) -> None:
    refused = admin.post("/api/users", json=new_user(role, password))
    assert refused.status_code == 422
    assert refused.json["error"].startswith("password: ")
    assert said in refused.json["error"]
    assert password not in refused.json["error"]


def test_a_user_with_a_short_password_needs_a_longer_one_to_become_an_administrator(admin: Api) -> None:
    path = f"/api/users/{admin.post('/api/users', json=new_user('operator', ELEVEN)).json['id']}"
    change = {"role": "admin", "is_active": True}
    refused = admin.put(path, json=change)
    assert refused.status_code == 409
    assert "12 characters or more" in refused.json["error"]
    assert admin.put(f"{path}/password", json={"password": "seven green lamps"}).status_code == 204
    assert admin.put(path, json=change).status_code == 200
    assert admin.put(f"{path}/password", json={"password": ELEVEN}).status_code == 422


@pytest.mark.parametrize(("role", "status"), [("admin", 422), ("operator", 204)])
def test_ones_own_new_password_is_judged_by_ones_role(request: Any, role: str, status: int) -> None:
    api: Api = request.getfixturevalue(role)
    body = {"current_password": PASSWORD, "new_password": ELEVEN}
    assert api.put("/api/auth/password", json=body).status_code == status
    current = PASSWORD if status == 422 else ELEVEN
    body = {"current_password": current, "new_password": "letmein123"}
    assert api.put("/api/auth/password", json=body).status_code == 422


def test_the_pages_say_how_long_a_password_must_be(page: Api) -> None:
    assert "At least 8 characters, 12 for an administrator" in page.get("/admin/users").text
    assert 'minlength="12"' in page.get("/account").text


def test_about_names_the_bundled_libraries_to_administrators_alone(page: Api, viewer: Api) -> None:
    about = page.get("/admin/about").text
    assert "libssh " in about
    assert "OpenSSL " in about
    assert "/admin/about" in page.get("/account").text
    assert viewer.get("/admin/about").status_code == 403


@pytest.mark.parametrize("headers", [{}, {"X-NetStacks-Page": "1"}], ids=["client", "page"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET password_hash = 'another' WHERE username = 'lee'",
        "UPDATE users SET is_active = false WHERE username = 'lee'",
        "DELETE FROM users WHERE username = 'lee'",
    ],
    ids=["password", "deactivated", "deleted"],
)
def test_a_log_in_whose_password_was_looked_at_before_a_withdrawal_of_access_is_void(
    anonymous: Api,
    add_user: AddUser,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    headers: dict[str, str],
) -> None:
    add_user("lee")
    authenticate = login.authenticate

    def overtaken(name: str, password: str, **how: Any) -> Any:
        proof = authenticate(name, password, **how)
        with database.transaction() as tx:
            tx.execute(change.encode())
        return proof

    monkeypatch.setattr(login, "authenticate", overtaken)
    body = {"username": "lee", "password": PASSWORD}
    answer = anonymous.post("/api/auth/login", json=body, headers=headers)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    with database.transaction() as tx:
        assert tx.execute("SELECT * FROM logins").fetchall() == []
