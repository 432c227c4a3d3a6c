"""Small applications of this folder under the settings that the controller's own gunicorn has."""

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cores import SERVER_CORE, pin
from tests.controller import until
from tests.ports import free_port
from tests.processes import children

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Worker:
    """One worker process and the port that it serves."""

    pid: int
    port: int


@contextmanager
def serve(application: str, **environ: str) -> Iterator[Worker]:
    """Runs `module:app` with one worker on the server's core."""
    port = free_port()
    settings = runpy.run_path(str(_ROOT / "gunicorn.conf.py"))
    options = [
        f"--worker-class={settings['worker_class']}",
        f"--worker-connections={settings['worker_connections']}",
        f"--keep-alive={settings['keepalive']}",
        "--no-control-socket",
        "--log-level=warning",
        f"--pythonpath={_ROOT}",
        f"--bind=127.0.0.1:{port}",
    ]
    command = [sys.executable, "-m", "gunicorn", *options, application]
    # Not in the project's root, where gunicorn would find our configuration file.
    server = subprocess.Popen(command, cwd=_ROOT / "bench", env={**os.environ, **environ})
    try:
        worker = until(lambda: children(server.pid), f"the worker of {application}")[0]
        pin(worker, SERVER_CORE)
        yield Worker(worker, port)
    finally:
        server.terminate()
        server.wait()
