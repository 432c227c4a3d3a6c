"""A real controller for tests: gunicorn with a gevent worker, used over HTTP and WebSockets as clients do."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
ADMIN = ("admin", "a password of the tests")
MASTER_KEY = "5e" * 32
JWT_SECRET = "a secret of the tests that is long enough"


def until(condition: Callable[[], Any], what: str = "it", timeout_secs: float = 30) -> Any:
    """Waits for `condition` to be true and returns its value; the deadline is a ceiling, not a measurement."""
    give_up_at = time.monotonic() + timeout_secs
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < give_up_at, f"{what} did not happen within {timeout_secs} s"
        time.sleep(0.02)


class Controller:
    """One controller process; `log()` is everything it printed."""

    def __init__(self, database_url: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = Path(tempfile.mkstemp(prefix="netstacks-controller-", suffix=".log")[1])
        self.environ = {
            **os.environ,
            "PORT": str(self.port),
            "DATABASE_URL": database_url,
            "VAULT_MASTER_KEY": MASTER_KEY,
            "JWT_SECRET": JWT_SECRET,
            "BOOTSTRAP_ADMIN_USERNAME": ADMIN[0],
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1],
            "DRAIN_TIMEOUT_SECS": "4",
            "SPOOL_DIR": tempfile.mkdtemp(prefix="netstacks-spool-"),
            **settings,
        }
        self.command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
        self.folder = ROOT
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait_for: str = "healthy") -> "Controller":
        return self.launch().started(wait_for)

    def launch(self) -> "Controller":
        """Starts the process and does not wait for it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def started(self, wait_for: str = "healthy") -> "Controller":
        """Waits until health has the status `wait_for`."""
        until(lambda: self._has_failed() or self.health().get("status") == wait_for, f"{wait_for} health", 60)
        return self

    def _has_failed(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the controller ended with {self.process.returncode}:\n{self.log()}")
        return False

    def health(self) -> dict[str, Any]:
        try:
            body: dict[str, Any] = requests.get(f"{self.url}/api/v1/health", timeout=20).json()
        except (requests.RequestException, ValueError):
            return {}
        return body

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def worker_pids(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        """SIGTERM: an orderly end."""
        assert self.process is not None
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL of the whole process tree."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def freeze(self) -> None:
        """SIGSTOP of the whole process tree; gunicorn must not kill a silent worker (`--timeout`)."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self.is_running:
            self.kill()
        self._log.unlink(missing_ok=True)
        shutil.rmtree(self.environ["SPOOL_DIR"], ignore_errors=True)

    def login(self, username: str = ADMIN[0], password: str = ADMIN[1]) -> "Api":
        api = Api(self)
        api.login(username, password)
        return api


class Api:
    """One logged-in user."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.token = ""
        self.refresh_token = ""
        self.user: dict[str, Any] = {}

    def login(self, username: str, password: str) -> None:
        body = self.call("POST", "/api/auth/login", json={"username": username, "password": password}, expect=200)
        self.token, self.refresh_token, self.user = body["access_token"], body["refresh_token"], body["user"]

    def at(self, controller: Controller) -> "Api":
        """The same log-in at another instance."""
        other = Api(controller)
        other.token, other.refresh_token, other.user = self.token, self.refresh_token, self.user
        return other

    def call(self, method: str, path: str, *, expect: int | None = None, **kwargs: Any) -> Any:
        """The JSON of the answer; asserts that its status is `expect`, or a success without it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = requests.request(method, self.controller.url + path, headers=headers, timeout=30, **kwargs)
        if expect is None:
            assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        else:
            assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        if answer.headers.get("Content-Type", "").startswith("application/json"):
            return answer.json()
        return answer.text

    def get(self, path: str, **kwargs: Any) -> Any:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> Any:
        return self.call("POST", path, json=json, **kwargs)

    def add_device(self, host: str, port: int, *, host_key: tuple[str, str] | None = None, **members: Any) -> Any:
        """A device, its host key approved when one is given as (type, base64)."""
        body = {"name": f"device-{port}", "host": host, "port": port, "device_type": "linux", **members}
        device = self.post("/api/devices", body)
        if host_key is not None:
            key_type, public_key = host_key
            self.post("/api/host-keys", {"host": host, "port": port, "key_type": key_type, "public_key": public_key})
        return device

    def add_credential(self, username: str, secret: str, credential_type: str = "ssh_password", **members: Any) -> Any:
        body = {"name": username, "credential_type": credential_type, "username": username, "secret": secret}
        return self.post("/api/credentials", body | members)

    def open(self, device: Any, credential: Any, **query: Any) -> "Terminal":
        """A terminal as the Terminal client opens it."""
        return Terminal(self, terminal_query(device, credential, **query))


def terminal_query(device: Any, credential: Any, **query: Any) -> dict[str, Any]:
    """The Terminal client's query for a terminal (docs/protocol.md, 6.1); `query` replaces or adds members."""
    return {
        "credential_id": credential["id"],
        "term": "xterm-256color",
        "cols": 80,
        "rows": 24,
        "host": device["host"],
        "port": device["port"],
        "session_id": f"device-{device['id']}",
        **query,
    }


class Terminal:
    """A terminal client; a thread of its own reads the socket, as a browser does.

    With `offset` in its query it speaks offsets, as our own page does: an end closes its socket. Without it is the
    Terminal client, whose socket stays open and shows the end as a line.
    """

    def __init__(
        self,
        api: Api,
        query: dict[str, Any],
        *,
        path: str = "/ws/ssh",
        origin: str | None = None,
        open_timeout_secs: float = 20,
    ) -> None:
        self.api = api
        self.query = query
        self.output = b""
        self.notices = b""
        self.errors: list[str] = []
        self.info: dict[str, Any] = {}
        self.token: uuid.UUID | None = None
        self.frames: list[int] = []
        self.close: tuple[int, str] | None = None
        self._lines_seen_to = 0
        url = f"ws://127.0.0.1:{api.controller.port}{path}?{urlencode({**query, 'token': api.token})}"
        self.socket: ClientConnection = connect(
            url,
            origin=origin,
            max_size=None,
            open_timeout=open_timeout_secs,
            ping_interval=None,
            close_timeout=1,
            legacy=True,
        )  # type: ignore[arg-type]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for message in self.socket:
                assert isinstance(message, bytes)
                self._take(message[0], message[1:])
        except (ConnectionClosed, OSError):
            pass
        self.close = (self.socket.close_code or 1006, self.socket.close_reason or "")

    def _take(self, kind: int, payload: bytes) -> None:
        match kind:
            case 0x01:
                self.output += payload
            case 0x06:
                self.errors.append(payload.decode())
            case 0x07:
                self.token = uuid.UUID(bytes=payload)
            case 0x08:
                self.info = json.loads(payload)
            case 0x09:
                self.notices += payload
        self.frames.append(kind)

    def type(self, text: str | bytes) -> None:
        self.socket.send(b"\x01" + (text.encode() if isinstance(text, str) else text))

    def frame(self, message: bytes) -> None:
        self.socket.send(message)

    def expect(self, text: str | bytes, timeout_secs: float = 30) -> None:
        """Waits until the device has printed `text`."""
        wanted = text.encode() if isinstance(text, str) else text
        until(
            lambda: wanted in self.output or self._over(wanted), f"{wanted!r} in {self.output[-300:]!r}", timeout_secs
        )

    def _over(self, wanted: bytes) -> bool:
        assert self.close is None, f"closed with {self.close} {self.errors} before {wanted!r}: {self.output[-300:]!r}"
        return False

    def connected(self) -> "Terminal":
        """Waits for SessionInfo and the reconnect token."""
        until(lambda: (self.info and self.token) or self._over(b"SessionInfo"), "SessionInfo")
        return self

    def closed(self, timeout_secs: float = 30) -> tuple[int, str]:
        until(lambda: self.close, "the close", timeout_secs)
        assert self.close is not None
        return self.close

    def ended(self, timeout_secs: float = 30) -> str:
        """Waits for the line of a session that has ended for good, on a socket that stays open; returns its reason."""
        return self._reason(rb"\[Session ended: ([^\]]+)\. Press Enter for a new one\.\]", timeout_secs)

    def refused(self, timeout_secs: float = 30) -> str:
        """Waits for the line of a terminal that was refused, on a socket that stays open; returns its reason."""
        return self._reason(rb"\[Not connected: ([^\]]+)\. Press Enter to try again\.\]", timeout_secs)

    def _reason(self, line: bytes, timeout_secs: float) -> str:
        """The next line of this kind; the same one is not found twice."""

        def find() -> re.Match[bytes] | None:
            return re.compile(line).search(self.output, self._lines_seen_to)

        found: re.Match[bytes] = until(lambda: find() or self._over(line), f"{line!r}", timeout_secs)
        self._lines_seen_to = found.end()
        return found[1].decode()

    def exit(self) -> None:
        """Interrupts what runs in the shell and ends the session, from the shell.

        Repeatedly: bash may miss a Ctrl+C between two commands, and throws away what was typed before it.
        """

        def has_ended() -> bool:
            with contextlib.suppress(ConnectionClosed):
                self.type("\x03\rexit\r")
            time.sleep(0.5)
            return self.close is not None

        until(has_ended, "the end of the session")

    def leave(self) -> None:
        """Closes the socket in an orderly way."""
        self.socket.close()
        self._reader.join(30)

    def vanish(self) -> None:
        """Cuts the TCP connection without a close frame."""
        with contextlib.suppress(OSError):  # The other side has closed it already.
            self.socket.socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(30)

    def again(self, via: Controller | None = None, **query: Any) -> "Terminal":
        """Reconnects with the reconnect token, as both clients do; through the instance `via` if given."""
        api = self.api.at(via) if via else self.api
        return Terminal(api, {**self.query, "reconnect_token": str(self.token), **query})
