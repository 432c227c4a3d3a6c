"""Free ports."""

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
# Ports that were not chosen yet: a port may wait for its server for minutes, and no later choice may take it meanwhile.
_left: list[int] = []


def free_port() -> int:
    """A port without a listener on any address at this moment; another one at each call, until all have been chosen."""
    while True:
        if not _left:
            _left.extend(range(_LOWEST + _WORKER, _HIGHEST + 1, _WORKERS))
            _random.shuffle(_left)
        port = _left.pop()
        if _is_free(port):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True
