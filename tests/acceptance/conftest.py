"""A whole controller: gunicorn, PostgreSQL and an OpenSSH device."""

from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab, make_lab
from tests.acceptance.sharing import opened
from tests.controller import Api, Controller, Terminal
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import SentinelCluster


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), SESSION_DETACH_TTL_SECS="60")
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def admin(controller: Controller) -> Api:
    return controller.login()


@pytest.fixture(scope="module")
def lab(admin: Api, sshd: Sshd) -> Lab:
    return make_lab(admin, sshd)


@pytest.fixture
def own(own_postgres: Postgres, sshd: Sshd) -> Iterator[tuple[Controller, Lab]]:
    """A controller on a server of its own."""
    controller = Controller(own_postgres.create_database(), SESSION_DETACH_TTL_SECS="60").start()
    yield controller, make_lab(controller.login(), sshd)
    controller.stop()


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    """Three instances of the test's own, to be killed, drained and frozen."""
    with Cluster(postgres, 3) as cluster:
        yield cluster


@pytest.fixture
def sentinels() -> Iterator[SentinelCluster]:
    with SentinelCluster() as sentinels:
        yield sentinels


@pytest.fixture
def terminal(cluster: Cluster, sshd: Sshd) -> Terminal:
    """A quiet terminal on the first of them."""
    return opened(cluster.lab(sshd))
