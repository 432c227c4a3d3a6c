"""Which requests a controller-admin passes on, and which headers: no path leads anywhere else."""

import pytest

from netstacks.controller_admin import headers
from netstacks.controller_admin.paths import Refused, target

HOSTILE = (
    "/api/../admin",
    "/api/./users",
    "/api/..",
    "/api//users",
    "/api/%2e%2e/metrics",
    "/api/%2E./x",
    "/api/x%2fy",
    "/api/x%5Cy",
    "/api/x\\y",
    "/api/%00",
    "/api/%0d%0aHost:%20evil",
    "/api/%252e%252e/x",
    "/api/%zz",
    "/api/%",
    "/api/x#y",
    "/api/x y",
    "/api/ä",
    "/terminal/../peer/sessions",
    "/api/..;/peer/x",
    "/api/.;x/users",
    "/api/..;",
    "/api/..;a=b/peer/x",
    "/api/..%3b/peer/x",
    "/api/.%3Bx",
    "/api/users;/..",
    "/api/users;a=../x",
    "/api/users;.%2e/x",
)


@pytest.mark.parametrize("raw", HOSTILE)
def test_a_path_that_may_mean_another_one_is_refused(raw: str) -> None:
    assert target(raw, "GET") == Refused(400, "The address is not written plainly.")


@pytest.mark.parametrize(
    "raw",
    [
        "http://evil.example/api/x",
        "//evil.example/api/x",
        "/peer/sessions",
        "/metrics",
        "/%61pi/x",
        "/API/x",
        "/ws/terminal",
        "/csrf-token/x",
        "/apix",
        "*",
        "",
    ],
)
def test_other_paths_are_not_passed_on(raw: str) -> None:
    assert target(raw, "GET") is None


@pytest.mark.parametrize(
    "raw",
    [
        "/api/users",
        "/api/v1/ha/events?kind=a%2Cb&instance=",
        "/csrf-token",
        "/terminal/a.js",
        "/api/a;b",
        "/api/v1.0/...x",
        "/api/x?next=..;/",
    ],
)
def test_paths_of_the_api_are_passed_on_as_they_are(raw: str) -> None:
    assert target(raw, "GET") == raw


@pytest.mark.parametrize(
    ("raw", "method"),
    [("/api/users", "TRACE"), ("/api/users", "CONNECT"), ("/csrf-token", "POST"), ("/api/x", "OPTIONS")],
)
def test_other_methods_are_refused(raw: str, method: str) -> None:
    assert target(raw, method) == Refused(405, f"{method} is not allowed here.")


def test_only_sockets_are_upgraded() -> None:
    assert target("/ws/shared?share=x", "GET", is_upgrade=True) == "/ws/shared?share=x"
    assert isinstance(target("/ws/shared", "GET"), Refused)
    assert isinstance(target("/api/users", "GET", is_upgrade=True), Refused)


def test_only_known_headers_and_our_cookies_are_passed_on() -> None:
    environ = {
        "HTTP_HOST": "admin.example:3000",
        "REMOTE_ADDR": "192.0.2.7",
        "wsgi.url_scheme": "http",
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
        "HTTP_ORIGIN": "https://admin.example",
        "HTTP_X_CSRF_TOKEN": "abc",
        "HTTP_AUTHORIZATION": "Bearer x",
        "HTTP_CONNECTION": "close, X-CSRF-Token",
        "HTTP_X_PEER": "1",
        "CONTENT_TYPE": "application/json",
        "HTTP_COOKIE": "other=1; netstacks_page=p; __Host-netstacks_page=q; xnetstacks_page=r",
    }
    assert dict(headers.of_request(environ)) == {
        "Host": "admin.example:3000",
        "Origin": "https://admin.example",
        "X-CSRF-Token": "abc",
        "Content-Type": "application/json",
        "Cookie": "netstacks_page=p; __Host-netstacks_page=q",
        "X-Forwarded-For": "203.0.113.9, 192.0.2.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "admin.example:3000",
    }
    assert [name for name, _ in headers.of_call(environ)] == [
        "Host",
        "Accept",
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
    ]


def test_headers_of_one_hop_stay_there() -> None:
    given = [
        ("Connection", "keep-alive, X-Hop"),
        ("Keep-Alive", "timeout=5"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Content-Type", "text/plain"),
    ]
    assert headers.of_response(given) == [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Type", "text/plain")]
