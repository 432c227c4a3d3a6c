"""The controllers of the demo cluster, each of which can be killed, frozen, drained and started again."""

import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netstacks.demo.children import Child


class NotNow(Exception):
    """The command does not fit the state of what it names; the text says what would."""


class Instance:
    """One controller on a port of its own; `number` is how people name it."""

    def __init__(self, number: int, port: int, folder: Path, environ: Mapping[str, str]) -> None:
        self.number = number
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._environ = {
            **environ,
            "PORT": str(port),
            "SPOOL_DIR": str(folder / f"spool-{number}"),
            # A frozen one is to be judged by the others, not by its own gunicorn.
            "GUNICORN_CMD_ARGS": "--timeout=3600",
        }
        self.child: Child | None = None
        self._is_frozen = False

    @property
    def is_running(self) -> bool:
        return self.child is not None and self.child.is_running

    def start(self) -> None:
        if self.is_running:
            raise NotNow(f"{self.number} is running already")
        self._is_frozen = False
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
        log = self._folder / f"controller-{self.number}.log"
        self.child = Child(f"Controller {self.number}", command, log, environ=self._environ)
        self.child.__enter__()

    def kill(self) -> None:
        """SIGKILL, of everything."""
        self._running().kill()

    def freeze(self) -> None:
        self._running().send(signal.SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        if not self._is_frozen:
            raise NotNow(f"{self.number} is not frozen")
        self._running().send(signal.SIGCONT)
        self._is_frozen = False

    def drain(self) -> None:
        """SIGTERM: it hands over what it has, and ends."""
        if self._is_frozen:
            raise NotNow(f"{self.number} is frozen: `thaw {self.number}` first")
        self._running().send(signal.SIGTERM)

    def stop(self) -> None:
        """Ends it, whatever its state."""
        if self.child is not None:
            if self._is_frozen:
                self.thaw()
            self.child.__exit__()

    def _running(self) -> Child:
        if self.child is None or not self.child.is_running:
            raise NotNow(f"{self.number} is not running: `start {self.number}` starts it")
        return self.child

    def describe(self) -> str:
        """What it says of itself, in a line."""
        if not self.is_running:
            return "not running"
        if self._is_frozen:
            return "frozen"
        health = self._health()
        if not health:
            return "starting"
        sessions = health["cluster"]["local_sessions"]
        said = f"{health['status']}, {health['instance_id']}, {sessions} session{'' if sessions == 1 else 's'}"
        return f"{said}: {health['reason']}" if "reason" in health else said

    def _health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/health", timeout=2) as answer:  # noqa: S310 - our own
                body: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            body = json.load(error)
        except (OSError, ValueError):
            return {}
        return body if "cluster" in body else {}
