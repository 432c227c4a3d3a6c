"""Free loopback ports."""

import os
import random
import socket
from pathlib import Path

# Below the ports that the kernel gives to connections: none of them takes a port away before its server starts again.
_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_HIGHEST = int(_RANGE.read_text().split()[0]) - 1 if _RANGE.exists() else 32_767
# Each of pytest-xdist's workers has a share of its own: none takes a port that another has chosen and not yet opened.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

_random = random.SystemRandom()


def free_port() -> int:
    """A port without a listener at this moment."""
    while True:
        port = _random.randrange(_LOWEST + _WORKER, _HIGHEST + 1, _WORKERS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
