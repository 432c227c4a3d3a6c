"""What the instances of a torture coordinate through: one Valkey, or a primary that Sentinels replace; PostgreSQL."""

import contextlib
import re
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

import redis

from tests.acceptance.cluster import Cluster
from tests.controller import until
from tests.postgres import Postgres
from tests.torture.plan import Kinds
from tests.valkey import SentinelCluster, Valkey
from tests.wire import Wire


class Lines:
    """All that leads one instance to a service."""

    def __init__(self, *wires: Wire) -> None:
        self._wires = wires

    def cut(self) -> None:
        for wire in self._wires:
            wire.cut()

    def restore(self) -> None:
        for wire in self._wires:
            wire.restore()

    def close(self) -> None:
        for wire in self._wires:
            wire.close()


class LoneValkey:
    """One server, which each instance reaches over a wire of its own, as it reaches PostgreSQL."""

    kinds: ClassVar[Kinds] = {"kill": (2, 5), "wipe": (1, 3), "freeze": (2, 5), "flush": (2, 0)}

    def __init__(self, postgres: Postgres, size: int, **settings: str) -> None:
        self.cluster = Cluster(postgres, size, **settings)
        self.to_postgres = _lead_to_postgres(self.cluster, postgres)
        self.to_valkey: list[Lines] = []
        for controller in self.cluster.controllers:
            wire = Wire(self.cluster.valkey.port)
            controller.environ["VALKEY_URL"] = f"redis://127.0.0.1:{wire.port}/0"
            self.to_valkey.append(Lines(wire))

    def replaced(self, server: Valkey) -> None:
        """No other node takes its place."""

    def settle(self) -> None:
        """Nothing to wait for: it serves as soon as it runs."""

    def close(self) -> None:
        _close([*self.to_valkey, *self.to_postgres])


class GuardedValkey:
    """A primary, two replicas and three Sentinels; each instance reaches them over wires of its own."""

    kinds: ClassVar[Kinds] = {"kill": (2, 5), "freeze": (2, 5), "flush": (1, 0), "fail over": (2, 0)}

    def __init__(self, postgres: Postgres, size: int, **settings: str) -> None:
        self._sentinels = SentinelCluster().start()
        self.cluster = Cluster(postgres, size, self._sentinels, **settings)
        self.to_postgres = _lead_to_postgres(self.cluster, postgres)
        self.to_valkey: list[Lines] = []
        for controller in self.cluster.controllers:
            nodes = {node.port: Wire(node.port) for node in self._sentinels.nodes}
            translate = _Translation({port: wire.port for port, wire in nodes.items()})
            sentinels = [Wire(each.port, translate=translate) for each in self._sentinels.sentinels]
            url = "redis://" + ",".join(f"127.0.0.1:{wire.port}" for wire in sentinels)
            controller.environ["VALKEY_SENTINEL_URL"] = url
            self.to_valkey.append(Lines(*sentinels, *nodes.values()))

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
        _close([*self.to_valkey, *self.to_postgres])
        self._sentinels.destroy()


Store = LoneValkey | GuardedValkey


class _Translation:
    """What Sentinels say, with other ports for the nodes: as many digits, for the lengths are said too."""

    def __init__(self, ports: dict[int, int]) -> None:
        assert all(len(str(there)) == len(str(here)) for there, here in ports.items())
        self._ports = {str(there).encode(): str(here).encode() for there, here in ports.items()}
        self._pattern = re.compile(rb"\b(" + b"|".join(self._ports) + rb")\b")

    def __call__(self, said: bytes) -> bytes:
        return self._pattern.sub(lambda found: self._ports[found[1]], said)


def _lead_to_postgres(cluster: Cluster, postgres: Postgres) -> list[Wire]:
    wires = [Wire(postgres.port) for _ in cluster.controllers]
    for controller, wire in zip(cluster.controllers, wires, strict=True):
        parts = urlsplit(cluster.database_url)
        host = parts.netloc.replace(f":{parts.port}", f":{wire.port}")
        controller.environ["DATABASE_URL"] = urlunsplit(parts._replace(netloc=host))
    return wires


def _close(lines: Sequence[Lines | Wire]) -> None:
    for each in lines:
        each.close()
