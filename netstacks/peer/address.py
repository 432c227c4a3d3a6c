"""The address at which peers reach this host, when HA_ADVERTISE_HOST is not set."""

import socket


def address_towards(host: str, port: int) -> str:
    """The local address of the route to `host`; peers on the same network reach it.

    Sends nothing. Falls back to this host's name when `host` cannot be resolved.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            own: str = probe.getsockname()[0]
            return own
    except OSError:
        return socket.gethostname()


def joined(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
