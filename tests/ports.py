"""Free loopback ports."""

import random
import socket
from pathlib import Path

# Below the ports that the kernel gives to connections: none of them takes a port away before its server starts again.
_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_HIGHEST = int(_RANGE.read_text().split()[0]) - 1 if _RANGE.exists() else 32_767

_random = random.SystemRandom()


def free_port() -> int:
    """A port nobody listens on at this moment."""
    while True:
        port = _random.randint(_LOWEST, _HIGHEST)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
