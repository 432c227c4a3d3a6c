"""The test application on a real gunicorn gevent worker."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import requests

from netstacks.web.ws.websocket import CLOSE_TIMEOUT_SECS
from tests.ports import free_port

HERE = Path(__file__).parent
APP = "tests.web.websocket_app:app"
OPTIONS = ("--worker-class=gevent", "--no-control-socket", "--graceful-timeout=1")


class WebSocketServer:
    """One gunicorn process on a free port of 127.0.0.1.

    `close_timeout_secs` replaces the product's time for a peer that is to close.
    """

    def __init__(self, close_timeout_secs: float = CLOSE_TIMEOUT_SECS) -> None:
        self.port = free_port()
        self._log = Path(tempfile.mkstemp(prefix="websocket-server-", suffix=".log")[1])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *OPTIONS, f"--bind=127.0.0.1:{self.port}", APP],
                cwd=HERE,  # The project's own gunicorn.conf.py is not meant for this application.
                env={
                    **os.environ,
                    "PYTHONPATH": str(HERE.parents[1]),
                    "CLOSE_TIMEOUT_SECS": str(close_timeout_secs),
                },
                stdout=log,
                stderr=log,
            )

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def http(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def is_up(self) -> bool:
        try:
            return requests.get(self.http("/said"), timeout=5).ok
        except requests.RequestException:
            return False

    def said(self) -> list[str]:
        """The handlers' notes so far."""
        notes: list[str] = requests.get(self.http("/said"), timeout=30).json()
        return notes

    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        self._log.unlink()
