"""The commands that a program may type."""

import pytest

from netstacks.errors import InvalidInput
from netstacks.web.api.read_only import check


@pytest.mark.parametrize(
    "command",
    ["configure terminal", "reload", "sh version", "showversion", "/show", "", "show;reload", "show version ; reload",
     "show a && reload", "show `reload`", "show $(reload)", "show a > flash:x", "show a >> x", "ping < x", "ping !r",
     "show a | include x", "show a\nreload", "show a\rreload", "show a\u2028reload", "show a\u2029reload",
     "show a\x85reload", "show a\x1b[A", "show a\x03", "show\ta", "show a\u202ereload", "show a\x7f\x7f\x7f"],
)  # fmt: skip
def test_a_command_that_does_more_than_show_is_refused_by_name(command: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(["show version", command])
    error = str(refused.value)
    assert error.startswith(f"Refused '{command[:4]}")
    assert error.endswith("No command was run.")
    assert error.isprintable()


@pytest.mark.parametrize(
    "command",
    ["show version", "SHOW version", "display version", "get system status", "list", "ping 192.0.2.1",
     "traceroute 192.0.2.1", "trace 192.0.2.1", "show interface Gi0/0/1.100", "show route 10.0.0.0/8 detail",
     "show ip bgp regexp ^65000_", "show interface 'größe'"],
)  # fmt: skip
def test_a_command_that_only_shows_is_allowed(command: str) -> None:
    check([command])


def test_a_pipe_is_refused_with_advice() -> None:
    with pytest.raises(InvalidInput) as refused:
        check(["show run | include x"])
    assert str(refused.value) == (
        "Refused 'show run | include x': pipes are not allowed; request the whole output. No command was run."
    )


def test_a_long_command_is_named_in_short() -> None:
    with pytest.raises(InvalidInput) as refused:
        check(["reload " + "x" * 900])
    assert len(str(refused.value)) < 300
