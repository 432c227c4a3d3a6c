"""Behind real load balancers, with deploy/nginx.conf and deploy/haproxy.cfg as they are."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.acceptance.cluster import TTL_SECS, Cluster
from tests.acceptance.fronts import Front
from tests.acceptance.shells import quiet, types_on
from tests.acceptance.short_ttl import statuses
from tests.controller import ADMIN, Controller, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd

# HAProxy takes a server away after two checks that failed.
CHECKED_SECS = 5


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2, TRUSTED_PROXIES="127.0.0.1") as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def balancer(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Balancer]:
    if not is_installed(request.param):
        pytest.skip(f"needs Debian's {request.param}")
    with Balancer(request.param, [each.port for each in cluster.controllers]) as balancer:
        yield balancer


@pytest.fixture(scope="module")
def front(balancer: Balancer) -> Controller:
    return Front(balancer)


class _From127002(HTTPAdapter):
    """Connects from 127.0.0.2, which differs from the address of the proxy, 127.0.0.1."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, source_address=("127.0.0.2", 0))


def test_the_clients_address_is_audited_and_not_the_proxys(cluster: Cluster, front: Controller) -> None:
    api = front.login()
    username, password = ADMIN
    with requests.Session() as client:
        client.mount("http://", _From127002())
        answer = client.post(
            f"{front.url}/api/auth/login",
            json={"username": username, "password": password},
            headers={"X-Forwarded-For": "203.0.113.9"},
            timeout=30,
        )
    assert answer.ok, answer.text
    # Newest first.
    addresses = [each["address"] for each in api.get("/api/audit")["items"] if each["event"] == "auth.login"]
    assert addresses[:2] == ["127.0.0.2", "127.0.0.1"]


def test_a_frozen_valkey_takes_no_instance_from_its_users(cluster: Cluster, front: Controller, sshd: Sshd) -> None:
    lab = cluster.lab(sshd).at(front)
    terminal = quiet(lab.open(epoch=0, offset=0))
    cluster.valkey.freeze()
    try:
        until(lambda: statuses(cluster) == {"degraded"}, "both to miss it")
        away_since = time.monotonic()

        def has_outlived_a_ttl() -> bool:
            assert front.health()["status"] == "degraded"
            types_on(terminal)
            return time.monotonic() > away_since + TTL_SECS + CHECKED_SECS

        until(has_outlived_a_ttl, "a whole TTL without Valkey, and what balancers would make of it", 60)
        another = quiet(lab.open(epoch=0, offset=0))
        types_on(another)
    finally:
        cluster.valkey.thaw()
    until(lambda: statuses(cluster) == {"healthy"}, "healthy again", 60)
    for each in (terminal, another):
        each.leave()
