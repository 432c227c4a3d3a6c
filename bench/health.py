"""Requests per second: health of a running controller, and a bare Flask route under the same gunicorn settings."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench import workers
from bench.cores import CLIENT_CORE, pin


@contextmanager
def bare_flask() -> Iterator[str]:
    """The address of a Flask route that does nothing."""
    with workers.serve("bare_flask:app") as worker:
        yield f"http://127.0.0.1:{worker.port}/"


def requests_per_sec(url: str, duration_secs: int) -> float:
    """Requests per second by wrk, on 16 persistent connections."""
    command = ["wrk", "--threads=1", "--connections=16", f"--duration={duration_secs}s", url]
    output = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: pin(os.getpid(), CLIENT_CORE)
    ).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not found or "Non-2xx" in output:
        raise RuntimeError(f"wrk {url}: {output}")
    return float(found[1])
