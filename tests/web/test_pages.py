"""The pages in process: what each role sees, where a log-in leads, and that no injected script runs."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.terminal.hub import Hub
from netstacks.web.context import Services
from tests.rows import make_session
from tests.web.conftest import PASSWORD, Api

PAGES = (
    "/",
    "/sessions",
    "/credentials",
    "/admin/host-keys",
    "/admin/devices",
    "/admin/credentials",
    "/admin/audit",
    "/admin/users",
    "/admin/roles",
    "/account",
)


@pytest.fixture
def browser(anonymous: Api, add_user: Callable[..., User]) -> Callable[[str], FlaskClient]:
    """`browser("viewer")`: a browser in which a user of that role is logged in."""

    def log_in(role: str) -> FlaskClient:
        add_user(f"a-{role}", role=role)
        client = anonymous.client.application.test_client()
        body = {"username": f"a-{role}", "password": PASSWORD}
        assert client.post("/api/auth/login", json=body, headers={"X-NetStacks-Page": "1"}).status_code == 200
        return client

    return log_in


@pytest.fixture
def session_of(database: Database) -> Callable[..., uuid.UUID]:
    """`session_of(user_id)`: the id of a session that is stored for that user."""

    def create(user_id: uuid.UUID) -> uuid.UUID:
        return make_session(database, user_id=user_id, device_id=uuid.uuid4(), device_name="core-1")

    return create


def scripts_of(html: str) -> list[str]:
    return re.findall(r"<script\b([^>]*)>", html)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_shown_to_an_administrator(page: Api, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code == 200, answer.text
    assert 'aria-current="page"' in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_script_in_it(page: Api, path: str) -> None:
    html = page.get(path).text
    assert scripts_of(html)
    assert all("src=" in script or "application/json" in script for script in scripts_of(html))
    assert not re.search(r"\son\w+=", html)


def test_the_name_of_a_device_cannot_become_markup(page: Api) -> None:
    name = """"><script>alert('1')</script>"""
    assert page.post("/api/devices", json={"name": name, "host": "192.0.2.1"}).status_code == 201
    html = page.get("/").text
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_a_page_asks_to_log_in_and_remembers_where_it_was(anonymous: Api) -> None:
    answer = anonymous.get("/admin/audit?actor=lee&event=auth.*")
    assert answer.status_code == 302
    form = anonymous.get(answer.location)
    assert 'data-next="/admin/audit?actor=lee&amp;event=auth.*"' in form.text


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "/\t/evil.example",
        "/\n//evil.example",
        "/\\evil.example",
        "//[",
        "https://evil.example",
        "javascript:alert(1)",
        "evil",
        "",
    ],
)
def test_a_log_in_never_leads_to_another_site(anonymous: Api, page: Api, target: str) -> None:
    assert 'data-next="/"' in anonymous.get("/login", query_string={"next": target}).text
    assert page.get("/login", query_string={"next": target}).location == "/"


def test_a_logged_in_user_is_not_asked_again(page: Api) -> None:
    answer = page.get("/login?next=/sessions")
    assert (answer.status_code, answer.location) == (302, "/sessions")


def test_the_navigation_offers_what_the_role_allows(browser: Callable[[str], FlaskClient]) -> None:
    html = browser("viewer").get("/").text
    navigation = html[html.index("<nav") : html.index("</nav>")]
    assert re.findall(r">(\w[\w ]*)</a>", navigation) == ["Devices", "Sessions", "Admin"]


@pytest.mark.parametrize(("permission", "first"), [("users.manage", "/admin"), ("sessions.connect", "/sessions")])
def test_a_log_in_of_a_user_without_the_device_list_leads_to_another_page(
    admin: Api, browser: Callable[[str], FlaskClient], permission: str, first: str
) -> None:
    admin.post("/api/v1/roles", json={"name": "special", "permissions": [permission]})
    user = browser("special")
    answer = user.get("/")
    assert (answer.status_code, answer.location) == (302, first)
    assert user.get("/", follow_redirects=True).status_code == 200


@pytest.mark.parametrize(
    ("path", "current"),
    [("/admin/audit", "page"), ("/admin/audit/targets", "true"), ("/admin/devices/import", "true")],
)
def test_the_menu_marks_the_entry_of_a_page_and_of_those_below_it(page: Api, path: str, current: str) -> None:
    html = page.get(path).text
    menu = html[html.index('<nav class="side"') :].partition("</nav>")[0]
    entry = "/".join(path.split("/")[:3])
    assert re.findall(r'href="([^"]*)" aria-current="(\w+)"', menu) == [(entry, current)]


@pytest.mark.parametrize("path", ["/admin/users", "/admin/audit", "/terminals/new", "/credentials"])
def test_a_page_that_the_role_does_not_allow_says_so(browser: Callable[[str], FlaskClient], path: str) -> None:
    answer = browser("viewer").get(path)
    assert answer.status_code == 403
    assert "Not allowed" in answer.text


def test_a_viewer_sees_devices_but_neither_terminals_nor_buttons(
    page: Api, browser: Callable[[str], FlaskClient]
) -> None:
    page.post("/api/devices", json={"name": "core-1", "host": "192.0.2.1"})
    html = browser("viewer").get("/").text
    assert "core-1" in html
    assert "/terminals/new" not in html
    assert "data-url=" not in html[html.index("<main") : html.index("</main>")]


