"""What the instances of a torture coordinate through: one Valkey, or a primary that Sentinels replace."""

import contextlib
from typing import ClassVar

import redis

from tests.acceptance.cluster import TTL_SECS, Cluster
from tests.controller import until
from tests.postgres import Postgres
from tests.valkey import SentinelCluster, Valkey
from tests.wire import Wire

# For each fault how often it is chosen, and how long it lasts at most.
Kinds = dict[str, tuple[int, float]]


class LoneValkey:
    """One server, which each instance reaches over a wire of its own."""

    kinds: ClassVar[Kinds] = {"kill": (2, 5), "wipe": (1, 3), "freeze": (2, 5), "flush": (2, 0)}
    kinds_of_instances: ClassVar[Kinds] = {"cut off": (3, TTL_SECS + 4)}

    def __init__(self, postgres: Postgres, size: int, **settings: str) -> None:
        self.cluster = Cluster(postgres, size, **settings)
        self.wires = [Wire(self.cluster.valkey.port) for _ in range(size)]
        for controller, wire in zip(self.cluster.controllers, self.wires, strict=True):
            controller.environ["VALKEY_URL"] = f"redis://127.0.0.1:{wire.port}/0"

    def replaced(self, server: Valkey) -> None:
        """Nobody takes its place."""

    def settle(self) -> None:
        """It serves as soon as it runs."""

    def close(self) -> None:
        for wire in self.wires:
            wire.close()


class GuardedValkey:
    """A primary, two replicas and three Sentinels."""

    kinds: ClassVar[Kinds] = {"kill": (2, 5), "freeze": (2, 5), "flush": (1, 0), "fail over": (2, 0)}
    kinds_of_instances: ClassVar[Kinds] = {}

    def __init__(self, postgres: Postgres, size: int, **settings: str) -> None:
        self._sentinels = SentinelCluster().start()
        self.cluster = Cluster(postgres, size, self._sentinels, **settings)
        self.wires: list[Wire] = []

    def fail_over(self) -> None:
        """Asks for another primary; refused while one is being chosen, or while no replica is fit for it."""
        with redis.Redis(port=self._sentinels.sentinels[-1].port) as client, contextlib.suppress(redis.ResponseError):
            client.execute_command("SENTINEL FAILOVER", SentinelCluster.MASTER_NAME)

    def replaced(self, server: Valkey) -> None:
        """Waits until another one is the primary."""
        until(lambda: self._sentinels.primary() is not server, "the failover", 60)

    def settle(self) -> None:
        """Waits until the primary that the Sentinels name takes writes."""
        until(self._takes_writes, "a primary with a replica", 60)

    def _takes_writes(self) -> bool:
        try:
            with redis.Redis(port=self._sentinels.primary().port, socket_timeout=1) as client:
                found = client.info("replication")
        except redis.RedisError:
            return False
        return bool(found["role"] == "master" and found["min_slaves_good_slaves"])

    def close(self) -> None:
        self._sentinels.destroy()
