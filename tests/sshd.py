"""A real OpenSSH server for tests, with its own host keys and, under root, a user of its own with a password."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Self

from tests.ports import free_port

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))


class Sshd:
    """A server on a free loopback port, for as long as the `with` block lasts.

    `options` are lines of sshd_config and win over the ones made here; `command` is what every shell runs. Log in as
    `user` with `private_key`, or with `password`: it is None unless the tests run as root, which may create users.
    """

    host = "127.0.0.1"

    def __init__(self, *options: str, command: str | None = None, host_key_type: str = "ed25519") -> None:
        self.port = free_port()
        self.user = getpass.getuser()
        self.password: str | None = None
        self._options = [*options, f"ForceCommand {command}"] if command else [*options]
        self._host_key_type = host_key_type
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="netstacks-sshd-"))
        self._folder.chmod(0o755)
        if os.geteuid() == 0:
            self._create_user()
        self.private_key = self._generate_key("user", "ed25519")
        self._generate_key("host", self._host_key_type)
        self.host_key_type, self.host_key_base64 = (self._folder / "host.pub").read_text().split()[:2]
        (self._folder / "sshd_config").write_text("\n".join([*self._options, *self._defaults()]) + "\n")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.password is not None:
            subprocess.run(["userdel", "--force", self.user], check=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(self._folder)

    def _create_user(self) -> None:
        self.user = f"ns-{uuid.uuid4().hex[:8]}"
        self.password = uuid.uuid4().hex
        home = str(self._folder / "home")
        subprocess.run(["useradd", "--create-home", "--home-dir", home, "--shell", "/bin/bash", self.user], check=True)
        subprocess.run(["chpasswd"], input=f"{self.user}:{self.password}".encode(), check=True)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def _generate_key(self, name: str, key_type: str) -> str:
        path = self._folder / name
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", key_type, "-f", str(path)], check=True)
        return path.read_text()

    def _defaults(self) -> list[str]:
        """The first value of an option counts, so these come last."""
        return [
            f"ListenAddress {self.host}:{self.port}",
            f"HostKey {self._folder / 'host'}",
            f"AuthorizedKeysFile {self._folder / 'user.pub'}",
            f"UsePAM {'yes' if self.password else 'no'}",
            "PidFile none",
            "StrictModes no",
            "KbdInteractiveAuthentication no",
            "MaxStartups 1000",
            "LogLevel VERBOSE",
            "PrintMotd no",
            "PrintLastLog no",
        ]

    def start(self) -> None:
        """Starts, again or for the first time, on the same port with the same keys."""
        assert SSHD is not None
        command = [SSHD, "-D", "-e", "-f", str(self._folder / "sshd_config")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._accepts():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"sshd does not start: {self.log}")
            time.sleep(0.02)

    def _accepts(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
            return True
        except OSError:
            return False

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends the server and every connection, without a message to the clients."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)
            self._process = None

    def freeze(self) -> None:
        """The server and its connections stand still; the kernel goes on acknowledging for them."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def drop_connections(self) -> None:
        """Ends every connection; the server stays."""
        assert self._process is not None
        for pid in _descendants(self._process.pid):
            _kill(pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            for pid in (self._process.pid, *_descendants(self._process.pid)):
                _kill(pid, number)


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(grandchild for child in children for grandchild in _descendants(child))]
