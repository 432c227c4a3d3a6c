"""A cluster for the tests of `netstacks ha`: a registry in memory that stands for Valkey."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from netstacks.cluster.model import Instance, Snapshot
from netstacks.commands.ha import ha_group
from netstacks.errors import RegistryUnavailable
from netstacks.registry.base import Mode, RegistryStatus
from netstacks.registry.figures import Replica, SentinelFigures, ValkeyFigures
from netstacks.registry.memory import MemoryRegistry
from netstacks.store.pool import Database

Run = Callable[..., Result]

FIGURES = ValkeyFigures(
    version="9.0.1",
    role="primary",
    address="v1:6379",
    up_since=0.0,
    latency_secs=0.001,
    memory_used_bytes=3 << 20,
    memory_limit_bytes=0,
    memory_policy="noeviction",
    clients=3,
    persistence="append-only file",
    persistence_problem=None,
    persistence_state="last write ok",
    last_save_at=None,
    replicas=(Replica("v2:6379", "online", 0, 0),),
    upstream=None,
)


class Registry(MemoryRegistry):
    """A registry that others share, and whose server can have been restarted."""

    is_shared = True
    figures = FIGURES
    sentinels: SentinelFigures | None = None
    away = False
    bad: Mapping[str, str] = {}

    def age(self, secs: float, *names: str) -> None:
        """Sets the time since the last heartbeat of these instances."""
        for name in names:
            self._instances[name] = replace(self._instances[name], last_heartbeat_at=self.now() - secs)

    def snapshot(self) -> Snapshot:
        if self.away:
            raise RegistryUnavailable("Valkey: connection refused")
        return super().snapshot()

    def unreadable(self) -> Mapping[str, str]:
        return self.bad

    def status(self) -> RegistryStatus:
        mode: Mode = "sentinel" if self.sentinels else "plain"
        if self.away:
            return RegistryStatus("disconnected", mode, None, self.sentinels, "connection refused")
        return RegistryStatus("connected", mode, self.figures, self.sentinels)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    # Its clock stands still: ages are told in whole seconds, and samples of one minute together.
    now = time.time()
    registry = Registry(lambda: now)
    for name in ("ctrl-a", "ctrl-b"):
        registry.register(Instance(name, "host", "192.0.2.1:9443", 0.0, "1.2.3", "active", "fingerprint", pid=1))
    monkeypatch.setattr("netstacks.commands.ha.open_registry", lambda *_: registry)
    return registry


@pytest.fixture
def run(database_url: str, database: Database, registry: Registry) -> Run:
    def run(*words: str, **environ: str) -> Result:
        needed = {
            "DATABASE_URL": database_url,
            "VAULT_MASTER_KEY": "5e" * 32,
            "JWT_SECRET": "a secret of this test, long enough",
            "VALKEY_URL": "redis://127.0.0.1:1",
        }
        return CliRunner().invoke(ha_group, words, env={**needed, **environ})

    return run
