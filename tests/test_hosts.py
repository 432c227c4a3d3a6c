"""Hosts: one spelling each, and what is no host is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.errors import InvalidInput
from netstacks.hosts import network, normal_host, shown_address, shown_host


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
        "host: 22",
        "a" * 64,
    ],
)
def test_text_that_is_neither_name_nor_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="neither a host name nor an IP address"):
        normal_host(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("MÜNCHEN.Example", "xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"),
        ("münchen。example.", "xn--mnchen-3ya.example"),
        ("mu\u0308nchen.example", "xn--mnchen-3ya.example"),
        ("１０.０.０.１", "10.0.0.1"),
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),
    ],
    ids=["Unicode", "punycode", "ideographic full stop", "combining", "wide digits", "IDNA 2008 alone"],
)
def test_a_name_of_other_letters_is_one_host_with_its_dns_name(text: str, host: str) -> None:
    assert normal_host(text) == host
    assert normal_host(host) == host
    assert normal_host(shown_host(host)) == host or shown_host(host) == host


@pytest.mark.parametrize(
    "text", ["straße.example", "STRAẞE.example", "ς.example", "a\u200cb.example", "a\u200db.example"]
)
def test_a_name_that_two_standards_read_differently_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="in its DNS form, xn--"):
        normal_host(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("::FFFF:10.0.0.1", "10.0.0.1"),
        ("::ffff:a00:1", "10.0.0.1"),
        ("[FE80:0::1%Eth0]", "fe80::1%Eth0"),
        ("fe80::1%eth0.100", "fe80::1%eth0.100"),
        ("fe80::1%2", "fe80::1%2"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_an_ipv6_address_has_one_spelling_and_keeps_its_zone(text: str, host: str) -> None:
    assert normal_host(text) == host
    assert normal_host(host) == host


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2001:db8::1%eth0", "only link-local addresses"),
        ("::ffff:10.0.0.1%eth0", "only link-local addresses"),
        ("::1%lo", "only link-local addresses"),
        ("fe80::1%", "name of an interface"),
        ("fe80::1%eth0;reboot", "name of an interface"),
        ("fe80::1%a b", "name of an interface"),
        ("fe80::1%../x", "name of an interface"),
        ("fe80::1%" + "x" * 16, "name of an interface"),
        ("fe80::1%eth0%1", "name of an interface"),
        ("fe80::1%\x1b[2J", "name of an interface"),
        ("10.0.0.1%eth0", "neither a host name nor an IP address"),
        ("r1%eth0", "neither a host name nor an IP address"),
        ("fe80:::1", "neither a host name nor an IP address"),
        ("[10.0.0.1", "neither a host name nor an IP address"),
    ],
)
def test_a_zone_that_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        normal_host(text)


@pytest.mark.parametrize(
    "text", ["127.1", "0x7f000001", "10.0x1", "0x7f.0x1", "2130706433", "ａ／b", "\u202eab", "ä" * 60]
)
def test_addresses_that_only_a_c_library_reads_and_letters_of_no_name_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="neither a host name nor an IP address"):
        normal_host(text)


@given(st.text(max_size=300))
def test_the_normal_form_is_ascii_and_its_own_normal_form(text: str) -> None:
    try:
        host = normal_host(text)
    except InvalidInput:
        return
    assert host.isascii()
    assert host.isprintable()
    assert " " not in host
    assert normal_host(host) == host
    assert ":" in host or host.encode("idna") == host.encode(), "the system's resolver refuses it"
    assert shown_host(host).isprintable()
    # What a page shows may be typed again.
    with contextlib.suppress(InvalidInput):
        assert normal_host(shown_host(host)) == host


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        ("xn--mnchen-3ya.example", 22, "münchen.example:22"),
        ("xn--strae-oqa.example", 22, "xn--strae-oqa.example:22"),
        ("xn--a.example", 22, "xn--a.example:22"),
        ("fe80::1%eth0", 2222, "[fe80::1%eth0]:2222"),
        ("10.0.0.1", 22, "10.0.0.1:22"),
    ],
)
def test_an_address_is_shown_in_its_own_letters(host: str, port: int, shown: str) -> None:
    assert shown_address(host, port) == shown


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:9::1", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        (None, ""),
        ("unix:", "unix:"),
    ],
)
def test_an_address_is_counted_with_its_network(address: str | None, counted: str) -> None:
    assert network(address) == counted
