"""Pages behind a load balancer that lets no WebSocket through say so, instead of 'No connection'."""

import pytest
from selenium import webdriver

from tests.acceptance.sharing import share
from tests.browser.browser import Browser
from tests.controller import ADMIN, Api, Controller
from tests.deploy.balancers import Balancer, is_installed

UPGRADE = "proxy_set_header Upgrade $http_upgrade;"
CONNECTION = "proxy_set_header Connection $connection_upgrade;"
HTTP_VERSION = "proxy_http_version 1.1;"
HOST = "proxy_set_header Host $http_host;"
NO_UPGRADE = "The load balancer does not forward WebSocket upgrades"
FORWARDED_HOST = "proxy_set_header X-Forwarded-Host $http_host;"


@pytest.mark.parametrize(
    ("removed", "told", "logged"),
    [
        (UPGRADE, NO_UPGRADE, "arrive without the header Upgrade"),
        (CONNECTION, NO_UPGRADE, "arrive without the header Connection"),
        (HTTP_VERSION, NO_UPGRADE, "arrive with HTTP/1.0"),
        (HOST, "The load balancer does not pass the header Host on", "origin.refused"),
    ],
    ids=["Upgrade", "Connection", "HTTP/1.1", "Host"],
)
def test_the_pages_name_what_the_load_balancer_removes(
    chromium: webdriver.Chrome,
    controller: Controller,
    admin: Api,
    known_lab: str,
    removed: str,
    told: str,
    logged: str,
) -> None:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    balancer = Balancer("nginx", [controller.port])
    text = balancer.file.read_text()
    assert removed in text
    balancer.file.write_text(text.replace(removed, ""))
    with balancer:
        browser = Browser(chromium, balancer.url)
        browser.log_in(*ADMIN)
        browser.open(f"/terminals/new?device={known_lab}")
        browser.wait_for(told)
        # It tries again, and goes on to say why.
        browser.wait_for("Reconnecting in")
        assert controller.log().count(logged) == 1
        browser.errors()

        device = admin.get(f"/api/devices/{known_lab}")
        terminal = admin.open(device, {"id": device["default_credential_id"]}).connected()
        browser.open(f"/share#{share(terminal)}")
        browser.wait_for(told)
        browser.errors()
        terminal.leave()
