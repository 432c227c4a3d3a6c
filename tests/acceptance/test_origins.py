"""Behind a real nginx: a page has its own origin, however Host is passed on, if a trusted proxy names it."""

from collections.abc import Iterator

import pytest
import requests

from tests.controller import ADMIN, Controller
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres

NGINX_HOST = """        proxy_set_header Host $http_host;
"""
NGINX_FORWARDED_HOST = """        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Port "";
"""


@pytest.fixture(scope="module", params=["trusted", "stranger"])
def controller(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Controller]:
    """One that trusts the proxy, or does not."""
    trusted = {"TRUSTED_PROXIES": "127.0.0.1"} if request.param == "trusted" else {}
    controller = Controller(postgres.create_database(), **trusted)
    try:
        yield controller.start()
    finally:
        controller.stop()


def log_out_of_a_page(balancer: Balancer, origin: str) -> requests.Response:
    """A change by the cookie, as a page of this origin sends it."""
    page = requests.Session()
    body = {"username": ADMIN[0], "password": ADMIN[1]}
    answer = page.post(f"{balancer.url}/api/auth/login", json=body, headers={"X-NetStacks-Page": "1"}, timeout=30)
    assert answer.status_code == 200, answer.text
    (cookie,) = (
        {"Cookie": f"{name}={value}"} for name, value in answer.cookies.items() if name.endswith("netstacks_page")
    )
    headers = {"Origin": origin, "X-CSRF-Token": answer.json()["csrf_token"], **cookie}
    return page.post(f"{balancer.url}/api/auth/logout", headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("host", "forwarded", "is_https", "by_trusted", "by_stranger"),
    [
        ("$http_host", "", False, 200, 200),
        ("$host", "", False, 403, 403),
        ("$host", "proxy_set_header X-Forwarded-Port $server_port;", False, 200, 403),
        ("$host", "proxy_set_header X-Forwarded-Host $http_host;", False, 200, 403),
        ("controllers", "proxy_set_header X-Forwarded-Host $host:$server_port;", False, 200, 403),
        ("$host:443", "proxy_set_header X-Forwarded-Proto https;", True, 200, 200),
        ("$host", "", True, 200, 200),
        # The port of this proxy, behind another one that ended TLS.
        ("$host", "proxy_set_header X-Forwarded-Port $server_port;", True, 200, 200),
    ],
)
def test_a_page_is_told_from_a_foreign_one_behind_nginx(
    controller: Controller, host: str, forwarded: str, is_https: bool, by_trusted: int, by_stranger: int
) -> None:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    balancer = Balancer("nginx", [controller.port])
    text = balancer.file.read_text()
    assert NGINX_HOST in text
    assert NGINX_FORWARDED_HOST in text
    text = text.replace(NGINX_HOST, f"        proxy_set_header Host {host};\n")
    if is_https:
        text = text.replace("        proxy_set_header X-Forwarded-Proto $scheme;\n", "")
    balancer.file.write_text(text.replace(NGINX_FORWARDED_HOST, f"        {forwarded}\n"))
    with balancer:
        origin = "https://127.0.0.1" if is_https else balancer.url
        own = log_out_of_a_page(balancer, origin)
        foreign = log_out_of_a_page(balancer, "https://evil.example")
    is_trusted = "TRUSTED_PROXIES" in controller.environ
    assert own.status_code == (by_trusted if is_trusted else by_stranger), own.text
    assert foreign.status_code == 403


def test_haproxy_may_check_with_options(controller: Controller) -> None:
    if not is_installed("haproxy"):
        pytest.skip("needs Debian's haproxy")
    balancer = Balancer("haproxy", [controller.port])
    text = balancer.file.read_text()
    assert "option httpchk GET /api/v1/health" in text
    balancer.file.write_text(text.replace("option httpchk GET", "option httpchk OPTIONS"))
    with balancer:
        # A server that is down is found out by then.
        check = requests.options(f"http://127.0.0.1:{controller.port}/api/v1/health", timeout=30)
        assert check.status_code == 200
        assert requests.get(f"{balancer.url}/api/v1/health", timeout=30).status_code == 200