def test_devices_are_searched_on_the_server(page: Api) -> None:
    for name, host in (("core-1", "192.0.2.1"), ("edge-1", "192.0.2.2")):
        page.post("/api/devices", json={"name": name, "host": host})
    html = page.get("/?q=edge").text
    assert "edge-1" in html
    assert "core-1" not in html
    assert "No device matches" in page.get("/?q=nothing").text


def test_only_the_replay_may_compile_web_assembly(page: Api, session_of: Callable[..., uuid.UUID]) -> None:
    replay = page.get(f"/sessions/{session_of(page.user_id)}/replay")
    assert replay.status_code == 200
    assert "'wasm-unsafe-eval'" in replay.headers["Content-Security-Policy"]
    assert "wasm" not in page.get("/sessions").headers["Content-Security-Policy"]


def test_a_terminal_opens_for_its_own_user_only(
    services: Services, page: Api, browser: Callable[[str], FlaskClient], session_of: Callable[..., uuid.UUID]
) -> None:
    services.hub = Hub(DeferredWrites(services.database), detach_ttl_secs=60, close_grace_secs=10)
    session_id = session_of(page.user_id)
    assert page.get(f"/terminals/{session_id}").status_code == 200
    assert browser("operator").get(f"/terminals/{session_id}").status_code == 404


@pytest.mark.parametrize("device", ["", "nonsense", str(uuid.UUID(int=1))])
def test_a_terminal_to_no_device_is_not_found(page: Api, device: str) -> None:
    answer = page.get("/terminals/new", query_string={"device": device})
    assert answer.status_code == 404
    assert "Not found" in answer.text


def test_sessions_of_others_need_the_permission_to_manage_them(
    page: Api, browser: Callable[[str], FlaskClient], session_of: Callable[..., uuid.UUID]
) -> None:
    session_id = str(session_of(uuid.uuid4()))
    assert session_id in page.get("/sessions?state=live").text
    assert session_id not in page.get("/sessions?state=ended").text
    assert session_id not in browser("operator").get("/sessions").text


def test_an_audit_filter_has_a_beginning_and_an_end(page: Api) -> None:
    today = datetime.now(UTC).date()
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    assert "auth.login" in page.get(f"/admin/audit?since={yesterday}T00:00&until={tomorrow}T00:00").text
    assert "No event matches" in page.get(f"/admin/audit?until={yesterday}T00:00").text


def test_times_that_are_entered_replace_the_range_that_was_shown(page: Api) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    # The form sends the range, too.
    shown = page.get(f"/admin/audit?range=hour&until={yesterday}T00:00").text
    assert "No event matches" in shown
    assert 'name="range" value="hour"' not in shown


def test_the_times_of_a_saved_filter_stand_in_its_fields(page: Api) -> None:
    fields = page.get("/admin/audit?since=2026-11-30T08:00:00%2B01:00&until=2027-01-31T12:30:05Z").text
    assert 'value="2026-11-30T07:00:00"' in fields
    assert 'value="2027-01-31T12:30:05"' in fields


def test_a_wrong_audit_filter_is_told_in_words(page: Api) -> None:
    answer = page.get("/admin/audit?since=tomorrow")
    assert answer.status_code == 422
    assert "Since:" in answer.text


def test_another_log_in_of_ones_own_can_be_ended(page: Api, log_in: Callable[..., Api]) -> None:
    other = log_in(page.user["username"])
    own_logins = re.findall(r"/api/auth/logins/([\w-]+)", page.get("/account").text)
    assert len(own_logins) == 1
    assert page.delete(f"/api/auth/logins/{own_logins[0]}").status_code == 204
    assert other.get("/api/auth/me").status_code == 401


def test_another_users_log_in_cannot_be_ended(page: Api, operator: Api) -> None:
    page.get("/account")
    login_id = re.findall(r"/api/auth/logins/([\w-]+)", page.get("/account").text)
    assert login_id == []
    assert operator.delete(f"/api/auth/logins/{uuid.uuid4()}").status_code == 404


def test_the_csrf_token_is_given_to_pages_with_a_log_in_only(page: Api, anonymous: Api) -> None:
    answer = page.get("/csrf-token")
    assert answer.json == {"csrf_token": page.headers["X-CSRF-Token"], "username": "page-admin"}
    assert anonymous.client.application.test_client().get("/csrf-token").status_code == 302


def test_an_administrator_by_a_role_of_their_own_is_shown_the_length_that_applies(
    admin: Api, log_in: Callable[..., Api], app: Flask
) -> None:
    admin.post("/api/v1/roles", json={"name": "root", "description": "", "permissions": ["*"]})
    admin.post("/api/users", json={"username": "boss", "password": "a long password of the boss", "role": "root"})
    client = app.test_client()
    client.post(
        "/api/auth/login",
        json={"username": "boss", "password": "a long password of the boss"},
        headers={"X-NetStacks-Page": "1"},
    )
    lengths = admin.get("/api/v1/users?limit=1").json["password_lengths"]
    assert lengths["admin"] > lengths["user"]
    assert f'minlength="{lengths["admin"]}"' in client.get("/account").text
