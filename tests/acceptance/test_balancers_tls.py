"""TLS ends at the load balancer, with the lines about it in deploy/nginx.conf and deploy/haproxy.cfg."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests
from websockets.sync.client import connect

from tests.acceptance.lab import make_lab
from tests.certificates import Authority
from tests.controller import ADMIN, Controller, terminal_query
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), TRUSTED_PROXIES="127.0.0.1").start()
    yield controller
    controller.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(params=["nginx", "haproxy"])
def balancer(request: pytest.FixtureRequest, controller: Controller, authority: Authority) -> Iterator[Balancer]:
    if not is_installed(request.param):
        pytest.skip(f"needs Debian's {request.param}")
    with Balancer(request.param, [controller.port], tls=authority) as balancer:
        yield balancer


def test_pages_and_terminals_are_those_of_a_site_with_tls(
    controller: Controller, balancer: Balancer, authority: Authority, sshd: Sshd
) -> None:
    lab = make_lab(controller.login(), sshd)
    with requests.Session() as browser:
        # Else a variable of the environment would name other authorities.
        browser.trust_env = False
        browser.verify = str(authority.ca)
        answer = browser.post(
            f"{balancer.url}/api/auth/login",
            json={"username": ADMIN[0], "password": ADMIN[1]},
            headers={"X-NetStacks-Page": "1", "Origin": balancer.url},
            timeout=30,
        )
        assert answer.ok, answer.text
        cookie = next(each for each in browser.cookies if each.name.endswith("netstacks_page"))
        # Only a site with TLS may set a cookie with this prefix.
        assert cookie.name == "__Host-netstacks_page"
        assert cookie.secure
        page = browser.get(f"{balancer.url}/", timeout=30)
        assert lab.device["name"] in page.text
        query = urlencode(terminal_query(lab.device, lab.credential, epoch=0, offset=0))
        trusted = ssl.create_default_context(cafile=str(authority.ca))
        url = f"wss://127.0.0.1:{balancer.port}/ws/ssh?{query}"
        headers = {"Cookie": f"{cookie.name}={cookie.value}"}
        with connect(url, origin=balancer.url, additional_headers=headers, ssl=trusted) as socket:  # type: ignore[arg-type]
            # SessionInfo: the device's shell is open.
            assert any(message[0] == 0x08 for message in iter(socket.recv, None))  # type: ignore[comparison-overlap]


def test_a_page_without_tls_is_another_site(controller: Controller, balancer: Balancer, authority: Authority) -> None:
    headers = {
        "Origin": balancer.url.replace("https:", "http:"),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    url = f"{balancer.url}/ws/ssh?token={controller.login().token}"
    answer = requests.get(url, headers=headers, verify=str(authority.ca), timeout=30)
    assert (answer.status_code, "is not the origin of this site" in answer.text) == (403, True)
