"""Hosts: one spelling each, and what is no host is refused."""

import pytest

from netstacks.errors import InvalidInput
from netstacks.store.addresses import normal_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (" Core-1.Example.NET. ", "core-1.example.net"),
        ("switch_3", "switch_3"),
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert normal_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "two words",
        "10.0.0.256",
        "10.0.0",
        "1234",
        "a..b",
        "-a",
        "a-",
        "a/b",
        "user@host",
        "host:22",
        "ä",
        "a" * 64,
    ],
)
def test_what_is_neither_name_nor_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="neither a host name nor an IP address"):
        normal_host(text)
