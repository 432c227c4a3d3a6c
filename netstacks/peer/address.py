"""The address at which peers reach this host, when nobody has named one."""

import socket


def address_towards(host: str, port: int) -> str:
    """This host's address on its way to `host`: the network that it shares with its peers.

    Nothing is sent. When `host` cannot be resolved now, this host's name has to do.
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
