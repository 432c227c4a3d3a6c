"""One spelling for one host, so that what a client names is found again as it was stored."""

import ipaddress
import re

from netstacks.errors import InvalidInput

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_NAME = 253
# No top-level domain is a number (RFC 3696, section 2), and C libraries read such names as addresses: 127.1, 0x7f01.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Linux allows 15 characters in the name of an interface. The rest of what it allows has a meaning elsewhere.
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")
# IDNA 2003, which Python has, reads these as other letters or none. IDNA 2008 made them letters of their own, so the
# two lead to different hosts.
_DISPUTED = frozenset("ßẞς\u200c\u200d")


def normal_host(text: str) -> str:
    """A host name in lower case and ASCII, or an IP address in its shortest form.

    A name of other letters is kept as its DNS name (`xn--…`, IDNA 2003); `shown_host` is the way back. An IPv6 address
    that stands for an IPv4 address becomes that one. A link-local address keeps its zone (`fe80::1%eth0`), whose case
    matters. Raises InvalidInput, which says what would be right.
    """
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    # Longer than any name: its conversion would cost much.
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
    """The host as people read it: a name of other letters than ASCII in its own letters, where those can be shown."""
    try:
        shown = host.encode("ascii").decode("idna")
    except UnicodeError:
        # A name of IDNA 2008 alone, or a label that is none in spite of its xn--.
        return host
    return shown if shown.isprintable() else host


def shown_address(host: str, port: int) -> str:
    """`host:port` as people read it, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{shown_host(host)}:{port}"


def searched_host(text: str) -> str:
    """Part of a host, in the form in which hosts are stored. Of other letters than ASCII whole labels are found."""
    try:
        return text.strip().encode("idna").decode().lower()
    except UnicodeError:
        return text.strip().lower()


def _normal_ipv6(host: str, text: str) -> str:
    address, has_zone, zone = host.partition("%")
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError as error:
        raise _is_no_host(text) from error
    if not has_zone:
        return str(ip.ipv4_mapped or ip)
    if not ip.is_link_local:
        raise InvalidInput(f"host: {text[:100]!r} has a zone, and only link-local addresses (fe80::…) have one")
    if not _ZONE.fullmatch(zone):
        raise InvalidInput(f"host: {text[:100]!r}: its zone must be the name of an interface, as in fe80::1%eth0")
    return f"{ip}%{zone}"


def _in_ascii(host: str, text: str) -> str:
    if host.isascii():
        return host
    if disputed := _DISPUTED.intersection(host):
        letters = ", ".join(f"U+{ord(letter):04X}" for letter in sorted(disputed))
        raise InvalidInput(
            f"host: {text[:100]!r} has a letter that not every DNS reads alike ({letters}): write the name as the DNS"
            " has it, in the form xn--…"
        )
    try:
        return host.encode("idna").decode()
    except UnicodeError as error:
        raise _is_no_host(text) from error


def _is_no_host(text: str) -> InvalidInput:
    return InvalidInput(f"host: {text[:100]!r} is neither a host name nor an IP address")
