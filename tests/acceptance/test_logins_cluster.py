"""Log-ins on two real instances: guesses are counted together, a log-in's age too, and cookies hold behind a proxy."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests

from tests.acceptance.cluster import Cluster
from tests.controller import Api
from tests.postgres import Postgres

PASSWORD = "several words of lee"
PAGE = {"X-NetStacks-Page": "1"}
# As a proxy that is trusted passes them on.
HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2, TRUSTED_PROXIES="127.0.0.1") as cluster:
        yield cluster


@pytest.fixture
def lee(cluster: Cluster) -> Iterator[str]:
    """A user without failures, nor log-ins, from before."""
    admin = cluster.controllers[0].login()
    user = admin.post("/api/users", {"username": "lee", "password": PASSWORD, "role": "operator"})
    yield user["username"]
    admin.call("DELETE", f"/api/users/{user['id']}")
    with psycopg.connect(cluster.database_url) as connection:
        connection.execute("DELETE FROM failed_logins")


def try_at(cluster: Cluster, number: int, address: str, password: str, session: Any = requests, **headers: str) -> Any:
    """A log-in at one of the instances, from this address."""
    url = cluster.controllers[number % 2].url
    body = {"username": "lee", "password": password}
    return session.post(f"{url}/api/auth/login", json=body, headers={"X-Forwarded-For": address, **headers}, timeout=30)


def guess(cluster: Cluster, addresses: list[str]) -> Counter[int]:
    """Wrong passwords from these addresses, at the instances in turn: how often each status was the answer."""
    return Counter(try_at(cluster, number, each, "wrong").status_code for number, each in enumerate(addresses))


def hold_waits(cluster: Cluster) -> None:
    """Keeps the waits of ten seconds from ending: a failure by a clock that is ahead counts as one of this moment."""
    with psycopg.connect(cluster.database_url) as connection:
        connection.execute("UPDATE failed_logins SET last_at = now() + interval '1 hour'")


def test_one_user_is_guessed_at_from_one_ipv6_network_ten_times_by_whatever_instances(
    cluster: Cluster, lee: str
) -> None:
    addresses = [f"2001:db8::{number:x}" for number in range(60)]
    assert guess(cluster, addresses[:10]) == {401: 10}
    hold_waits(cluster)
    assert guess(cluster, addresses[10:]) == {429: 50}


def test_a_storm_from_many_addresses_is_slowed_and_the_user_gets_in(cluster: Cluster, lee: str) -> None:
    with requests.Session() as browser:
        assert try_at(cluster, 0, "198.51.100.1", PASSWORD, browser, **PAGE).status_code == 200
    assert try_at(cluster, 1, "198.51.100.2", PASSWORD).status_code == 200

    addresses = [f"192.0.2.{number % 30}" for number in range(102)]
    assert guess(cluster, addresses[:100]) == {401: 100}
    hold_waits(cluster)
    # Only two, because each of them takes a second.
    assert guess(cluster, addresses[100:]) == {429: 2}
    stranger = try_at(cluster, 0, "203.0.113.1", PASSWORD)
    assert stranger.status_code == 429
    assert 0 < int(stranger.headers["Retry-After"]) <= 60

    # A program comes from where it has come from before, a browser shows its mark wherever it is.
    assert [try_at(cluster, each, "198.51.100.2", PASSWORD).status_code for each in (0, 1)] == [200, 200]
    marks = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    assert [try_at(cluster, each, "203.0.113.2", PASSWORD, **marks).status_code for each in (0, 1)] == [200, 200]
    others = cluster.controllers[1].login()
    assert others.get("/api/auth/me")["username"] == "admin"


def test_a_log_in_ends_at_its_greatest_age_at_every_instance(cluster: Cluster, lee: str) -> None:
    here, there = cluster.controllers
    api = here.login(lee, PASSWORD)
    body = {"refresh_token": api.refresh_token}
    api.refresh_token = api.at(there).call("POST", "/api/auth/refresh", json=body, expect=200)["refresh_token"]
    with psycopg.connect(cluster.database_url) as connection:
        connection.execute(
            "UPDATE logins SET created_at = now() - interval '29 days 23 hours'"
            " WHERE user_id = (SELECT id FROM users WHERE username = 'lee')"
        )
    body = {"refresh_token": api.refresh_token}
    renewed: Api = api.at(here)
    renewed.token = api.call("POST", "/api/auth/refresh", json=body, expect=200)["access_token"]
    with psycopg.connect(cluster.database_url) as connection:
        left = connection.execute(
            "SELECT max(expires_at - now()) <= interval '1 hour' FROM logins JOIN users ON users.id = user_id"
            " WHERE username = 'lee'"
        ).fetchone()
        connection.execute(
            "UPDATE logins SET created_at = created_at - interval '1 hour', expires_at = expires_at - interval '1 hour'"
            " WHERE user_id = (SELECT id FROM users WHERE username = 'lee')"
        )
    assert left == (True,)
    for each in (here, there):
        ended = requests.post(f"{each.url}/api/auth/refresh", json=body, timeout=30)
        assert (ended.status_code, ended.json()["error"]) == (401, "Your log-in has ended. Log in again.")
    assert renewed.at(there).call("POST", "/api/auth/logout", expect=401)["error"].endswith("has ended.")


def test_behind_a_trusted_proxy_the_cookie_is_of_this_host_alone_and_garbage_does_not_push_it_aside(
    cluster: Cluster, lee: str
) -> None:
    here, there = cluster.controllers
    answer = try_at(cluster, 0, "198.51.100.7", PASSWORD, **PAGE, **HTTPS)
    cookie = next(each for each in answer.cookies if each.name == "__Host-netstacks_page")
    assert cookie.secure
    sent = f"__Host-netstacks_page=x; netstacks_page=y; __Host-netstacks_page={cookie.value}"
    for each in (here, there):
        me = requests.get(f"{each.url}/api/auth/me", headers={**HTTPS, "Cookie": sent}, timeout=30)
        assert me.json()["username"] == "lee"
        plain = {**HTTPS, "Cookie": f"netstacks_page={cookie.value}"}
        assert requests.get(f"{each.url}/api/auth/me", headers=plain, timeout=30).status_code == 401
