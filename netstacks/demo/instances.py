"""The controllers of the demo cluster, which can be killed, frozen, drained and started again."""

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
    """The command does not fit the state of its target; the text says what does."""


class Instance:
    """One controller with its own port; `number` identifies it in commands."""

    def __init__(self, number: int, port: int, folder: Path, environ: Mapping[str, str]) -> None:
        self.number = number
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._environ = {
            **environ,
            "PORT": str(port),
            "SPOOL_DIR": str(folder / f"spool-{number}"),
            # The other instances must declare a frozen one dead, before its own gunicorn kills it.
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
        """Kills the controller with its workers (SIGKILL)."""
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
        """Drains the controller (SIGTERM): it hands over its sessions and stops."""
        if self._is_frozen:
            raise NotNow(f"{self.number} is frozen: `thaw {self.number}` first")
        self._running().send(signal.SIGTERM)

    def stop(self) -> None:
        """Stops the controller in any state."""
        if self.child is not None:
            if self._is_frozen:
                self.thaw()
            self.child.__exit__()

    def _running(self) -> Child:
        if self.child is None or not self.child.is_running:
            raise NotNow(f"{self.number} is not running: `start {self.number}` starts it")
        return self.child

    def describe(self) -> str:
        """Its state in one line."""
        if not self.is_running:
            return "not running"
        if self._is_frozen:
            return "frozen"
        health = self._health()
        if not health:
            return "starting"
        sessions = health["cluster"]["local_sessions"]
        state = f"{health['status']}, {health['instance_id']}, {sessions} session{'' if sessions == 1 else 's'}"
        return f"{state}: {health['reason']}" if "reason" in health else state

    def _health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/health", timeout=2) as answer:  # noqa: S310 - our own
                body: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            body = json.load(error)
        except (OSError, ValueError):
            return {}
        return body if "cluster" in body else {}
