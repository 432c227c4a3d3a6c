"""A whole controller: gunicorn, PostgreSQL and an OpenSSH device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.controller import Api, Controller, Terminal
from tests.postgres import Postgres
from tests.sshd import SSHD, Sshd


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    with Sshd() as server:
        yield server


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), SESSION_DETACH_TTL_SECS="60")
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def admin(controller: Controller) -> Api:
    return controller.login()


@dataclass
class Lab:
    """A user with a device to type into."""

    api: Api
    device: Any
    credential: Any

    def open(self, **query: Any) -> Terminal:
        return self.api.open(self.device, self.credential, **query).connected()

    def at(self, controller: Controller) -> "Lab":
        """The same user and device through another instance."""
        return Lab(self.api.at(controller), self.device, self.credential)


def make_lab(api: Api, sshd: Sshd) -> Lab:
    """Adds the server as a device whose host key is known, and a key to log in with."""
    device = api.add_device(sshd.host, sshd.port, host_key=(sshd.host_key_type, sshd.host_key_base64))
    return Lab(api, device, api.add_credential(sshd.user, sshd.private_key, "ssh_key"))


@pytest.fixture(scope="module")
def lab(admin: Api, sshd: Sshd) -> Lab:
    return make_lab(admin, sshd)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, to be stopped, killed and frozen."""
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture
def own(own_postgres: Postgres, sshd: Sshd) -> Iterator[tuple[Controller, Lab]]:
    """A controller on a server of its own."""
    controller = Controller(own_postgres.create_database(), SESSION_DETACH_TTL_SECS="60").start()
    yield controller, make_lab(controller.login(), sshd)
    controller.stop()
