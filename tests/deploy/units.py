"""Units of deploy/systemd: read, and started with the environment, credentials and system call filter of systemd."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.controller import ROOT, Controller

FOLDER = ROOT / "deploy/systemd"
BIN = Path(sys.executable).parent
Unit = dict[str, list[str]]


def on_this_host(text: str) -> str:
    """A file of deploy/systemd with the paths of this project."""
    return text.replace("/opt/netstacks/.venv/bin", str(BIN)).replace("/opt/netstacks", str(ROOT))


def read(*names: str) -> Unit:
    """The assignments of a unit and its drop-ins, by key, in their order; an empty value stays one."""
    found: Unit = {}
    for name in names:
        for line in on_this_host((FOLDER / name).read_text()).splitlines():
            if line and line[0] not in "#[":
                key, _, value = line.partition("=")
                found.setdefault(key, []).append(value)
    return found


def environ(unit: Unit, credentials: Path, state: Path) -> dict[str, str]:
    """The variables of Environment=, with their specifiers replaced."""
    words = " ".join(unit["Environment"]).replace("%d", str(credentials)).replace("%S", str(state)).split()
    return dict(word.split("=", 1) for word in words)


def system_calls(unit: Unit) -> set[str]:
    """The system calls that SystemCallFilter= allows, by the groups of systemd-analyze."""
    groups = _groups()
    allowed: set[str] = set()
    for value in unit["SystemCallFilter"]:
        named = _expand(value.removeprefix("~").split(), groups)
        allowed = allowed - named if value.startswith("~") else allowed | named
    # Always allowed, says systemd.exec(5).
    return allowed | _expand(["@default"], groups) | {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn"}


def _groups() -> dict[str, list[str]]:
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    )
    groups: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word = line.split("#")[0].strip()
        if line.startswith("@"):
            members = groups.setdefault(word, [])
        elif word and line.startswith(" "):
            members.append(word)
    return groups


def _expand(names: Iterable[str], groups: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    for name in names:
        found |= _expand(groups[name], groups) if name.startswith("@") else {name}
    return found


class Service(Controller):
    """The controller as its unit starts it: its ExecStart, with nothing in its environment but what the unit gives."""

    def __init__(self, unit: Unit, secrets: Mapping[str, str], lines: Mapping[str, str]) -> None:
        super().__init__("")
        self._folder = Path(tempfile.mkdtemp(prefix="netstacks-unit-"))
        credentials = self._folder / "credentials"
        credentials.mkdir(mode=0o700)
        for value in unit["LoadCredential"]:
            name = value.partition(":")[0]
            (credentials / name).write_text(secrets[name] + "\n")
            (credentials / name).chmod(0o400)
        self._notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notifications.bind(str(self._folder / "notify"))
        self._notifications.settimeout(60)
        self._unit = unit
        os.rmdir(self.environ["SPOOL_DIR"])
        self.environ = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "PORT": str(self.port),
            "NOTIFY_SOCKET": str(self._folder / "notify"),
            **environ(unit, credentials, self._folder / "state"),
            # EnvironmentFile= wins over Environment=.
            **lines,
        }

    def launch(self) -> "Service":
        """Starts ExecStart below the system call filter and MemoryDenyWriteExecute= of the unit."""
        (exec_start,) = self._unit["ExecStart"]
        (self._folder / "calls").write_text("\n".join(sorted(system_calls(self._unit))))
        confined = [sys.executable, str(Path(__file__).with_name("confined.py")), str(self._folder / "calls")]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*confined, *exec_start.split()],
                cwd=self._unit["WorkingDirectory"][0],
                env=self.environ,
                umask=int(self._unit["UMask"][0], 8),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def notified(self) -> str:
        """The next message that the process sends to systemd."""
        return self._notifications.recv(4096).decode()

    def stop(self) -> None:
        super().stop()
        self._notifications.close()
        subprocess.run(["rm", "-rf", str(self._folder)], check=True)
