"""The principal of a request, its permissions, and the protection of the pages' cookie."""

from collections.abc import Callable
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.app import create_app
from netstacks.web.auth import guard, login_states, origins, page_cookie
from netstacks.web.auth.guard import Identity
from netstacks.web.context import Services
from tests.web.conftest import PASSWORD, Api, change_auth

AddUser = Callable[..., User]
LogIn = Callable[..., Api]

SAME_ORIGIN = {"Origin": "http://localhost"}


@pytest.fixture(autouse=True)
def probes(app: Flask) -> None:
    """Routes that answer with the request's principal."""

    def whoami() -> dict[str, Any]:
        return {"actor": guard.actor().name, "role": guard.identity().role}

    def socket() -> dict[str, Any]:
        origins.check()
        return whoami()

    app.add_url_rule("/api/probe", "probe", guard.requires()(whoami), methods=["GET", "POST"])
    app.add_url_rule("/api/probe/manage", "manage", guard.requires("devices.manage")(whoami))
    app.add_url_rule("/api/probe/connect", "connect", guard.requires("sessions.connect")(whoami))
    app.add_url_rule("/ws/probe", "socket", socket)


def cookie_of(answer: TestResponse) -> Any:
    jars = [SimpleCookie(header) for header in answer.headers.getlist("Set-Cookie")]
    return next((jar[name] for jar in jars for name in jar if name.endswith(page_cookie.COOKIE)), None)


def token_of(api: Api) -> str:
    return api.headers["Authorization"].removeprefix("Bearer ")


def test_an_unknown_user_is_401_and_a_forbidden_one_403(anonymous: Api, viewer: Api) -> None:
    assert anonymous.get("/api/probe/manage").status_code == 401
    refused = viewer.get("/api/probe/manage")
    assert refused.status_code == 403
    assert "devices.manage" in refused.json["error"]


def test_roles_grant_their_permissions(admin: Api, operator: Api, viewer: Api) -> None:
    granted = [api.get("/api/probe/connect").status_code for api in (admin, operator, viewer)]
    assert granted == [200, 200, 403]
    granted = [api.get("/api/probe/manage").status_code for api in (admin, operator, viewer)]
    assert granted == [200, 403, 403]


def test_a_star_grants_all_and_a_name_itself_only(admin: Api) -> None:
    everything = Identity(admin.user_id, "a", "admin", frozenset({"*"}), admin.user_id)
    one = Identity(admin.user_id, "a", "viewer", frozenset({"devices.access"}), admin.user_id)
    assert everything.may("anything.at_all")
    assert one.may("devices.access")
    assert not one.may("devices.manage")


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer", "Basic YTpi", "bearer a.b.c"])
def test_a_bad_bearer_is_401(anonymous: Api, header: str) -> None:
    assert anonymous.get("/api/probe", headers={"Authorization": header}).status_code == 401


def test_the_query_token_counts_for_websockets_only(anonymous: Api, operator: Api) -> None:
    assert anonymous.get(f"/ws/probe?token={token_of(operator)}").json["actor"] == "operator"
    assert anonymous.get(f"/api/probe?token={token_of(operator)}").status_code == 401


