"""Host names and IP addresses in one normal form, so that a search finds a host however it is written."""

import ipaddress
import re

from netstacks.errors import InvalidInput

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_NAME = 253
# No top-level domain is numeric (RFC 3696, section 2), and C libraries parse such names as addresses: 127.1, 0x7f01.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Linux allows 15 characters in an interface name. The other characters that it allows have a meaning elsewhere.
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")
# IDNA 2003, which Python implements, maps these to other letters or drops them. IDNA 2008 keeps them, so the two
# standards resolve different hosts.
_DISPUTED = frozenset("ßẞς\u200c\u200d")


def normal_host(text: str) -> str:
    """A host name in lower case and ASCII, or an IP address in its shortest form.

    An internationalised name is stored as its DNS name (`xn--…`, IDNA 2003); `shown_host` reverses that. An
    IPv4-mapped IPv6 address becomes the IPv4 address. A link-local address keeps its zone (`fe80::1%eth0`), which is
    case-sensitive. Raises InvalidInput with a text that says what is valid.
    """
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    # Longer than any name: not worth an expensive IDNA conversion.
    if len(host) > _MAX_NAME + 1:
        raise _is_no_host(text)
    if ":" in host:
        return _normal_ipv6(host, text)
    host = _in_ascii(host, text).lower().removesuffix(".")
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    labels = host.split(".")
    if len(host) > _MAX_NAME or _NUMBER.fullmatch(labels[-1]) or not all(map(_LABEL.fullmatch, labels)):
        raise _is_no_host(text)
    return host


def shown_host(host: str) -> str:
    """The host for display: an internationalised name in its own letters, if they are printable."""
    try:
        shown = host.encode("ascii").decode("idna")
    except UnicodeError:
        # A name that only IDNA 2008 allows, or an invalid `xn--` label.
        return host
    return shown if shown.isprintable() else host


def shown_address(host: str, port: int) -> str:
    """`host:port` for display, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{shown_host(host)}:{port}"


def searched_host(text: str) -> str:
    """A part of a host in the form in which hosts are stored. Non-ASCII text matches whole labels only."""
    try:
        return text.strip().encode("idna").decode().lower()
    except UnicodeError:
        return text.strip().lower()


def network(address: str | None) -> str:
    """The unit that is counted as one address: an IPv4 address or an IPv6 /64, which one client can have to itself."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _normal_ipv6(host: str, text: str) -> str:
    address, has_zone, zone = host.partition("%")
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError as error:
        raise _is_no_host(text) from error
    if not has_zone:
        return str(ip.ipv4_mapped or ip)
    if not ip.is_link_local:
        raise InvalidInput(f"host: {text[:100]!r} has a zone: only link-local addresses (fe80::…) have one")
    if not _ZONE.fullmatch(zone):
        raise InvalidInput(f"host: {text[:100]!r}: its zone must be the name of an interface, as in fe80::1%eth0")
    return f"{ip}%{zone}"


def _in_ascii(host: str, text: str) -> str:
    if host.isascii():
        return host
    if disputed := _DISPUTED.intersection(host):
        letters = ", ".join(f"U+{ord(letter):04X}" for letter in sorted(disputed))
        raise InvalidInput(
            f"host: {text[:100]!r} has a letter that DNS software maps differently ({letters}): write the name"
            " in its DNS form, xn--…"
        )
    try:
        return host.encode("idna").decode()
    except UnicodeError as error:
        raise _is_no_host(text) from error


def _is_no_host(text: str) -> InvalidInput:
    return InvalidInput(f"host: {text[:100]!r} is neither a host name nor an IP address")
