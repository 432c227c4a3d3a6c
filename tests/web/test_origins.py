"""An Origin is compared with the requested origin: by Host, or by the header of a trusted proxy."""

import pytest
from flask import Flask

from netstacks.settings import Settings
from netstacks.web.auth import origins
from tests.web.conftest import JWT_SECRET, MASTER_KEY, Api


@pytest.fixture
def settings() -> Settings:
    return Settings(
        database_url="postgresql://localhost/unused",
        vault_master_key=MASTER_KEY,
        jwt_secret=JWT_SECRET,
        trusted_proxies=("10.0.0.0/8",),
        allowed_origins=("https://portal.example",),
    )


@pytest.fixture(autouse=True)
def probe(app: Flask) -> None:
    def look() -> str:
        origins.check()
        return "welcome"

    app.add_url_rule("/ws/probe", view_func=look)


@pytest.mark.parametrize(
    ("origin", "host", "forwarded", "status"),
    [
        ("https://a.example", "a.example:443", {}, 200),
        ("http://a.example", "a.example:80", {}, 200),
        ("https://a.example:8443", "a.example", {}, 403),
        ("https://a.example:8443", "a.example", {"Port": "8443"}, 200),
        ("https://a.example:8443", "a.example", {"Host": "a.example:8443", "Proto": "https"}, 200),
        ("https://a.example", "controllers", {"Host": "a.example", "Proto": "https"}, 200),
        ("https://b.example", "a.example", {"Host": "a.example", "Proto": "https"}, 403),
        ("null", "a.example", {"Host": "null"}, 403),
        ("http://[", "a.example", {}, 403),
        ("http://a.example", "a.example/x", {}, 403),
        ("https://portal.example", "a.example", {}, 200),
        ("http://portal.example", "a.example", {}, 403),
        ("http://a.example:x", "a.example", {}, 403),
    ],
)
def test_host_and_port_of_a_trusted_proxy_count_and_those_of_others_do_not(
    anonymous: Api, origin: str, host: str, forwarded: dict[str, str], status: int
) -> None:
    headers = {"Origin": origin, "Host": host, **{f"X-Forwarded-{name}": value for name, value in forwarded.items()}}
    answers = [
        anonymous.get("/ws/probe", headers=headers, environ_overrides={"REMOTE_ADDR": peer})
        for peer in ("10.0.0.1", "192.0.2.1")
    ]
    by_stranger = 403 if forwarded else status
    assert [answer.status_code for answer in answers] == [status, by_stranger]


@pytest.mark.parametrize(
    ("origin", "host", "forwarded", "status"),
    [
        # The port of a proxy behind the one that ended TLS.
        ("https://a.example", "a.example", {"Port": "8080"}, 200),
        ("https://a.example", "controllers", {"Host": "a.example", "Port": "8080", "Proto": "https"}, 200),
        ("https://a.example:8443", "controllers", {"Host": "a.example", "Port": "8443"}, 200),
        ("https://a.example", "a.example", {"Port": "8443, 8080"}, 200),
        ("https://a.example:9443", "a.example", {"Port": "8080"}, 403),
        ("https://b.example", "a.example", {"Port": "8080"}, 403),
        ("https://b.example:8080", "a.example", {"Port": "8080"}, 403),
        # Where X-Forwarded-Host is given, the inner name is no site.
        ("https://controllers", "controllers", {"Host": "a.example", "Port": "8080"}, 403),
        # The host's own port is the client's.
        ("https://a.example", "a.example:8443", {"Port": "8080"}, 403),
        ("https://a.example:8080", "a.example:8443", {"Port": "8080"}, 403),
        ("https://a.example:80", "a.example", {"Port": "80"}, 403),
        ("https://a.example:x", "a.example", {"Port": "x"}, 403),
    ],
)
def test_a_forwarded_port_may_be_the_clients_or_an_inner_proxys(
    anonymous: Api, origin: str, host: str, forwarded: dict[str, str], status: int
) -> None:
    headers = {"Origin": origin, "Host": host, **{f"X-Forwarded-{name}": value for name, value in forwarded.items()}}
    answer = anonymous.get("/ws/probe", headers=headers, environ_overrides={"REMOTE_ADDR": "10.0.0.1"})
    assert answer.status_code == status


def test_a_page_by_http_is_foreign_where_a_trusted_proxy_tells_of_https(anonymous: Api) -> None:
    headers = {"Origin": "http://a.example", "Host": "a.example", "X-Forwarded-Proto": "https"}
    by_proxy = anonymous.get("/ws/probe", headers=headers, environ_overrides={"REMOTE_ADDR": "10.0.0.1"})
    by_stranger = anonymous.get("/ws/probe", headers=headers, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert (by_proxy.status_code, by_stranger.status_code) == (403, 200)


def test_a_foreign_origin_is_told_what_would_be_right(anonymous: Api) -> None:
    refused = anonymous.get("/ws/probe", headers={"Origin": "http://a.example:8080", "Host": "a.example"})
    assert "X-Forwarded-Host" in refused.json["error"]
    assert "requested as a.example." in refused.json["error"]
