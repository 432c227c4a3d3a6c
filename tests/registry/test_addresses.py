import pytest

from netstacks.errors import InvalidInput
from netstacks.registry.addresses import Endpoint, parse


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
def test_what_an_address_leaves_out_is_as_in_the_one_before(url: str, endpoints: list[Endpoint]) -> None:
    assert list(parse(url)) == endpoints


@pytest.mark.parametrize(
    "url",
    ["", "s1:26379", "http://s1", "redis://", "redis://s1:x", "redis://:hunter2@::1", "redis://:hunter2@s1/mymaster"],
)
def test_what_is_wrong_is_told_without_the_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(url)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(parse("redis://:hunter2@s1"))
