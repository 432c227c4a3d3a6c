"""Several controllers on one database and one Valkey: what an operator runs behind a load balancer."""

from typing import Any, Self

from tests.acceptance.conftest import Lab, make_lab
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import Valkey

HEARTBEAT_SECS, TTL_SECS = 1, 4


class Cluster:
    """Controllers that know of each other, for as long as the `with` block lasts."""

    def __init__(self, postgres: Postgres, size: int, **settings: str) -> None:
        self.valkey = Valkey()
        self._settings = {
            "VALKEY_URL": self.valkey.url,
            "HA_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_SECS),
            "HA_STALE_INSTANCE_TTL_SECS": str(TTL_SECS),
            # A frozen worker must be left to its peers' judgement (pitfall 1).
            "GUNICORN_CMD_ARGS": "--timeout=300",
            "SESSION_DETACH_TTL_SECS": "60",
            **settings,
        }
        self.database_url = postgres.create_database()
        self.controllers = [Controller(self.database_url, **self._settings) for _ in range(size)]

    def __enter__(self) -> Self:
        self.valkey.start()
        for controller in self.controllers:
            controller.start()
        self.gathered(sum(int(each.environ.get("WEB_CONCURRENCY", "1")) for each in self.controllers))
        return self

    def __exit__(self, *_: object) -> None:
        for controller in self.controllers:
            controller.thaw()
            controller.kill()
            controller.stop()
        self.valkey.destroy()

    def gathered(self, count: int) -> None:
        """Waits until every running controller sees `count` healthy instances."""
        running = [each for each in self.controllers if each.is_running]
        until(lambda: all(_healthy(each) == count for each in running), f"a cluster of {count}")

    def lab(self, sshd: Sshd) -> Lab:
        return make_lab(self.controllers[0].login(), sshd)


def _healthy(controller: Controller) -> Any:
    return controller.health().get("cluster", {}).get("healthy_instances")
