"""URLs read strictly: each mistake is named with what would be right, and no part of a password is shown."""

import pytest

from netstacks.errors import InvalidInput
from netstacks.urls import Origin, is_same_origin, masked, parse
from tests.refusals import PASSWORD, assert_refused


def read(text: str) -> object:
    return parse(text, ("redis", "rediss"), "redis://host:6379", ("db",))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:57#hunter2@host", "has a '#' before its '@', and so no password: in a password it is written %23"),
        ("redis://:57?hunter2@host", "'?' before its '@', and so no password: in a password it is written %3F"),
        ("redis://:57/hunter2@host", "'/' before its '@', and so no password: in a password it is written %2F"),
        ("redis://:57@hunter2@host", "two '@' before its host: in a user name or a password it is written %40"),
        ("redis://:57%hunter2@host", "a '%' itself is written %25"),
        ("redis://:57%ffhunter2@host", "a '%' itself is written %25"),
        ("redis://:57%00hunter2@host", "a '%' itself is written %25"),
        ("redis://:57 hunter2@host", "a space in a password is written %20"),
        ("redis://:57\nhunter2@host", "a line break"),
        ("redis://:hunter2@host\u200b", "an invisible character"),
        ("'redis://:hunter2@host'", "has quotes around it: remove them"),
        ('"redis://:hunter2@host"', "has quotes around it: remove them"),
        ("redis:/:hunter2@host", "must be a URL such as redis://host:6379"),
        (":hunter2@host", "must be a URL such as redis://host:6379"),
        ("host:6379", "must be a URL such as redis://host:6379"),
        ("http://:hunter2@host", "must be a URL such as redis://host:6379"),
        ("Redis://:hunter2@host", "its scheme in lower case"),
        ("redis://:hunter2", "has a port that is not a number from 1 to 65535"),
        ("redis://:hunter2@host:", "has a port that is not a number from 1 to 65535"),
        ("redis://:hunter2@host:0", "has a port that is not a number from 1 to 65535"),
        ("redis://:hunter2@host:65536", "has a port that is not a number from 1 to 65535"),
        ("redis://:hunter2@host:-1", "has a port that is not a number from 1 to 65535"),
        ("redis://:hunter2@host:٣", "has a port that is not a number from 1 to 65535"),
        ("redis://:hunter2@::1", "an IPv6 address must be in brackets"),
        ("redis://:hunter2@2001:db8::1:6379", "an IPv6 address must be in brackets"),
        ("redis://:hunter2@[::1", "an IPv6 address must be in brackets"),
        ("redis://:hunter2@[::g]", "something in brackets that is not an IPv6 address"),
        ("redis://:hunter2@[]", "something in brackets that is not an IPv6 address"),
        ("redis://:hunter2@[fe80::1%eth0]", "[fe80::1%25eth0]"),
        ("redis://:hunter2@${HOST}", "neither a name nor an address"),
        ("redis://:hunter2@a..b", "neither a name nor an address"),
        ("redis://host#0", "has a '#', which ends a URL"),
        ("redis://host?timeout=3", "unknown parameter 'timeout' after '?': known are db"),
        ("redis://host?db", "unknown parameter after '?': known are db"),
        ("redis://host?db=1&db=2", "has the parameter 'db' twice"),
        ("redis://host?db=%", "a '%' itself is written %25"),
    ],
)
def test_a_mistake_is_told_with_its_mend_and_without_the_password(url: str, told: str) -> None:
    assert_refused(read, url, told)
    assert PASSWORD not in masked(url)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://a", Origin("http", "a", 80)),
        ("https://A.example:443", Origin("https", "a.example", 443)),
        ("https://a:8443", Origin("https", "a", 8443)),
        ("http://[2001:db8::1]:8080", Origin("http", "2001:db8::1", 8080)),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, origin: Origin) -> None:
    assert Origin.parse(text) == origin
    assert Origin.parse(str(origin)) == origin


@pytest.mark.parametrize(
    "text",
    [
        *("null", "", "a", "a:80", "ftp://a", "//a", "http:a", "http://", "http://:80", "http://a/", "http://a/x"),
        *("http://a?", "http://a?x=1", "http://a#x", "http://u@a", "http://u:p@a", "http://a,b", "http://a b", "*"),
        *(
            "http://a:x",
            "http://a:99999",
            "http://a:",
            "http://[",
            "http://[::1",
            "http://::1",
            "http://a%2eb",
            "http://*",
        ),
        *("http://a, http://b", "http://%2Frun", "http://a\x00", "http://a\n"),
    ],
)
def test_anything_else_is_no_origin(text: str) -> None:
    with pytest.raises(InvalidInput):
        Origin.parse(text)


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "is_own"),
    [
        ("http://a", "http", "a", True),
        ("http://a", "ws", "A", True),
        ("http://a", "http", "a:80", True),
        ("https://a", "https", "a:443", True),
        ("https://a", "wss", "a:443", True),
        ("https://a", "https", "a", True),
        ("https://a:8443", "https", "a:8443", True),
        ("http://[::1]:8080", "http", "[::1]:8080", True),
        ("http://[::1]", "http", "[::1]", True),
        # TLS ends at a load balancer that does not say so.
        ("https://a", "http", "a", True),
        ("https://a", "http", "a:443", True),
        ("https://a:8443", "http", "a:8443", True),
        # Another host, scheme or port.
        ("http://a", "https", "a", False),
        ("http://a", "http", "a:443", False),
        ("http://a", "https", "a:443", False),
        ("https://a", "http", "a:80", False),
        ("https://a:8443", "https", "a", False),
        ("https://a", "https", "a:8443", False),
        ("http://a:8080", "http", "a", False),
        ("http://a", "http", "a:8080", False),
        ("http://b", "http", "a", False),
        ("http://a.b", "http", "a", False),
        ("http://a", "http", "a.b", False),
        ("http://a.", "http", "a", False),
        ("http://a", "http", "", False),
        ("http://a", "http", "a,b", False),
        ("http://a", "http", "a/b", False),
        ("http://a", "http", "u@a", False),
        ("http://u@a", "http", "a", False),
        ("http://a/", "http", "a", False),
        ("null", "http", "null", False),
        ("", "http", "", False),
        ("http://", "http", "", False),
        ("http://[", "http", "[", False),
        ("http://a:x", "http", "a:x", False),
        ("ws://a", "ws", "a", False),
        ("file://a", "http", "a", False),
    ],
)
def test_a_page_of_this_site_has_its_host_and_port_by_a_scheme_as_good(
    origin: str, scheme: str, host: str, is_own: bool
) -> None:
    assert is_same_origin(origin, scheme, host) is is_own


def test_a_password_whose_colon_was_forgotten_is_masked() -> None:
    assert masked("redis://secret@host:6379") == "redis://***@host:6379"
