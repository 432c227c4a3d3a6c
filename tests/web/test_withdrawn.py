"""Every route that changes something, asked by a user whose access another instance has withdrawn.

The instance that is asked has not heard of it, and remembers a good answer about the log-in.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from netstacks.store.pool import Database
from netstacks.web.app import create_app
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.context import Services
from tests.web.conftest import Api
from tests.web.test_routes_permissions import every_route

_SAFE = ("GET", "HEAD", "OPTIONS")
# What an administrator does, on the instance that hears of it; `{id}` is the user's.
WAYS: dict[str, Callable[[Api, str], object]] = {
    "deactivated": lambda admin, id: admin.put(f"/api/users/{id}", json={"role": "admin", "is_active": False}),
    "deleted": lambda admin, id: admin.delete(f"/api/users/{id}"),
    "demoted": lambda admin, id: admin.put(f"/api/users/{id}", json={"role": "viewer", "is_active": True}),
    "given a new password": lambda admin, id: admin.put(
        f"/api/users/{id}/password", json={"password": "a new password of theirs"}
    ),
    "logged out": lambda admin, id: admin.delete(f"/api/users/{id}/logins"),
}


def instance(services: Services, database: Database) -> Flask:
    """Another instance on the same database."""
    return create_app(replace(services, login_states=LoginStates(database, max_days=30)))


def refusals(app: Flask, api: Api) -> dict[str, int]:
    asked = Api(app.test_client(), api.headers)
    answers = {}
    for method, name, path in every_route(app):
        if method not in _SAFE and " /peer/" not in name and not name.endswith("/auth/refresh"):
            answers[name] = asked.send(method, path, json={}).status_code
    return {name: status for name, status in answers.items() if status in (401, 403)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", ["admin", "operator"])
def test_access_withdrawn_elsewhere_is_refused_at_once(
    services: Services,
    database: Database,
    admin: Api,
    add_user: Callable[..., object],
    log_in: Callable[..., Api],
    role: str,
    way: str,
) -> None:
    add_user("lee", role=role)
    lee = log_in("lee")
    stale = instance(services, database)
    assert Api(stale.test_client(), lee.headers).get("/api/auth/me").status_code == 200
    before = refusals(stale, lee)

    WAYS[way](admin, lee.user["id"])
    found = refusals(stale, lee)
    assert found == refusals(instance(services, database), lee)
    if way == "demoted":
        assert set(found) > set(before)
    else:
        assert set(found.values()) == {401}
        assert len(found) > 40


def test_a_demoted_administrator_neither_promotes_themselves_nor_makes_another(
    services: Services, database: Database, admin: Api, add_user: Callable[..., object], log_in: Callable[..., Api]
) -> None:
    add_user("lee", role="admin")
    lee = log_in("lee")
    stale = Api(instance(services, database).test_client(), lee.headers)
    assert stale.get("/api/users").status_code == 200
    admin.put(f"/api/users/{lee.user['id']}", json={"role": "operator", "is_active": True})
    again = stale.put(f"/api/users/{lee.user['id']}", json={"role": "admin", "is_active": True})
    another = stale.post("/api/users", json={"username": "ann", "password": "a password of ann", "role": "admin"})
    assert (again.status_code, another.status_code) == (403, 403)
    roles = {each["username"]: each["role"] for each in admin.get("/api/users").json["items"]}
    assert roles == {"admin": "admin", "lee": "operator"}
