"""A browser, a network that can be cut, a controller and a device behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser.browser import CHROMEDRIVER, CHROMIUM, Browser, launch
from tests.browser.keyboard import Keyboard
from tests.controller import ADMIN, Api, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.wire import Wire

# A test waits for several things, each for longer than it takes, and the first one of a file for its servers besides.
_TEST_SECS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TEST_SECS))


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("needs Debian's chromium and chromium-driver")
    driver = launch()
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def controller(postgres: Postgres, chromium: webdriver.Chrome) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), SESSION_DETACH_TTL_SECS="60").start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def admin(controller: Controller) -> Api:
    return controller.login()


@pytest.fixture(scope="module")
def lab(admin: Api, sshd: Sshd) -> str:
    """A device with a default credential; its id. Its host key is not yet known."""
    credential = admin.add_credential(sshd.user, sshd.private_key, "ssh_key", name="Lab key")
    device = admin.add_device(sshd.host, sshd.port, name="lab-1", default_credential_id=credential["id"])
    device_id: str = device["id"]
    return device_id


@pytest.fixture(scope="module")
def recorded(admin: Api, sshd: Sshd, lab: str) -> str:
    """A session that has ended, its recording stored; its id."""
    key = f"{sshd.host_key_type} {sshd.host_key_base64}"
    admin.post("/api/host-keys", {"host": sshd.host, "port": sshd.port, "public_key": key})
    device = admin.get(f"/api/devices/{lab}")
    terminal = admin.open(device, {"id": device["default_credential_id"]}).connected()
    terminal.type("echo re''corded; exit\n")
    terminal.expect("recorded")
    terminal.ended()
    terminal.leave()
    session_id: str = terminal.info["session_id"]
    until(lambda: admin.get(f"/api/recordings/{session_id}")["bytes"], "the recording")
    return session_id


@pytest.fixture
def known_lab(admin: Api, sshd: Sshd, lab: str) -> str:
    """The same, its host key approved."""
    key = f"{sshd.host_key_type} {sshd.host_key_base64}"
    admin.post("/api/host-keys", {"host": sshd.host, "port": sshd.port, "public_key": key})
    return lab


@pytest.fixture
def wire(controller: Controller) -> Iterator[Wire]:
    """The network between browser and controller."""
    wire = Wire(controller.port)
    yield wire
    wire.close()


@pytest.fixture
def stranger(chromium: webdriver.Chrome, wire: Wire) -> Browser:
    """A browser without a log-in."""
    return Browser(chromium, f"http://127.0.0.1:{wire.port}")


@pytest.fixture
def browser(stranger: Browser) -> Browser:
    """A browser in which the administrator is logged in."""
    stranger.log_in(*ADMIN)
    return stranger


@pytest.fixture
def keyboard(stranger: Browser) -> Keyboard:
    return Keyboard(stranger)


@pytest.fixture(scope="module")
def readers(admin: Api) -> None:
    """A role that those may give who have nothing but the permission that they need."""
    admin.post("/api/v1/roles", {"name": "readers", "permissions": ["devices.access"]})
