"""Several controllers on one database and one Valkey: what an operator runs behind a load balancer."""

import time
from typing import Any, Self

import redis
from websockets.exceptions import InvalidHandshake

from tests.acceptance.lab import Lab, make_lab
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import SentinelCluster, Valkey

HEARTBEAT_SECS, TTL_SECS = 2, 8

# A licence of the product's own issuer, for five seats; it holds no secret.
TEAMS_LICENSE = (
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9"
    ".eyJjdXN0b21lciI6InRoZSB0ZXN0cyIsInRpZXIiOiJ0ZWFtIiwic2VhdHMiOjUsImlhdCI6MTc5NTQ3MTQ2MSwiZXhwIjo0MTAyNDQ0ODAwfQ"
    ".68Skcnp8WctFkKRpgSVuC5-eYeQtt43m2dLJvVZCXUbdPqimSgD9yZgNyPgDTHKp2BKhz4ASPco4cIffyB1GCg"
)


class Cluster:
    """Controllers that know of each other, for as long as the `with` block lasts.

    They use a Valkey of their own, which the caller may provide, or `sentinels`, which the caller starts and destroys.
    """

    def __init__(
        self,
        postgres: Postgres,
        size: int,
        sentinels: SentinelCluster | None = None,
        *,
        valkey: Valkey | None = None,
        **settings: str,
    ) -> None:
        self._sentinels = sentinels
        self._valkey = None if sentinels else valkey or Valkey()
        self.settings = {
            **({"VALKEY_SENTINEL_URL": sentinels.url} if sentinels else {"VALKEY_URL": self.valkey.url}),
            "HA_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_SECS),
            "HA_STALE_INSTANCE_TTL_SECS": str(TTL_SECS),
            # gunicorn must not kill a frozen worker: its peers declare it dead (docs/design-notes.md, 1).
            "GUNICORN_CMD_ARGS": "--timeout=300",
            "SESSION_DETACH_TTL_SECS": "60",
            **settings,
        }
        self.database_url = postgres.create_database()
        self.controllers = [Controller(self.database_url, **self.settings) for _ in range(size)]

    @property
    def valkey(self) -> Valkey:
        """The server that takes the writes."""
        if self._sentinels is not None:
            return self._sentinels.primary()
        assert self._valkey is not None
        return self._valkey

    def __enter__(self) -> Self:
        if self._valkey is not None:
            self._valkey.start()
        for controller in self.controllers:
            controller.launch()
        for controller in self.controllers:
            controller.started()
        self.gathered(sum(int(each.environ.get("WEB_CONCURRENCY", "1")) for each in self.controllers))
        return self

    def __exit__(self, *_: object) -> None:
        for controller in self.controllers:
            if controller.is_running:
                controller.kill()
            controller.stop()
        if self._valkey is not None:
            self._valkey.destroy()

    def gathered(self, count: int) -> None:
        """Waits until every running controller sees `count` healthy instances."""
        running = [each for each in self.controllers if each.is_running]
        until(lambda: all(_healthy(each) == count for each in running), f"a cluster of {count}")

    def peer_addresses(self) -> dict[str, str]:
        """The peer address of each registered instance."""
        return {each: self._registered(each, "peer_address") for each in self._registered_ids()}

    def pid(self, instance_id: str) -> int:
        """The worker process of a registered instance."""
        return int(self._registered(instance_id, "pid"))

    def keys(self, pattern: str) -> list[str]:
        """The values of Valkey's keys that match."""
        with redis.Redis.from_url(self.valkey.url, decode_responses=True) as client:
            return sorted(client.scan_iter(pattern))

    def _registered_ids(self) -> list[str]:
        with redis.Redis.from_url(self.valkey.url, decode_responses=True) as client:
            return list(client.zrange("netstacks:instances", 0, -1))

    def _registered(self, instance_id: str, member: str) -> str:
        with redis.Redis.from_url(self.valkey.url, decode_responses=True) as client:
            return str(client.hget(f"netstacks:instance:{instance_id}", member))

    def lab(self, sshd: Sshd) -> Lab:
        return make_lab(self.controllers[0].login(), sshd)


def _healthy(controller: Controller) -> Any:
    return controller.health().get("cluster", {}).get("healthy_instances")


def _is_answered(terminal: Terminal) -> bool:
    """Whether it has a session, or was told why not on a socket that stays open."""
    return bool(terminal.info and (terminal.token or b"Press Enter" in terminal.output))


def come_back(terminal: Terminal, *via: Controller, timeout_secs: float = 60, **query: Any) -> Terminal:
    """Retries until an instance serves, as both clients do, but faster; tries the given instances in turn."""
    give_up_at = time.monotonic() + timeout_secs
    refusals: list[str] = []
    while time.monotonic() < give_up_at:
        try:
            again = terminal.again(via[len(refusals) % len(via)], **query)
            until(lambda again=again: _is_answered(again) or again.close, "SessionInfo or a close")
            if again.info:
                return again
            refusals.append(f"{again.close} {again.errors}")
        except (InvalidHandshake, OSError) as error:
            refusals.append(str(error))
        time.sleep(0.25)
    raise AssertionError(f"no instance served within {timeout_secs} s: {refusals}")
