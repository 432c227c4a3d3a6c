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
from tests.certificates import Authority
from tests.controller import ROOT, until
from tests.ports import free_port

HAPROXY = shutil.which("haproxy")


class Balancer:
    """One in front of the controllers on these ports; `log()` is everything it printed.

    HAProxy asks them for their load when it is given `agent_ports`, one for each. nginx takes the addresses of users
    from `admin`, the address of a controller-admin. With `tls` the lines about it in the file are used.
    """

    def __init__(
        self,
        name: str,
        ports: Sequence[int],
        agent_ports: Sequence[int] = (),
        *,
        admin: str = "",
        tls: Authority | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._ca = str(tls.ca) if tls else None
        self._folder = Path(tempfile.mkdtemp(prefix=f"netstacks-{name}-"))
        file = self.file = self._folder / name
        if name == "nginx":
            text = (ROOT / "deploy/nginx.conf").read_text()
            text = re.sub(r"(set_real_ip_from) \S+;", rf"\1 {admin};", text) if admin else text
            text = nginx.configuration(text, self.port, ports, self._folder)
            file.write_text(_nginx_with_tls(text, self.port, tls) if tls else text)
            self._command = nginx.command(file, self._folder)
            self.check_command = [*self._command, "-t"]
        else:
            text = (ROOT / "deploy/haproxy.cfg").read_text()
            text = text.replace("global\n", f"global\n    stats socket {self._folder}/stats level admin\n", 1)
            text = _on_loopback(text, self.port, ports, agent_ports)
            file.write_text(_haproxy_with_tls(text, self.port, tls, self._folder) if tls else text)
            self._command = ["haproxy", "-db", "-f", str(file)]
            self.check_command = ["haproxy", "-c", "-f", str(file)]

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            # In the foreground nginx writes its access log to a path: /dev/stdout needs a file that can be reopened.
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        until(self.answers, "an answer through the load balancer")
        return self

    @property
    def pid(self) -> int:
        """Of the first process, which leads the group of all of them."""
        return self._process.pid

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/v1/health/live", timeout=2, verify=self._ca).ok
        except requests.RequestException:
            return False

    def servers(self) -> list[dict[str, str]]:
        """What HAProxy reports on its stats socket of each server, in the order of the ports."""
        header, *rows = self._asked("show servers state controllers")[1:]
        return [dict(zip(header.removeprefix("# ").split(), row.split(), strict=True)) for row in rows]

    def connections(self) -> list[int]:
        """How many connections HAProxy has to each server, in the order of the ports."""
        header, *rows = self._asked("show servers conn controllers")
        column = header.removeprefix("# ").split().index("used_cur")
        return [int(row.split()[column]) for row in rows]

    def _asked(self, command: str) -> list[str]:
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(f"{self._folder}/stats")
            stats.sendall(f"{command}\n".encode())
            return [line for line in stats.makefile().read().splitlines() if line]

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


def _nginx_with_tls(text: str, port: int, authority: Authority) -> str:
    """The commented lines about TLS in place of the plain `listen`."""
    certificate, key = authority.issue("127.0.0.1")
    text, removed = re.subn(rf"^ +listen 127.0.0.1:{port}\b.*;\n", "", text, flags=re.MULTILINE)
    assert removed == 1
    begin, end = text.index("        # listen 443 ssl"), text.index("        # The controllers do not limit")
    lines = text[begin:end].replace("# ", "").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    lines = lines.replace("/etc/nginx/tls/fullchain.pem", str(certificate))
    return text[:begin] + lines.replace("/etc/nginx/tls/privkey.pem", str(key)) + text[end:]


def _haproxy_with_tls(text: str, port: int, authority: Authority, folder: Path) -> str:
    certificate, key = authority.issue("127.0.0.1")
    both = folder / "netstacks.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    plain = f"    bind 127.0.0.1:{port}\n"
    assert text.count(plain) == 1
    text = text.replace(plain, "").replace("    # bind :443 ssl", f"    bind 127.0.0.1:{port} ssl")
    return text.replace("/etc/haproxy/netstacks.pem", str(both))


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
