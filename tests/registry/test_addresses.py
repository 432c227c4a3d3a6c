import pytest

from netstacks.errors import InvalidInput
from netstacks.registry.addresses import Endpoint, Node, parse, parse_valkey
from netstacks.registry.connection import connect
from tests.refusals import assert_refused


@pytest.mark.parametrize(
    ("url", "endpoints"),
    [
        ("redis://s1:1,s2:2", [Endpoint("s1", 1), Endpoint("s2", 2)]),
        ("redis://s1, redis://s2", [Endpoint("s1", 26379), Endpoint("s2", 26379)]),
        ("rediss://u:p@s1,s2", [Endpoint("s1", 26379, "u", "p", True), Endpoint("s2", 26379, "u", "p", True)]),
        ("valkeys://[::1]:5", [Endpoint("::1", 5, tls=True)]),
        ("valkey://:a%40b@s1,u:c@s2", [Endpoint("s1", 26379, None, "a@b"), Endpoint("s2", 26379, "u", "c")]),
    ],
)
def test_an_address_takes_omitted_parts_from_the_one_before(url: str, endpoints: list[Endpoint]) -> None:
    assert list(parse(url)) == endpoints


@pytest.mark.parametrize(
    "url",
    ["", "s1:26379", "http://s1", "redis://", "redis://s1:x", "redis://:hunter2@::1", "redis://:hunter2@s1/mymaster"],
)
def test_a_mistake_is_told_without_the_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(url)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(parse("redis://:hunter2@s1"))


@pytest.mark.parametrize(
    ("url", "node"),
    [
        ("redis://v", Node(Endpoint("v", 6379))),
        ("redis://v:7/3", Node(Endpoint("v", 7), 3)),
        ("redis://v/", Node(Endpoint("v", 6379))),
        ("redis://v?db=2", Node(Endpoint("v", 6379), 2)),
        ("valkeys://u:p%40%2F@[::1]:7/15", Node(Endpoint("::1", 7, "u", "p@/", True), 15)),
        ("valkey://:a:b@v", Node(Endpoint("v", 6379, None, "a:b"))),
        (
            "rediss://v?ssl_ca_certs=/ca.pem&ssl_check_hostname=no",
            Node(Endpoint("v", 6379, tls=True), 0, {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}),
        ),
    ],
)
def test_a_node_has_a_number_of_its_database(url: str, node: Node) -> None:
    assert parse_valkey(url) == node
    assert connect(url).connection_pool.connection_kwargs["host"] == node.endpoint.host


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:57#hunter2@v", "in a password it is written %23"),
        ("redis://:hunter2@v/x", "must end with one number of a database"),
        ("redis://:hunter2@v/0/1", "must end with one number of a database"),
        ("redis://:hunter2@v/-1", "must end with one number of a database"),
        ("redis://:hunter2@v/1?db=2", "must end with one number of a database"),
        ("redis://:hunter2@v1,v2", "set several Sentinels in VALKEY_SENTINEL_URL"),
        ("redis://:hunter2@", "must name a host"),
        ("redis://:hunter2@:6379", "must name a host"),
        ("redis://:hunter2@%2Frun%2Fvalkey.sock", "must name a host"),
        ("redis:///0", "must name a host"),
        ("unix:///run/valkey.sock", "must be a URL such as redis://"),
        ("redis://hunter2@v", "a password alone stands behind a colon"),
        ("redis://u:@v", "has a user and no password"),
        ("redis://:hunter2@v?socket_timeout=3", "unknown parameter 'socket_timeout'"),
        ("redis://:hunter2@v?ssl_ca_certs=/ca.pem", "with TLS its scheme is rediss or valkeys"),
        ("rediss://:hunter2@v?ssl_cert_reqs=maybe", "ssl_cert_reqs must be one of none, optional, required"),
        ("rediss://:hunter2@v?ssl_check_hostname=maybe", "ssl_check_hostname must be true or false"),
    ],
)
def test_a_wrong_node_is_told_without_the_password(url: str, told: str) -> None:
    assert_refused(parse_valkey, url, told)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:57#hunter2@s1,s2", "in a password it is written %23"),
        ("redis://hunter2@s1,s2", "a password alone stands behind a colon"),
        ("redis://:hunter2@s1/0", "no path is allowed"),
        ("redis://:hunter2@s1?db=1", "unknown parameter 'db'"),
        ("redis://:hunter2@s1:0,s2", "has a port that is not a number"),
        ("redis://:hunter2@s1,http://s2", "must be a URL such as redis://"),
        ("redis://:hunter2@s1,:26379", "must name a host"),
    ],
)
def test_a_wrong_sentinel_is_told_without_the_password(url: str, told: str) -> None:
    assert_refused(parse, url, told)
