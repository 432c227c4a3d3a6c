"""A controller-admin in front of an API that answers anything, breaks off, or is away."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from netstacks.controller_admin.app import create_app
from netstacks.controller_admin.settings import SettingsError, load
from netstacks.web.listener.client_socket import BODY_BYTES
from tests.controller_admin.upstream import OK, Upstream, answering

Client = Callable[[Upstream], FlaskClient]
ME = b'{"user_id": "1", "username": "lee", "role": "admin", "permissions": ["*"], "login_id": "2", "csrf_token": "t"}'


def client_of(upstream: Upstream) -> FlaskClient:
    return create_app(load({"CONTROLLER_API_URL": upstream.url})).test_client()


def answer(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_an_answer_arrives_as_it_is() -> None:
    fields = (
        "Set-Cookie: a=1; HttpOnly; SameSite=Lax",
        "Set-Cookie: b=2",
        "X-Request-Id: r",
        "Connection: X-Hop",
        "X-Hop: 1",
    )
    with answering(answer(b'{"error": "No."}', "409 Conflict", *fields)) as upstream:
        got = client_of(upstream).post("/api/users?x=%2F", json={"a": 1}, headers={"Origin": "http://localhost"})
    assert (got.status_code, got.json) == (409, {"error": "No."})
    assert got.headers.getlist("Set-Cookie") == ["a=1; HttpOnly; SameSite=Lax", "b=2"]
    assert got.headers["X-Request-Id"] == "r"
    assert "X-Hop" not in got.headers
    assert got.headers["X-Frame-Options"] == "DENY"
    assert upstream.requests[0].startswith(b"POST /api/users?x=%2F HTTP/1.1\r\n")
    assert upstream.requests[0].endswith(b'{"a": 1}')
    assert upstream.head["host"] == "localhost"
    assert upstream.head["origin"] == "http://localhost"
    assert "accept-encoding" not in upstream.head


def test_cookies_of_one_user_are_never_sent_for_another() -> None:
    with answering(answer(ME, "200 OK", "Set-Cookie: netstacks_page=of-lee")) as upstream:
        client_of(upstream).get("/api/v1/me")
        stranger = create_app(load({"CONTROLLER_API_URL": upstream.url}))
        for _ in range(2):
            stranger.test_client().get("/api/v1/me")
            assert "cookie" not in upstream.head


def test_a_large_body_is_refused_before_it_is_read() -> None:
    with answering(OK) as upstream:
        got = client_of(upstream).post("/api/users", data=b"x" * (BODY_BYTES + 1))
        assert got.status_code == 413
        assert not upstream.requests


def test_a_reading_request_is_repeated_once_when_its_connection_breaks() -> None:
    with answering(b"", OK) as upstream:
        assert client_of(upstream).get("/api/users").text == "ok"
    assert len(upstream.requests) == 2


def test_a_change_is_never_repeated() -> None:
    with answering(b"", OK) as upstream:
        got = client_of(upstream).post("/api/users", json={})
    assert (got.status_code, got.headers["Retry-After"]) == (503, "5")
    assert "cannot be reached" in got.json["error"]
    assert len(upstream.requests) == 1


def test_a_body_that_breaks_off_is_not_taken_for_whole() -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as upstream,
        pytest.raises(ConnectionResetError),
    ):
        client_of(upstream).get("/api/users").get_data()


@pytest.mark.parametrize("page", ["/admin/about", "/login"])
def test_a_page_without_the_api_says_so_and_tries_again(page: str) -> None:
    with answering(b"") as upstream:
        got = client_of(upstream).get(page)
    assert (got.status_code, got.headers["Retry-After"]) == (503, "5")
    assert "cannot be reached" in got.text
    assert "unavailable.js" in got.text
    assert "Try again" in got.text


def test_a_load_balancer_without_instances_counts_as_no_api() -> None:
    with answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>") as upstream:
        got = client_of(upstream).get("/admin/about")
    assert got.status_code == 503
    assert "cannot be reached" in got.text


def test_a_sentence_of_the_api_is_shown() -> None:
    with answering(
        answer(ME), answer(b'{"error": "You need the about.view permission."}', "403 Forbidden")
    ) as upstream:
        client = client_of(upstream)
        client.get("/api/v1/me")
        got = client.get("/admin/about")
    assert got.status_code == 403
    assert "You need the about.view permission." in got.text


def test_without_a_login_a_page_leads_to_the_log_in() -> None:
    refused = answer(b'{"error": "You are not logged in."}', "401 Unauthorized")
    with answering(refused, refused, answer(b'{"banner": "For engineers only."}')) as upstream:
        client = client_of(upstream)
        assert client.get("/admin/llm?x=1").headers["Location"] == "/login?next=/admin/llm%3Fx%3D1"
        assert "For engineers only." in client.get("/login").text


def test_a_renewed_login_reaches_the_browser() -> None:
    renewed = "Set-Cookie: __Host-netstacks_page=new; Secure; HttpOnly; Path=/; SameSite=Lax"
    with answering(answer(b'{"error": "Not found."}', "404 Not Found"), answer(ME, "200 OK", renewed)) as upstream:
        client = client_of(upstream)
        client.get("/api/x")
        got = client.get("/login?next=/admin")
    assert got.headers["Location"] == "/admin"
    assert got.headers.getlist("Set-Cookie") == [renewed.removeprefix("Set-Cookie: ")]


def test_the_log_in_leads_to_no_other_site() -> None:
    with answering(answer(ME)) as upstream:
        assert client_of(upstream).get("/login?next=//evil.example").headers["Location"] == "/"


def test_its_own_health_needs_no_api() -> None:
    with answering(b"") as upstream:
        assert client_of(upstream).get("/health").json == {"status": "healthy"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nginx:8080",
        "ftp://nginx",
        "http://user:secret@nginx",
        "http://nginx/api",
        "http://",
        "http://a,b",
        "http://x?y=1",
    ],
)
def test_a_wrong_address_is_named_without_its_secrets(text: str) -> None:
    with pytest.raises(SettingsError, match="CONTROLLER_API_URL") as raised:
        load({"CONTROLLER_API_URL": text})
    assert "secret@" not in str(raised.value)


def test_it_knows_no_store_no_registry_and_no_ssh() -> None:
    foreign = "('psycopg', 'redis', 'ssh')"
    program = f"import netstacks.controller_admin.wsgi, sys; print([m for m in {foreign} if m in sys.modules])"
    environ = {"CONTROLLER_API_URL": "http://127.0.0.1:1"}
    found = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    "host", ["a b\tc", "a/b", "a?&", "a#b", "u@a", "a,b", "a:x", "a:0", "a%2fb", "a\\b", "[::1", "ä.example", "", ":80"]
)
@pytest.mark.parametrize("path", ["/api/users", "/admin/about", "/login", "/ws/shared"])
def test_what_is_no_host_is_passed_on_by_nothing(host: str, path: str) -> None:
    headers = {"Upgrade": "websocket"} if path.startswith("/ws/") else {}
    with answering(OK) as upstream:
        got = client_of(upstream).get(path, headers=headers, environ_overrides={"HTTP_HOST": host})
        assert got.status_code == 400
        assert "Host" in got.text
        assert not upstream.requests


@pytest.mark.parametrize(
    "host", ["admin.example", "ADMIN.example:3000", "192.0.2.1:80", "[2001:db8::1]:3000", "my_host"]
)
def test_a_host_is_passed_on_as_it_is(host: str) -> None:
    with answering(OK) as upstream:
        assert client_of(upstream).get("/api/users", environ_overrides={"HTTP_HOST": host}).status_code == 200
    assert upstream.head["host"] == host


def test_a_health_check_needs_no_host() -> None:
    with answering(b"") as upstream:
        assert client_of(upstream).get("/health", environ_overrides={"HTTP_HOST": ""}).status_code == 200


def test_the_cookies_deletion_at_log_out_passes_through() -> None:
    gone = "__Host-netstacks_page=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Secure; HttpOnly; Path=/"
    with answering(f"HTTP/1.1 204 No Content\r\nSet-Cookie: {gone}\r\n\r\n".encode()) as upstream:
        got = client_of(upstream).post("/api/auth/logout", headers={"X-CSRF-Token": "t"})
    assert (got.status_code, got.headers.getlist("Set-Cookie")) == (204, [gone])
    assert upstream.head["x-csrf-token"] == "t"


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "٣"])
def test_a_wrong_limit_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match="ADDRESS_CONNECTIONS_MAX"):
        load({"CONTROLLER_API_URL": "http://nginx", "ADDRESS_CONNECTIONS_MAX": text})


def test_a_user_who_must_set_up_a_second_factor_is_led_to_the_page_for_it() -> None:
    missing = answer(b'{"error": "Two-step log-in is required.", "code": "SECOND_FACTOR_MISSING"}', "403 Forbidden")
    with answering(missing) as upstream:
        for path in ("/admin/users", "/login?next=/admin", "/"):
            got = client_of(upstream).get(path, follow_redirects=False)
            while got.location and not got.location.endswith("/account/second-factor"):
                got = client_of(upstream).get(got.location)
            assert got.status_code == 302, path
        stream = client_of(upstream).get("/admin/ha/stream")
        assert (stream.status_code, stream.json) == (403, {"error": "Two-step log-in is required."})
    with answering(answer(b"<h1>Set up two-step log-in</h1>")) as upstream:
        page = client_of(upstream).get("/account/second-factor")
        assert page.text == "<h1>Set up two-step log-in</h1>"
        assert upstream.requests[0].startswith(b"GET /account/second-factor HTTP/1.1\r\n")
        assert client_of(upstream).post("/account/second-factor").status_code == 405
