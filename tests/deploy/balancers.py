"""Real load balancers in front of test controllers, run with the very files of deploy/."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Self

import requests

from netstacks.demo import nginx
from tests.controller import ROOT, until
from tests.ports import free_port

HAPROXY = shutil.which("haproxy")


class Balancer:
    """One in front of the controllers on these ports; `log()` is everything it printed.

    HAProxy asks them for their load when it is given `agent_ports`, one for each.
    """

    def __init__(self, name: str, ports: Sequence[int], agent_ports: Sequence[int] = ()) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix=f"netstacks-{name}-"))
        file = self.file = self._folder / name
        if name == "nginx":
            text = (ROOT / "deploy/nginx.conf").read_text()
            file.write_text(nginx.configuration(text, self.port, ports, self._folder))
            self._command = nginx.command(file, self._folder)
            self.check_command = [*self._command, "-t"]
        else:
            text = (ROOT / "deploy/haproxy.cfg").read_text()
            text = text.replace("global\n", f"global\n    stats socket {self._folder}/stats level admin\n", 1)
            file.write_text(_on_loopback(text, self.port, ports, agent_ports))
            self._command = ["haproxy", "-db", "-f", str(file)]
            self.check_command = ["haproxy", "-c", "-f", str(file)]

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            # In the foreground nginx writes its access log to a path: /dev/stdout needs a file that can be reopened.
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        until(self._answers, "an answer through the load balancer")
        return self

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/v1/health/live", timeout=2).ok
        except requests.RequestException:
            return False

    def servers(self) -> list[dict[str, str]]:
        """What HAProxy reports on its stats socket of each server, in the order of the ports."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(f"{self._folder}/stats")
            stats.sendall(b"show servers state controllers\n")
            answer = stats.makefile().read()
        header, *rows = (line for line in answer.splitlines()[1:] if line)
        return [dict(zip(header.removeprefix("# ").split(), row.split(), strict=True)) for row in rows]

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


def _on_loopback(text: str, port: int, ports: Sequence[int], agent_ports: Sequence[int]) -> str:
    text, bound = re.subn(r"^    bind :80$", f"    bind 127.0.0.1:{port}", text, flags=re.MULTILINE)
    assert bound == 1
    agents = (f"agent-port {each}" for each in agent_ports) if agent_ports else repeat("no-agent-check")
    servers = iter(f"127.0.0.1:{each} {agent}" for each, agent in zip(ports, agents, strict=False))
    kept = []
    for line in text.splitlines():
        if line.startswith("    server controller-api-"):
            address = next(servers, None)
            if address is not None:
                kept.append(re.sub(r" controller-api-\d:8080$", f" {address}", line))
        else:
            kept.append(line)
    assert next(servers, None) is None, "more controllers than servers in deploy/haproxy.cfg"
    return "\n".join(kept) + "\n"


def is_installed(name: str) -> bool:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin") is not None
