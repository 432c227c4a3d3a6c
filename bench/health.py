"""Requests per second: health of a running controller, and a bare Flask route under the same gunicorn settings."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cores import CLIENT_CORE, SERVER_CORE, pin
from tests.controller import until
from tests.ports import free_port
from tests.processes import children

_ROOT = Path(__file__).parents[1]


@contextmanager
def bare_flask() -> Iterator[str]:
    """The address of a Flask route that does nothing, served as gunicorn.conf.py says."""
    port = free_port()
    settings = runpy.run_path(str(_ROOT / "gunicorn.conf.py"))
    options = [
        f"--worker-class={settings['worker_class']}",
        f"--worker-connections={settings['worker_connections']}",
        f"--keep-alive={settings['keepalive']}",
        "--no-control-socket",
        "--log-level=warning",
        f"--bind=127.0.0.1:{port}",
    ]
    command = [sys.executable, "-m", "gunicorn", *options, "bare_flask:app"]
    # Not in the project's root, where gunicorn would find our configuration file.
    server = subprocess.Popen(command, cwd=_ROOT / "bench")
    try:
        worker = until(lambda: children(server.pid), "the worker of the bare Flask application")[0]
        pin(worker, SERVER_CORE)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


def requests_per_sec(url: str, duration_secs: int) -> float:
    """By wrk, on 16 connections that are kept."""
    command = ["wrk", "--threads=1", "--connections=16", f"--duration={duration_secs}s", url]
    output = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: pin(os.getpid(), CLIENT_CORE)
    ).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not found or "Non-2xx" in output:
        raise RuntimeError(f"wrk {url}: {output}")
    return float(found[1])
