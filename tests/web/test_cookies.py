"""The page's cookie cannot be put there, or pushed aside, by a sibling of our domain."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.auth.tokens import Tokens, TokenType
from netstacks.web.context import Services
from netstacks.web.http import cookies
from tests.web.conftest import PASSWORD

AddUser = Callable[..., User]
TLS = {"wsgi.url_scheme": "https"}
PLAIN, HOST = "netstacks_page", "__Host-netstacks_page"


def cookie_of(client: FlaskClient, name: str = "lee", **environ: Any) -> tuple[str, str]:
    """Name and value of the page cookie that a log-in gives."""
    body = {"username": name, "password": PASSWORD}
    answer = client.post(
        "/api/auth/login", json=body, headers={"X-NetStacks-Page": "1"}, environ_overrides=environ or None
    )
    assert answer.status_code == 200, answer.text
    [header] = [each for each in answer.headers.getlist("Set-Cookie") if "netstacks_page=" in each]
    cookie_name, _, rest = header.partition("=")
    return cookie_name, rest.partition(";")[0]


@pytest.fixture
def client(app: Flask, add_user: AddUser) -> FlaskClient:
    """A client that keeps no cookies: each request sends the given ones."""
    add_user("lee")
    add_user("mallory")
    return app.test_client(use_cookies=False)


def user_of(client: FlaskClient, *sent: tuple[str, str], **environ: Any) -> str | None:
    header = "; ".join(f"{name}={value}" for name, value in sent)
    answer = client.get("/api/auth/me", headers={"Cookie": header}, environ_overrides=environ or None)
    return answer.json["username"] if answer.status_code == 200 else None


def test_by_https_the_cookie_is_of_this_host_alone(client: FlaskClient) -> None:
    assert cookie_of(client)[0] == PLAIN
    assert cookie_of(client, **TLS)[0] == HOST


def test_a_trusted_proxy_that_ended_tls_counts_as_https(app: Flask, services: Services, add_user: AddUser) -> None:
    from netstacks.web.app import create_app

    add_user("lee")
    services.settings = services.settings.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    client = create_app(services).test_client(use_cookies=False)
    assert cookie_of(client, HTTP_X_FORWARDED_PROTO="https")[0] == HOST
    assert cookie_of(app.test_client(use_cookies=False), HTTP_X_FORWARDED_PROTO="https")[0] == PLAIN


def test_by_https_a_cookie_that_a_sibling_domain_could_set_authenticates_no_request(client: FlaskClient) -> None:
    _, theirs = cookie_of(client, "mallory")
    _, ours = cookie_of(client, **TLS)
    assert user_of(client, (PLAIN, theirs), **TLS) is None
    assert user_of(client, (PLAIN, theirs), (HOST, ours), **TLS) == "lee"
    assert user_of(client, (PLAIN, theirs)) == "mallory"


def test_where_an_untrusted_proxy_ended_tls_both_names_are_read(client: FlaskClient) -> None:
    """A request may look like one by http although the log-in's did not: that of a WebSocket, for instance."""
    _, ours = cookie_of(client, **TLS)
    _, plain = cookie_of(client)
    assert user_of(client, (HOST, ours)) == "lee"
    assert user_of(client, (HOST, "left.over.garbage"), (PLAIN, plain)) == "lee"


@pytest.mark.parametrize("garbage", ["x", "", "a.b.c", '"quoted', "\xff"])
@pytest.mark.parametrize("environ", [{}, TLS], ids=["http", "https"])
def test_garbage_of_the_same_name_that_comes_first_locks_no_user_out(
    client: FlaskClient, garbage: str, environ: dict[str, Any]
) -> None:
    name, ours = cookie_of(client, **environ)
    assert user_of(client, (name, garbage), (name, garbage), (name, ours), **environ) == "lee"


def test_a_log_in_that_has_ended_and_comes_first_locks_no_user_out(client: FlaskClient, database: Database) -> None:
    _, ended = cookie_of(client, "mallory")
    _, ours = cookie_of(client)
    with database.transaction() as tx:
        tx.execute(
            "UPDATE logins SET revoked_at = now() WHERE user_id = (SELECT id FROM users WHERE username = 'mallory')"
        )
    assert user_of(client, (PLAIN, ended), (PLAIN, ours)) == "lee"


def test_no_more_than_a_few_of_one_name_are_looked_at(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        Tokens, "read", lambda self, kind, token: read.append(token) if kind is TokenType.PAGE else None
    )
    user_of(client, *[(PLAIN, f"garbage{number}") for number in range(500)])
    assert len(read) == cookies._MAX_VALUES


@pytest.mark.parametrize("environ", [{}, TLS], ids=["http", "https"])
def test_logging_out_takes_what_was_sent(client: FlaskClient, environ: dict[str, Any]) -> None:
    _, ours = cookie_of(client, **environ)
    name = HOST if environ else PLAIN
    sent = f"{PLAIN}=old; {HOST}={ours}" if environ else f"{PLAIN}={ours}"
    token = client.get("/csrf-token", headers={"Cookie": sent}, environ_overrides=environ).json["csrf_token"]
    scheme = "https" if environ else "http"
    headers = {"Cookie": sent, "Origin": f"{scheme}://localhost", "X-CSRF-Token": token}
    answer = client.post("/api/auth/logout", headers=headers, environ_overrides=environ)
    assert answer.status_code == 200, answer.text
    taken = [header.partition("=")[0] for header in answer.headers.getlist("Set-Cookie")]
    assert set(taken) == ({HOST, PLAIN} if environ else {name})
    assert all(("Secure" in header) == header.startswith("__Host-") for header in answer.headers.getlist("Set-Cookie"))


def test_a_user_is_told_that_the_log_in_has_ended(client: FlaskClient) -> None:
    sentence = "Your log-in has ended"
    assert sentence not in client.get("/login").text
    assert sentence in client.get("/login", headers={"Cookie": f"{PLAIN}=of.some.time"}).text
