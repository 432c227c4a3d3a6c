"""A fresh cluster with a thousand devices, and a crowd's connections to it."""

import math
import os
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import psycopg

from bench.cheap_sshd import CheapSshd
from bench.crowd_watch import Watch
from tests.acceptance.cluster import Cluster
from tests.controller import Controller
from tests.postgres import Postgres
from tests.processes import children, cpu_secs, parent

# Each device has an address of its own, so that no limit per device applies.
DEVICES = 1000
_SESSIONS_OF_USER = 100
DURABLE = ("-c", "fsync=on", "-c", "max_connections=200")
# The program's defaults; tests use other values.
_SETTINGS = {
    "HA_ADVERTISE_HOST": "127.0.0.1",
    "HA_HEARTBEAT_INTERVAL_SECS": "5",
    "HA_STALE_INSTANCE_TTL_SECS": "30",
    "SESSION_DETACH_TTL_SECS": "300",
    "DRAIN_TIMEOUT_SECS": "20",
    "GUNICORN_CMD_ARGS": "",
    # Not a default: all clients come from one address.
    "ADDRESS_CONNECTIONS_MAX": "100000",
}


@dataclass(frozen=True)
class CpuTimes:
    """Processor seconds so far."""

    instances: tuple[float, ...]
    postgres: float
    devices: float
    clients: float


class Lab:
    """`instances` on a PostgreSQL with fsync and a Valkey of their own, for the `with` block."""

    def __init__(self, instances: int, settings: dict[str, str]) -> None:
        self._instances = instances
        self._settings = _SETTINGS | settings
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with self._resources:
            self._sshd = self._resources.enter_context(CheapSshd())
            # The collector of a process with thousands of connections stops it for longer than an echo may take.
            self._watched_sshd = self._resources.enter_context(CheapSshd())
            postgres = Postgres(DURABLE).start()
            self._resources.callback(postgres.destroy)
            cluster = self._resources.enter_context(Cluster(postgres, self._instances, **self._settings))
            self.controllers = cluster.controllers
            self.pids = [each.worker_pids()[0] for each in self.controllers]
            self._postgres_pid = postmaster_pid(cluster.database_url)
            self._api = self.controllers[0].login()
            self._credential = self._api.add_credential(self._sshd.user, self._sshd.password, is_shared=True)
            hosts = [f"127.{1 + number // 250}.1.{1 + number % 250}" for number in range(DEVICES)]
            self._hosts = _add_devices(cluster.database_url, self._sshd, hosts)
            [self._watched] = _add_devices(cluster.database_url, self._watched_sshd, ["127.200.1.1"])
            self._resources = self._resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def access_tokens(self, sessions: int) -> list[str]:
        """Tokens of new users, each with a hundred terminals at most, so that no limit per user applies."""
        tokens = []
        for number in range(math.ceil(sessions / _SESSIONS_OF_USER)):
            name, password = f"engineer-{number}", f"the password of engineer {number}"
            self._api.post("/api/users", {"username": name, "password": password, "role": "operator"})
            # The client of an administrator takes no seat of the licence.
            login = {"username": name, "password": password, "client_type": "admin_ui"}
            tokens.append(self._api.post("/api/auth/login", login)["access_token"])
        return tokens

    def query(self, number: int) -> dict[str, Any]:
        """The query of our page for a terminal to the device of that number."""
        return self._query(self._sshd, *self._hosts[number % DEVICES])

    def _query(self, sshd: CheapSshd, id: uuid.UUID, host: str) -> dict[str, Any]:
        return {
            "credential_id": self._credential["id"],
            "term": "xterm-256color",
            "cols": 80,
            "rows": 24,
            "host": host,
            "port": sshd.port,
            "session_id": f"device-{id}",
        }

    def watch(self, controller: Controller) -> Watch:
        """A watch with a terminal on that instance, to a device in a process of its own."""
        query = self._query(self._watched_sshd, *self._watched)
        query |= {"epoch": 0, "offset": 0, "token": controller.login().token}
        return Watch(controller.port, f"/ws/ssh?{urlencode(query)}")

    def cpu_times(self) -> CpuTimes:
        return CpuTimes(
            tuple(map(_cpu_secs_so_far, self.pids)),
            tree_cpu_secs(self._postgres_pid),
            cpu_secs(self._sshd.pid),
            time.process_time(),
        )


def _add_devices(database_url: str, sshd: CheapSshd, hosts: list[str]) -> list[tuple[uuid.UUID, str]]:
    """Devices that `sshd` serves at these addresses."""
    devices = [(uuid.uuid4(), host) for host in hosts]
    key = sshd.host_key_type, sshd.host_key_base64
    with psycopg.connect(database_url) as db, db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO devices (id, name, host, port) VALUES (%s, %s, %s, %s)",
            [(id, host, host, sshd.port) for id, host in devices],
        )
        cursor.executemany(
            "INSERT INTO host_keys (host, port, key_type, public_key, approved_by) VALUES (%s, %s, %s, %s, 'bench')",
            [(host, sshd.port, *key) for host in hosts],
        )
    return devices


def postmaster_pid(database_url: str) -> int:
    """The process id of the server on this machine that listens at the URL."""
    with psycopg.connect(database_url) as db:
        return parent(db.info.backend_pid)


def tree_cpu_secs(pid: int) -> float:
    """The processor seconds of a process, its children, and its ended children."""
    of_living = sum(map(_cpu_secs_so_far, (pid, *children(pid))))
    of_ended = map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15])
    return of_living + sum(of_ended) / os.sysconf("SC_CLK_TCK")


def _cpu_secs_so_far(pid: int) -> float:
    """0 for a process that has ended."""
    try:
        return cpu_secs(pid)
    except OSError:
        return 0.0
