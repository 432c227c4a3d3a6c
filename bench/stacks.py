"""The compared stacks, each started afresh against the same device."""

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from bench.channels import Endpoint, NetstacksEndpoint, OpenSshEndpoint, WebSshEndpoint
from bench.cores import SERVER_CORE, pin
from tests.controller import Controller, until
from tests.ports import free_port
from tests.processes import cpu_secs, rss_bytes
from tests.sshd import Sshd

_APART = Path(__file__).parents[1] / "var/bench"
WEBSSH = _APART / "webssh"
LITELLM = _APART / "litellm"


class Stack(Protocol):
    """A running stack."""

    name: str
    endpoint: Endpoint

    def cpu_secs(self) -> float: ...
    def rss_bytes(self) -> int: ...


class Server:
    """A stack that is one process. `token` is that of its administrator, where it has one."""

    def __init__(self, name: str, url: str, endpoint: Endpoint, pid: int, token: str = "") -> None:
        self.name = name
        self.url = url
        self.endpoint = endpoint
        self.token = token
        self._pid = pid
        pin(pid, SERVER_CORE)

    def cpu_secs(self) -> float:
        return cpu_secs(self._pid)

    def rss_bytes(self) -> int:
        return rss_bytes(self._pid)


class OpenSsh:
    """The plain client: a process for each terminal, nothing between them."""

    name = "ssh"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def cpu_secs(self) -> float:
        return 0.0

    def rss_bytes(self) -> int:
        return 0


@contextmanager
def netstacks(database_url: str, sshd: Sshd, **settings: str) -> Iterator[Server]:
    """Our controller, recording on, with the device and its credential stored."""
    # One user has all the terminals, and no limit per user decides.
    limits = {"USER_SESSIONS_MAX": "0", "USER_OPENINGS_MAX": "1000"}
    controller = Controller(database_url, **(limits | settings)).start()
    try:
        api = controller.login()
        device = api.add_device(sshd.host, sshd.port, host_key=(sshd.host_key_type, sshd.host_key_base64))
        credential = api.add_credential(sshd.user, sshd.private_key, "ssh_key")
        query = {
            "credential_id": credential["id"],
            "session_id": f"device-{device['id']}",
            "epoch": 0,
            "offset": 0,
            "token": api.token,
        }
        endpoint = NetstacksEndpoint(controller.port, f"/ws/ssh?{urlencode(query)}")
        yield Server("netstacks", controller.url, endpoint, controller.worker_pids()[0], api.token)
    finally:
        controller.kill()


def install_webssh() -> None:
    """Into a folder of its own: it is a peer to be measured, not a dependency."""
    _install(WEBSSH, "webssh")


def install_litellm() -> None:
    """Likewise, as wheels, so that nothing of it runs at the installation. Raises CalledProcessError."""
    # Pinned: a release of litellm was once taken over.
    _install(LITELLM, "litellm==1.110.2", "--only-binary=:all:")


def _install(folder: Path, *requirement: str) -> None:
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # An incomplete installation must not stay: the next run would use it.
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run([*pip, "--target", str(unfinished), *requirement], check=True, stderr=subprocess.DEVNULL)
        unfinished.rename(folder)


@contextmanager
def webssh(sshd: Sshd) -> Iterator[Server]:
    """webssh from PyPI, in its fastest setting: no log, no guess at the device's encoding."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--xsrf=false", "--fbidhttp=false", "--maxconn=100000", "--encoding=utf-8", "--logging=error"]
    process = subprocess.Popen(
        [sys.executable, "-m", "webssh.main", "--address=127.0.0.1", f"--port={port}", *options],
        env={**os.environ, "PYTHONPATH": str(WEBSSH)},
        cwd=WEBSSH,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _answers(url), "webssh")
        login = {
            "hostname": sshd.host,
            "port": sshd.port,
            "username": sshd.user,
            "privatekey": sshd.private_key,
            "term": "xterm-256color",
        }
        endpoint = WebSshEndpoint(port, tuple((name, str(value)) for name, value in login.items()))
        yield Server("webssh", url, endpoint, process.pid)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


@contextmanager
def openssh(sshd: Sshd) -> Iterator[OpenSsh]:
    with tempfile.NamedTemporaryFile("w") as key:
        key.write(sshd.private_key)
        key.flush()
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
        command = ["ssh", "-tt", "-F", "none", *(part for option in options for part in ("-o", option))]
        command += ["-i", key.name, "-p", str(sshd.port), f"{sshd.user}@{sshd.host}"]
        yield OpenSsh(OpenSshEndpoint(tuple(command)))
