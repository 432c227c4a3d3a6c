"""Ways to an owner: straight, through another instance of ours, through nginx and through HAProxy."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import workers
from bench.cores import SERVER_CORE, pin
from tests.controller import until
from tests.fast_websocket import FastWebSocket
from tests.ports import free_port
from tests.processes import children, cpu_secs

# The part of deploy/nginx.conf that matters for a WebSocket, with one worker.
_NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"""
# The part of deploy/haproxy.cfg that matters, with one thread.
_HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend front
    bind 127.0.0.1:{port}
    default_backend owner
backend owner
    server owner 127.0.0.1:{origin}
"""


@dataclass(frozen=True)
class Hop:
    """A port that leads to the origin, and the process whose cost counts."""

    name: str
    port: int
    pid: int | None = None

    def cpu_secs(self) -> float:
        return cpu_secs(self.pid) if self.pid else 0.0


@contextmanager
def direct(origin: int) -> Iterator[Hop]:
    """No hop at all."""
    yield Hop("direct", origin)


@contextmanager
def netstacks(origin: int) -> Iterator[Hop]:
    """An instance that relays to the owner."""
    with workers.serve("hop_app:app", HOP_ORIGIN=f"127.0.0.1:{origin}") as worker:
        yield _ready(Hop("netstacks", worker.port, worker.pid))


@contextmanager
def nginx(origin: int) -> Iterator[Hop]:
    """Debian's nginx."""
    with _server("nginx", _NGINX, origin, lambda file: ["nginx", "-c", file, "-g", "daemon off;"]) as (port, master):
        worker = until(lambda: children(master), "the worker of nginx")[0]
        yield _ready(Hop("nginx", port, worker))


@contextmanager
def haproxy(origin: int) -> Iterator[Hop]:
    """Debian's HAProxy."""
    with _server("haproxy", _HAPROXY, origin, lambda file: ["haproxy", "-db", "-f", file]) as (port, pid):
        yield _ready(Hop("haproxy", port, pid))


@contextmanager
def _server(program: str, template: str, origin: int, command: Callable[[str], list[str]]) -> Iterator[tuple[int, int]]:
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="netstacks-bench-"))
    file = folder / "configuration"
    file.write_text(template.format(port=port, origin=origin, folder=folder))
    server = subprocess.Popen(command(str(file)))
    try:
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _ready(hop: Hop) -> Hop:
    """Starts it on the server's core; returns when it relays."""

    def relays() -> bool:
        try:
            FastWebSocket(hop.port, "/").close()
        except OSError:
            return False
        return True

    until(relays, f"{hop.name} as a hop")
    assert hop.pid is not None
    pin(hop.pid, SERVER_CORE)
    time.sleep(0.2)
    return hop
