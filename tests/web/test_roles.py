"""Roles: what administrators define, who may give what, and what a change takes away at once."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from netstacks import permissions
from netstacks.store import roles, sessions
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.context import Services
from tests.rows import make_session
from tests.web.conftest import Api

AddUser = Callable[..., User]
LogIn = Callable[..., Api]
Audited = Callable[[str], list[dict[str, Any]]]
AddRole = Callable[..., dict[str, Any]]

ROLES = "/api/v1/roles"
NOC = {"name": "noc", "description": "the night shift", "permissions": ["devices.access", "sessions.*"]}


@pytest.fixture
def add_role(admin: Api) -> AddRole:
    def add(name: str, *permissions: str, **rest: Any) -> dict[str, Any]:
        answer = admin.post(ROLES, json={"name": name, "permissions": list(permissions), **rest})
        assert answer.status_code == 201, answer.text
        return cast(dict[str, Any], answer.json)

    return add


@pytest.fixture
def as_role(add_role: AddRole, add_user: AddUser, log_in: LogIn) -> Callable[..., Api]:
    """`as_role("helpdesk", "users.manage")`: a user of a new role."""

    def user(name: str, *permissions: str, **rest: Any) -> Api:
        add_role(name, *permissions, **rest)
        add_user(f"{name}-user", role=name)
        return log_in(f"{name}-user")

    return user


def test_the_built_in_roles_are_those_of_the_program(database: Database) -> None:
    with database.transaction() as tx:
        stored = {each.name: each.role for each in roles.list_all(tx) if each.is_builtin}
    assert stored == {name: permissions.preset(name) for name in permissions.PRESETS}


def test_a_role_is_created_changed_and_deleted(admin: Api, audited: Audited) -> None:
    created = admin.post(ROLES, json=NOC)
    assert created.status_code == 201
    assert (created.json["permissions"], created.json["version"]) == (["devices.access", "sessions.*"], 1)
    change = {"permissions": ["devices.access"], "device_tags": ["core"], "device_sites": ["Bonn"], "version": 1}
    changed = admin.put(f"{ROLES}/noc", json=change)
    assert changed.status_code == 200
    assert (changed.json["device_tags"], changed.json["updated_by"]) == (["core"], "admin")
    assert admin.get(f"{ROLES}/noc").json == changed.json
    assert [each["name"] for each in admin.get(ROLES).json["items"]] == ["admin", "operator", "viewer", "noc"]
    assert admin.delete(f"{ROLES}/noc?version=2").status_code == 204
    assert admin.get(f"{ROLES}/noc").status_code == 404
    assert [row["event"] for row in audited("role.*")] == ["role.created", "role.updated", "role.deleted"]
    assert audited("role.updated")[0]["details"]["changes"]["device_tags"] == [[], ["core"]]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"name": "No Good"}, 422, "name: must be 1 to 40"),
        ({"name": "admin"}, 409, "There is a role admin"),
        ({"permissions": ["devices.acces"]}, 422, "Near it are devices.access"),
        ({"permissions": ["device.*"]}, 422, "Near it are devices.*"),
        ({"permissions": "devices.access"}, 422, "permissions"),
        ({"device_tags": ["a,b"]}, 422, "device_tags"),
        ({"device_sites": [""]}, 422, "device_sites"),
    ],
)
def test_a_wrong_role_is_refused_with_what_is_right(admin: Api, change: dict[str, Any], status: int, said: str) -> None:
    answer = admin.post(ROLES, json=NOC | change)
    assert answer.status_code == status
    assert said in answer.json["error"]


def test_a_permission_may_be_named_as_the_product_names_it(admin: Api, as_role: Callable[..., Api]) -> None:
    auditor = as_role("auditor", "admin.audit")
    assert admin.get(f"{ROLES}/auditor").json["permissions"] == ["audit.view"]
    assert auditor.get("/api/audit").status_code == 200
    for sent in (auditor.get("/api/auth/me"), auditor.get("/api/capabilities"), auditor.get("/api/v1/me")):
        assert sent.json["permissions"] == ["admin.audit", "audit.view"]


def test_a_wildcard_grants_the_permissions_of_its_resource_alone(as_role: Callable[..., Api]) -> None:
    keeper = as_role("keeper", "devices.*")
    device = {"name": "r1", "host": "192.0.2.1"}
    assert keeper.post("/api/devices", json=device).status_code == 201
    assert keeper.get("/api/devices/browse").status_code == 200
    assert keeper.get("/api/audit").status_code == 403
    assert {"devices.access", "devices.manage"} <= set(keeper.get("/api/capabilities").json["permissions"])


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_built_in_role_cannot_be_changed(admin: Api, database: Database, method: str) -> None:
    answer = getattr(admin, method)(f"{ROLES}/viewer?version=1", json={"permissions": ["*"], "version": 1})
    assert answer.status_code == 409
    assert "built-in" in answer.json["error"]
    with pytest.raises(psycopg.errors.RaiseException), database.transaction() as tx:
        tx.execute("UPDATE roles SET permissions = '{*}' WHERE name = 'viewer'")


def test_a_role_in_use_is_not_deleted_and_a_changed_one_not_overwritten(
    admin: Api, as_role: Callable[..., Api]
) -> None:
    as_role("noc", "devices.access")
    refused = admin.delete(f"{ROLES}/noc?version=1")
    assert (refused.status_code, "1 user has the role noc" in refused.json["error"]) == (409, True)
    body = {"permissions": ["devices.access"], "version": 1}
    assert admin.put(f"{ROLES}/noc", json=body).status_code == 200
    late = admin.put(f"{ROLES}/noc", json=body)
    assert (late.status_code, "was changed meanwhile by admin" in late.json["error"]) == (409, True)


# No user can give more permissions than their own.


@pytest.mark.parametrize("role", ["admin", "strong", "everywhere"])
def test_users_manage_alone_leads_to_nothing_else(
    admin: Api, add_role: AddRole, add_user: AddUser, as_role: Callable[..., Api], role: str
) -> None:
    helpdesk = as_role("helpdesk", "users.manage", "devices.access", device_tags=["core"])
    add_role("strong", "users.manage", "roles.manage", device_tags=["core"])
    add_role("everywhere", "users.manage")
    add_role("weak", "devices.access", device_tags=["core"])
    theirs, weak = add_user("theirs", role=role), add_user("lee", role="weak")
    new = {"username": "kim", "password": "kims own password", "role": role}
    profile = {"role": role, "is_active": True}
    attempts = [
        helpdesk.post("/api/users", json=new),
        helpdesk.put(f"/api/users/{weak.id}", json=profile),
        helpdesk.put(f"/api/users/{helpdesk.user_id}", json=profile),
        helpdesk.put(f"/api/users/{theirs.id}", json={"role": "weak", "is_active": True}),
        helpdesk.put(f"/api/users/{theirs.id}/password", json={"password": "a new password of mine"}),
        helpdesk.delete(f"/api/users/{theirs.id}/logins"),
        helpdesk.delete(f"/api/v1/users/{theirs.id}/logins/{UUID(int=1)}"),
        helpdesk.delete(f"/api/users/{theirs.id}"),
    ]
    assert [each.status_code for each in attempts] == [403] * 8
    assert all(f"The role {role} has " in each.json["error"] for each in attempts)
    assert helpdesk.post("/api/users", json=new | {"role": "weak"}).status_code == 201
    assert helpdesk.put(f"/api/users/{weak.id}/password", json={"password": "a new password"}).status_code == 204
    assert helpdesk.post(ROLES, json=NOC).status_code == 403


def test_a_role_is_given_only_what_its_author_has(admin: Api, add_role: AddRole, as_role: Callable[..., Api]) -> None:
    strong = add_role("strong", "audit.view")
    author = as_role("author", "roles.manage", "users.manage", "devices.access", device_sites=["Bonn"])
    bonn = {"device_sites": ["Bonn"]}
    for beyond in (
        {"permissions": ["audit.view"], **bonn},
        {"permissions": ["devices.*"], **bonn},
        {"permissions": ["*"], **bonn},
        {"permissions": ["devices.access"]},
        {"permissions": ["devices.access"], "device_sites": ["Bonn", "Berlin"]},
    ):
        assert author.post(ROLES, json={"name": "beyond", **beyond}).status_code == 403
    mine = author.get(f"{ROLES}/author").json
    assert author.put(f"{ROLES}/author", json=mine | {"permissions": ["*"]}).status_code == 403
    assert author.put(f"{ROLES}/strong", json=strong | {"permissions": []}).status_code == 403
    assert author.delete(f"{ROLES}/strong?version=1").status_code == 403
    assert author.post(ROLES, json={"name": "within", "permissions": ["devices.access"], **bonn}).status_code == 201
    may_change = {each["name"]: each["may_change"] for each in author.get(ROLES).json["items"]}
    assert may_change == {
        "admin": False, "operator": False, "viewer": False, "author": True, "strong": False, "within": True,
    }  # fmt: skip


def test_an_administrator_remains_whatever_role_makes_one(
    admin: Api, add_role: AddRole, add_user: AddUser, log_in: LogIn
) -> None:
    add_role("root", "*")
    other = add_user("other", role="root")
    assert admin.put(f"/api/users/{admin.user_id}", json={"role": "viewer", "is_active": True}).status_code == 200
    other_api = log_in("other")
    for body in ({"permissions": ["devices.*"]}, {"permissions": ["*"], "device_tags": ["core"]}):
        refused = other_api.put(f"{ROLES}/root", json={**body, "version": 1})
        assert (refused.status_code, "o active user would have all" in refused.json["error"]) == (409, True)
    path = f"/api/users/{other.id}"
    assert other_api.put(path, json={"role": "viewer", "is_active": True}).status_code == 409
    assert other_api.put(path, json={"role": "root", "is_active": False}).status_code == 409
    assert other_api.delete(path).status_code == 409


def test_a_role_does_not_make_administrators_of_users_with_short_passwords(admin: Api, add_role: AddRole) -> None:
    add_role("noc", "devices.access")
    kim = {"username": "kim", "password": "nine lamps", "role": "noc"}
    assert admin.post("/api/users", json=kim).status_code == 201
    refused = admin.put(f"{ROLES}/noc", json={"permissions": ["*"], "version": 1})
    assert (refused.status_code, "he password of kim is too short" in refused.json["error"]) == (409, True)
    add_role("root", "*")
    long = admin.post("/api/users", json=kim | {"username": "lee", "role": "root"})
    assert (long.status_code, "12 to 1024 characters" in long.json["error"]) == (422, True)


# A change counts at once.


def test_a_changed_role_counts_at_once(admin: Api, as_role: Callable[..., Api]) -> None:
    noc = as_role("noc", "devices.access", "audit.view")
    assert noc.get("/api/audit").status_code == 200
    admin.put(f"{ROLES}/noc", json={"permissions": ["devices.access"], "version": 1})
    assert noc.get("/api/audit").status_code == 403
    admin.put(f"{ROLES}/noc", json={"permissions": ["audit.*"], "version": 2})
    assert noc.get("/api/audit").status_code == 200


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ({"permissions": ["devices.access"]}, True),
        ({"permissions": ["sessions.connect"], "device_tags": ["core"]}, True),
        ({"permissions": ["sessions.*"]}, False),
    ],
)
def test_terminals_that_a_role_does_not_allow_any_more_end(
    services: Services,
    admin: Api,
    as_role: Callable[..., Api],
    database: Database,
    audited: Audited,
    change: dict[str, Any],
    ends: bool,
) -> None:
    noc = as_role("noc", "sessions.connect")
    theirs, released = (make_session(database, user_id=noc.user_id) for _ in range(2))
    others = make_session(database, user_id=admin.user_id)
    with database.transaction() as tx:
        sessions.release(tx, released, 1)
    told: list[str] = []
    services.withdrawals = cast(Any, SimpleNamespace(role_changed=told.append))
    assert admin.put(f"{ROLES}/noc", json={**change, "version": 1}).status_code == 200
    assert told == ["noc"]
    with database.transaction() as tx:
        rows = tx.execute("SELECT id, state, end_requested FROM sessions").fetchall()
    found = {row["id"]: (row["state"], row["end_requested"]) for row in rows}
    assert found[theirs] == ("active", "access was withdrawn" if ends else None)
    assert found[released] == ("ended" if ends else "detached", None)
    assert found[others] == ("active", None)
    assert len(audited("session.ended_by_user")) == (2 if ends else 0)


def test_the_documentation_has_the_catalogue() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()
    documented = dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \| (.+?) \|$", text, re.MULTILINE))
    assert documented == PURPOSES
