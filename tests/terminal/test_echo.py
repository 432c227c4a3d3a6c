"""What of the typed input is recorded in the clear."""

import pytest

from netstacks.terminal.echo import ECHO_WAIT_SECS, EchoFilter


def recorded(*steps: tuple[str, bytes]) -> bytes:
    """Plays typed ("t") and sent ("s") bytes and returns what was recorded, the wait over at the end."""
    echo = EchoFilter()
    decided = b""
    for kind, data in steps:
        decided += echo.typed(data, 0.0) if kind == "t" else echo.sent(data)
    return decided + echo.expired(ECHO_WAIT_SECS)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("t", b"s"), ("s", b"s"), ("t", b"h"), ("s", b"h")], b"sh", id="typed key by key"),
        pytest.param([("t", b"sh"), ("s", b"s"), ("s", b"h")], b"sh", id="typed faster than the echo"),
        pytest.param([("t", b"show ver\r"), ("s", b"show ver\r\nCisco")], b"show ver\r", id="pasted line"),
        pytest.param(
            [("t", b"show ver\rshow clock\r"), ("s", b"show ver\r\nCisco\r\nR1#"), ("s", b"show clock\r\n12:00")],
            b"show ver\rshow clock\r",
            id="pasted lines, a prompt between the echoes",
        ),
        pytest.param([("t", b"secret\r"), ("s", b"\r\nR1#")], b"******\r", id="password pasted"),
        pytest.param(
            [("t", b"s"), ("t", b"e"), ("t", b"c"), ("t", b"\r"), ("s", b"\r\nR1#")],
            b"***\r",
            id="password typed key by key",
        ),
        pytest.param(
            [("t", b"enable\r"), ("s", b"enable\r\nPassword: "), ("t", b"cisco\r"), ("s", b"\r\nR1#")],
            b"enable\r*****\r",
            id="enable and its password",
        ),
        pytest.param(
            [("t", b"enable\rcisco\rshow run\r"), ("s", b"enable\r\nPassword: "), ("s", b"\r\nR1#show run\r\n")],
            b"enable\r*****\rshow run\r",
            id="pasted together",
        ),
        pytest.param([("t", b"s"), ("s", b"Password: ")], b"*", id="typed ahead of the prompt"),
        pytest.param([("t", b"hunter2")], b"*******", id="nothing comes back"),
        pytest.param([("t", b"\x1b[A\x03\x7f")], b"\x1b**\x03\x7f", id="controls are clear at once"),
        pytest.param([("t", b"\x03"), ("s", b"^C")], b"\x03", id="control alone"),
    ],
)
def test_only_what_the_device_echoes_is_recorded_in_the_clear(steps: list[tuple[str, bytes]], expected: bytes) -> None:
    assert recorded(*steps) == expected


def test_waiting_input_is_bounded() -> None:
    echo = EchoFilter()
    assert echo.typed(b"x" * 100_000, 0.0) == b"*" * 100_000
    assert echo.deadline is None
