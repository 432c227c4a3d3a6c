"""The client address of a request: only trusted proxies may name it."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.test import TestResponse

from netstacks.web.app import create_app
from netstacks.web.context import Services
from netstacks.web.http.proxies import TrustedProxies, hosts

TRUSTED = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")


def ask(peer: str, **forwarded: str) -> TestResponse:
    app = Flask(__name__)
    app.wsgi_app = TrustedProxies(app.wsgi_app, TRUSTED)  # type: ignore[method-assign]

    @app.get("/")
    def show() -> list[str]:
        facts = [request.remote_addr or "", request.scheme, request.host, request.environ["SERVER_PORT"]]
        return [*facts, *hosts(request.environ)]

    headers = {f"X-Forwarded-{name}": value for name, value in forwarded.items()}
    return app.test_client().get("/", headers=headers, environ_overrides={"REMOTE_ADDR": peer})


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("198.51.100.9", "203.0.113.5", "198.51.100.9"),
        ("10.1.2.3", "203.0.113.5", "203.0.113.5"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "6.6.6.6, 203.0.113.5", "203.0.113.5"),
        ("10.1.2.3", "6.6.6.6, 203.0.113.5, 192.0.2.7", "203.0.113.5"),
        ("10.1.2.3", "10.9.9.9, 192.0.2.7", "10.9.9.9"),
        ("10.1.2.3", "203.0.113.5, unknown, 192.0.2.7", "192.0.2.7"),
        ("10.1.2.3", "203.0.113.5:4711", "203.0.113.5"),
        ("10.1.2.3", "[2001:db9::1]:4711", "2001:db9::1"),
        ("::ffff:10.1.2.3", "2001:db9::1", "2001:db9::1"),
        ("", "203.0.113.5", ""),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(peer: str, forwarded_for: str, client: str) -> None:
    assert ask(peer, For=forwarded_for).json[0] == client


def test_scheme_and_host_of_a_stranger_do_not_count() -> None:
    answer = ask("198.51.100.9", For="203.0.113.5", Proto="https", Host="evil.example")
    assert answer.json == ["198.51.100.9", "http", "localhost", "80", "localhost"]


def test_a_trusted_proxy_tells_scheme_and_host_and_never_our_port() -> None:
    answer = ask("10.1.2.3", For="203.0.113.5", Proto="https", Host="netstacks.example:8443")
    assert answer.json[:4] == ["203.0.113.5", "https", "netstacks.example:8443", "80"]


@pytest.mark.parametrize(
    ("forwarded", "scheme", "hosts"),
    [
        ({"Port": "8443"}, "http", ["localhost", "localhost:8443"]),
        ({"Host": "a.example", "Port": "8443", "Proto": "https"}, "https", ["a.example", "a.example:8443"]),
        ({"Host": "a.example:8443", "Port": "80"}, "http", ["a.example:8443"]),
        ({"Host": "a.example:8443", "Port": "9443"}, "http", ["a.example:8443"]),
        ({"Host": "a.example", "Port": "443", "Proto": "https"}, "https", ["a.example"]),
        # The port of a proxy behind the one that ended TLS.
        ({"Host": "a.example", "Port": "80", "Proto": "https"}, "https", ["a.example"]),
        ({"Host": "[2001:db8::1]", "Port": "8443"}, "http", ["[2001:db8::1]", "[2001:db8::1]:8443"]),
        ({"Host": "[2001:db8::1]:8443", "Port": "9443"}, "http", ["[2001:db8::1]:8443"]),
        ({"Host": "a.example", "Port": "high"}, "http", ["a.example"]),
        ({"Host": "a.example", "Port": ""}, "http", ["a.example"]),
        ({"Host": "a.example", "Proto": "wss"}, "https", ["a.example"]),
        ({"Host": "a.example", "Proto": "WS"}, "http", ["a.example"]),
    ],
)
def test_a_port_is_a_possible_one_where_the_host_names_none(
    forwarded: dict[str, str], scheme: str, hosts: list[str]
) -> None:
    told = ask("10.1.2.3", **forwarded).json
    assert (told[1], told[2], told[4:]) == (scheme, hosts[0], hosts)
    told = ask("198.51.100.9", **forwarded).json
    assert (told[1], told[2], told[4:]) == ("http", "localhost", ["localhost"])


@pytest.mark.parametrize("scheme", ["http, https, http", "https"])
def test_behind_two_proxies_the_outer_ones_scheme_counts(scheme: str) -> None:
    assert ask("10.1.2.3", For="203.0.113.5, 192.0.2.7", Proto=scheme).json[1] == "https"


def test_a_scheme_that_is_none_is_ignored() -> None:
    assert ask("10.1.2.3", For="203.0.113.5", Proto="javascript").json[1] == "http"


@pytest.mark.parametrize(
    ("trusted", "address"), [((), "10.1.2.3"), (("10.0.0.0/8",), "203.0.113.5"), (("10.9.0.0/16",), "10.1.2.3")]
)
def test_the_audited_address_is_the_forwarded_one_only_behind_a_trusted_proxy(
    services: Services, audited: Callable[[str], list[dict[str, Any]]], trusted: tuple[str, ...], address: str
) -> None:
    services.settings = services.settings.model_copy(update={"trusted_proxies": trusted})
    answer = (
        create_app(services)
        .test_client()
        .post(
            "/api/auth/login",
            json={"username": "lee", "password": "wrong"},
            headers={"X-Forwarded-For": "203.0.113.5"},
            environ_overrides={"REMOTE_ADDR": "10.1.2.3"},
        )
    )
    assert answer.status_code == 401
    (row,) = audited("auth.login_failed")
    assert row["address"] == address