def test_a_bad_bearer_does_not_fall_back_to_the_cookie(page: Api) -> None:
    assert page.get("/api/probe", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_a_refresh_token_opens_nothing(anonymous: Api, add_user: AddUser) -> None:
    add_user("lee")
    answer = anonymous.post("/api/auth/login", json={"username": "lee", "password": PASSWORD}).json
    headers = {"Authorization": f"Bearer {answer['refresh_token']}"}
    assert anonymous.get("/api/probe", headers=headers).status_code == 401


@pytest.fixture
def elsewhere(services: Services) -> Flask:
    """Another instance on the same database."""
    return create_app(services)


@pytest.mark.parametrize(
    ("change", "status", "role"),
    [
        ("UPDATE logins SET revoked_at = now()", 401, None),
        ("UPDATE logins SET expires_at = now()", 401, None),
        ("UPDATE users SET is_active = false", 401, None),
        ("DELETE FROM users", 401, None),
        ("UPDATE users SET role = 'viewer'", 200, "viewer"),
    ],
)
def test_a_change_made_elsewhere_counts_when_the_answer_known_here_is_no_longer_fresh(
    operator: Api,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    status: int,
    role: str | None,
) -> None:
    assert login_states.FRESH_SECS <= 15
    monkeypatch.setattr(login_states, "FRESH_SECS", 3600.0)
    assert operator.get("/api/probe").json["role"] == "operator"
    with database.transaction() as tx:
        tx.execute(change.encode())
    assert operator.get("/api/probe").json["role"] == "operator"
    monkeypatch.setattr(login_states, "FRESH_SECS", 0.0)
    answer = operator.get("/api/probe")
    assert (answer.status_code, answer.json.get("role")) == (status, role)


def test_a_revocation_counts_at_once_where_it_is_made(admin: Api, operator: Api) -> None:
    assert operator.get("/api/probe").status_code == 200
    assert admin.delete(f"/api/users/{operator.user['id']}/logins").status_code == 204
    assert operator.get("/api/probe").status_code == 401


def test_a_token_of_one_instance_is_good_on_another(operator: Api, elsewhere: Flask) -> None:
    answer = elsewhere.test_client().get("/api/auth/me", headers=operator.headers)
    assert answer.json["username"] == "operator"


def test_activity_is_noted_every_few_minutes_only(operator: Api, database: Database) -> None:
    def last_seen() -> Any:
        with database.transaction() as tx:
            return tx.execute("SELECT last_seen_at FROM logins").fetchone()

    operator.get("/api/probe")
    first = last_seen()
    auth_states = operator.client.application.extensions["netstacks"].login_states
    auth_states.forget(Withdrawal(operator.user_id, Scope.NOTHING))
    operator.get("/api/probe")
    assert last_seen() == first
    with database.transaction() as tx:
        tx.execute("UPDATE logins SET last_seen_at = now() - interval '10 minutes'")
    aged = last_seen()
    auth_states.forget(Withdrawal(operator.user_id, Scope.NOTHING))
    operator.get("/api/probe")
    assert last_seen() != aged


def log_in_page(app: Flask, **kwargs: Any) -> TestResponse:
    body = {"username": "lee", "password": PASSWORD}
    return app.test_client().post("/api/auth/login", json=body, headers={"X-NetStacks-Page": "1"}, **kwargs)


def test_the_page_cookie_is_out_of_reach_of_scripts_and_foreign_pages(app: Flask, add_user: AddUser) -> None:
    add_user("lee")
    answer = log_in_page(app)
    cookie = cookie_of(answer)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Lax", "/", "")
    assert int(cookie["max-age"]) == 12 * 3600
    assert "access_token" not in answer.json


def test_the_page_cookie_is_secure_over_https(app: Flask, add_user: AddUser) -> None:
    add_user("lee")
    assert cookie_of(log_in_page(app, base_url="https://localhost"))["secure"] is True


def test_a_page_reads_by_its_cookie_alone(page: Api) -> None:
    page.headers = {}
    assert page.get("/api/probe").json["actor"] == "page-admin"


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "not ascii \u00e9"])
def test_a_page_changes_nothing_without_its_csrf_token(page: Api, csrf: str | None) -> None:
    page.headers = SAME_ORIGIN | ({} if csrf is None else {"X-CSRF-Token": csrf})
    refused = page.post("/api/probe")
    assert refused.status_code == 403
    assert "CSRF" in refused.json["error"]


def test_the_csrf_token_of_another_log_in_is_refused(page: Api, app: Flask, add_user: AddUser) -> None:
    add_user("lee")
    page.headers["X-CSRF-Token"] = log_in_page(app).json["csrf_token"]
    assert page.post("/api/probe").status_code == 403


def test_the_csrf_token_is_taken_from_header_or_form(page: Api) -> None:
    assert page.post("/api/probe").status_code == 200
    token = page.headers.pop("X-CSRF-Token")
    assert page.post("/api/probe", data={"csrf_token": token}).status_code == 200


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://localhost:81", "http://localhost.evil"]
)
def test_a_page_changes_nothing_from_a_foreign_origin(page: Api, origin: str | None) -> None:
    del page.headers["Origin"]
    assert page.post("/api/probe", headers={"Origin": origin} if origin else {}).status_code == 403


