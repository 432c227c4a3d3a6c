"""Where the faults of the troubleshooting chapter are made: a cluster that stays well, and parts beside it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.cluster import Cluster
from tests.controller import Controller
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd


class Bench:
    """A cluster of two that no fault may harm, and the means to build others."""

    def __init__(self, postgres: Postgres, sshd: Sshd, cluster: Cluster) -> None:
        self.postgres = postgres
        self.sshd = sshd
        self.cluster = cluster
        self.first = cluster.controllers[0]

    @contextmanager
    def started(self, wait_for: str, **settings: str) -> Iterator[Controller]:
        """One more controller, on a database of its own unless `DATABASE_URL` is given."""
        settings = {"DATABASE_URL": self.postgres.create_database(), **settings}
        controller = Controller(settings.pop("DATABASE_URL"), **settings)
        try:
            yield controller.start(wait_for=wait_for)
        finally:
            controller.stop()

    @contextmanager
    def nginx(
        self, *removed: str, instances: tuple[Controller, ...] | None = None, silence: str = "15s"
    ) -> Iterator[Balancer]:
        """nginx with the file of deploy/, but for the lines that are removed; `silence` is its timeout on /ws/."""
        if not is_installed("nginx"):
            pytest.skip("needs Debian's nginx")
        balancer = Balancer("nginx", [each.port for each in instances or self.cluster.controllers])
        text = balancer.file.read_text()
        for line in removed:
            assert line in text
            text = text.replace(line, "")
        assert "proxy_read_timeout 15s" in text
        text = text.replace("proxy_read_timeout 15s", f"proxy_read_timeout {silence}")
        balancer.file.write_text(text)
        with balancer:
            yield balancer
