"""One spelling for one host, so that what a client names is found again as it was stored."""

import ipaddress
import re

from netstacks.errors import InvalidInput

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_NAME = 253


def normal_host(text: str) -> str:
    """A host name in lower case, or an IP address in its shortest form; raises InvalidInput when it is neither."""
    host = text.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    # A name that ends in a number is a mistyped address: no top-level domain does (RFC 3696, section 2).
    if len(host) > _MAX_NAME or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidInput(f"host: {text[:100]!r} is neither a host name nor an IP address")
    return host