def test_bearer_tokens_need_neither_origin_nor_csrf_token(operator: Api) -> None:
    assert operator.post("/api/probe").status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"), [("http://localhost", 200), ("http://evil.example", 403), ("null", 403), (None, 403)]
)
def test_a_websocket_with_the_cookie_must_come_from_our_own_page(page: Api, origin: str | None, status: int) -> None:
    page.headers = {"Origin": origin} if origin else {}
    assert page.get("/ws/probe").status_code == status


@pytest.mark.parametrize(("origin", "status"), [("http://localhost", 200), ("http://evil.example", 403), (None, 200)])
def test_a_websocket_with_a_token_may_come_from_a_program_but_not_from_a_foreign_page(
    operator: Api, origin: str | None, status: int
) -> None:
    assert operator.get("/ws/probe", headers={"Origin": origin} if origin else {}).status_code == status


def test_allowed_origins_are_as_good_as_our_own(page: Api) -> None:
    change_auth(page, allowed_origins=("https://portal.example.net",))
    assert page.post("/api/probe", headers={"Origin": "https://portal.example.net"}).status_code == 200


def test_a_page_served_by_https_is_not_reached_from_its_http_namesake(operator: Api) -> None:
    over_tls = {"base_url": "https://controller.example.net"}
    answers = [
        operator.get("/ws/probe", headers={"Origin": f"{scheme}://controller.example.net"}, **over_tls)
        for scheme in ("https", "http")
    ]
    assert [answer.status_code for answer in answers] == [200, 403]


def test_a_page_cookie_is_renewed_while_it_is_used(page: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cookie_of(page.get("/api/probe")) is None
    monkeypatch.setattr(page_cookie, "_RENEW_AFTER_SECS", -1)
    assert cookie_of(page.get("/api/probe")).value


def test_a_page_log_in_lives_twelve_hours_from_its_last_use(page: Api, database: Database) -> None:
    def log_ins_end_in(left: timedelta) -> None:
        with database.transaction() as tx:
            tx.execute("UPDATE logins SET last_seen_at = now() - interval '6 min', expires_at = now() + %s", [left])
        page.client.application.extensions["netstacks"].login_states.forget(Withdrawal(page.user_id, Scope.NOTHING))

    log_ins_end_in(timedelta(minutes=1))
    assert page.get("/api/probe").status_code == 200
    with database.transaction() as tx:
        row = tx.execute("SELECT expires_at - now() > interval '11 h 59 min' AS renewed FROM logins").fetchone()
    assert row == {"renewed": True}
    log_ins_end_in(timedelta(seconds=-1))
    assert page.get("/api/probe").status_code == 401


def test_logging_out_of_a_page_ends_its_log_in_and_takes_the_cookie(page: Api) -> None:
    stolen = page.client.get_cookie(page_cookie.COOKIE).value  # type: ignore[union-attr]
    answer = page.post("/api/auth/logout")
    assert answer.status_code == 200
    assert cookie_of(answer).value == ""
    assert page.get("/api/probe").status_code == 401
    page.client.set_cookie(page_cookie.COOKIE, stolen)
    assert page.get("/api/probe").status_code == 401


def test_a_foreign_page_cannot_log_our_user_out(page: Api) -> None:
    page.headers = {"Origin": "http://evil.example"}
    assert page.post("/api/auth/logout").status_code == 403
    assert page.get("/api/probe", headers={"Origin": "http://localhost"}).status_code == 200


def test_the_client_beside_a_page_logs_in_and_refreshes_although_the_cookie_comes_along(page: Api) -> None:
    page.headers = {"Origin": "http://localhost"}
    answer = page.post("/api/auth/login", json={"username": "page-admin", "password": PASSWORD})
    assert answer.status_code == 200
    token = answer.json["refresh_token"]
    assert page.post("/api/auth/refresh", json={"refresh_token": token}).status_code == 200


def test_a_new_page_log_in_replaces_the_one_of_a_stale_tab(page: Api) -> None:
    body = {"username": "page-admin", "password": PASSWORD}
    answer = page.post("/api/auth/login", json=body, headers={"X-NetStacks-Page": "1", "X-CSRF-Token": "old"})
    assert answer.status_code == 200
    assert page.post("/api/probe", headers={"X-CSRF-Token": answer.json["csrf_token"]}).status_code == 200
