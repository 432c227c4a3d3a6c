"""The typed input that is recorded in the clear."""

import pytest

from netstacks.recording.echo_filter import ECHO_WAIT_SECS, EchoFilter

PROMPT = ("s", b"\r\nR1#")
# The device has echoed a key before Enter was typed.
KNOWN = (PROMPT, ("t", b"x"), ("s", b"x"), ("t", b"\r"), PROMPT)


def played(*steps: tuple[str, bytes]) -> tuple[bytes, int]:
    """Plays typed ("t") and sent ("s") bytes; returns what was recorded, and how often masking began."""
    echo = EchoFilter()
    decided = [echo.typed(data, 0.0) if kind == "t" else echo.sent(data, 0.0) for kind, data in steps]
    decided += [echo.expired(ECHO_WAIT_SECS), echo.end()]
    return b"".join(each.data for each in decided), sum(each.begins_masking for each in decided)


def keys(text: bytes, *, echoed: bool) -> list[tuple[str, bytes]]:
    """Typed key by key."""
    return [(kind, text[at : at + 1]) for at in range(len(text)) for kind in ("ts" if echoed else "t")]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([*keys(b"sh", echoed=True), ("t", b"\r"), PROMPT], b"sh\r", id="key by key"),
        pytest.param(
            [("t", b"sh"), ("s", b"s"), ("t", b"o"), ("s", b"ho"), ("t", b"\r"), PROMPT], b"sho\r", id="echo lags"
        ),
        pytest.param([("t", b"h\xc3\xa4"), ("s", b"h\xc3\xa4"), ("t", b"\r"), PROMPT], b"h\xc3\xa4\r", id="not ASCII"),
        pytest.param(
            [("t", b"sh"), ("s", b"sh"), ("t", b"\t"), ("s", b"ow "), *keys(b"ver", echoed=True), ("t", b"\r"), PROMPT],
            b"sh\tver\r",
            id="completed by Tab",
        ),
        pytest.param(
            [
                *keys(b"sj", echoed=True),
                ("t", b"\x7f"),
                ("s", b"\b \b"),
                *keys(b"h", echoed=True),
                ("t", b"\r"),
                PROMPT,
            ],
            b"sj\x7fh\r",
            id="corrected",
        ),
        pytest.param([("t", b"\x1b[A"), ("s", b"show ver"), ("t", b"\r"), PROMPT], b"\x1b[A\r", id="from the history"),
        pytest.param([("t", b"\x1b[A\x03\x7f\t")], b"\x1b[A\x03\x7f\t", id="keys are clear at once"),
        pytest.param([("t", b"\x03"), ("s", b"^C")], b"\x03", id="control alone"),
        pytest.param(
            [("s", b"code-sw1#"), *keys(b"enable", echoed=True), ("t", b"\r"), ("s", b"\r\nPassword: ")],
            b"enable\r",
            id="word in a name",
        ),
    ],
)
def test_a_line_that_the_device_echoes_is_recorded_as_it_is(steps: list[tuple[str, bytes]], expected: bytes) -> None:
    assert played(PROMPT, *steps) == (expected, 0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("t", b"show ver\r"), ("s", b"show ver\r\nCisco")], b"show ver\r", id="pasted"),
        pytest.param([("t", b"s"), ("t", b"h\r"), ("s", b"s"), ("s", b"h\r\n")], b"sh\r", id="faster than the echo"),
    ],
)
def test_at_a_prompt_that_has_echoed_a_line_may_come_faster_than_its_echo(
    steps: list[tuple[str, bytes]], expected: bytes
) -> None:
    assert played(*KNOWN, *steps) == (b"x\r" + expected, 0)
    masked = bytes(byte if byte < 0x20 else ord("*") for byte in expected)
    assert played(PROMPT, *steps) == (masked, 1)
    # Another prompt is another program.
    assert played(*KNOWN, ("s", b"\r\nkey>"), *steps) == (b"x\r" + masked, 1)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("t", b"secret\r"), PROMPT], b"******\r", id="pasted"),
        pytest.param([*keys(b"secret\r", echoed=False), PROMPT], b"******\r", id="key by key"),
        pytest.param([("t", b"R1#\r"), PROMPT], b"***\r", id="equal to the next prompt"),
        pytest.param([("t", b"R1#\r"), ("s", b"R1#")], b"***\r", id="equal to the next prompt, without a new line"),
        pytest.param(
            [("s", b"\r\nkey> "), *keys(b"Cisco\r", echoed=False), ("s", b"Cisco\r\nR1#")],
            b"*****\r",
            id="equal to what is printed next, without a new line",
        ),
        pytest.param([("t", b"Cisco\r"), ("s", b"\r\nCisco IOS\r\nR1#")], b"*****\r", id="equal to the banner"),
        pytest.param([("t", b"show\r"), PROMPT, ("s", b"show\r\n")], b"****\r", id="printed later"),
        pytest.param([("t", b"show\r"), ("s", b"****\r\n")], b"****\r", id="echoed as asterisks"),
        pytest.param([("t", b"show"), ("s", b"show\r\n")], b"****", id="a new line without Enter"),
        pytest.param([("t", b"hunter2")], b"*******", id="nothing comes back"),
        pytest.param([("t", b"show"), ("s", b"show")], b"****", id="no Enter"),
        pytest.param(
            [("t", b"show ver\rshow clock\r"), ("s", b"show ver\r\n12:00\r\nR1#"), ("s", b"show clock\r\n")],
            b"show ver\r**********\r",
            id="typed ahead",
        ),
        pytest.param(
            [("t", b"enable\rcisco\rshow run\r"), ("s", b"enable\r\nPassword: "), ("s", b"\r\nR1#show run\r\n")],
            b"enable\r*****\r********\r",
            id="typed ahead of a question",
        ),
        pytest.param(
            [("s", b"\r\n"), ("t", b"P\r"), ("s", b"P"), ("s", b"assword: "), PROMPT], b"*\r", id="before any prompt"
        ),
        pytest.param(
            [("t", b"P"), ("s", b"P"), ("s", b"assword: "), ("t", b"\r"), PROMPT], b"*\r", id="the prompt's beginning"
        ),
        pytest.param([("t", b"sh"), ("s", b"sh%LINK-3\r\n"), ("t", b"ow\r")], b"****\r", id="interrupted"),
        pytest.param([("t", b"\x1b]11;rgb:0/0/0\x1b\\"), ("s", b"x")], b"\x1b" + b"*" * 13 + b"\x1b*", id="no key"),
    ],
)
def test_all_else_is_masked_and_said_to_be(steps: list[tuple[str, bytes]], expected: bytes) -> None:
    assert played(*KNOWN, *steps) == (b"x\r" + expected, 1)


@pytest.mark.parametrize(
    "question",
    ["Password: ", "\x1b[1mEnter PASSCODE:\x1b[0m ", "密码：", "[sudo] password for ann: ", "Enable secret?"],
)
def test_the_answer_to_a_question_for_a_secret_is_masked_though_it_is_echoed(question: str) -> None:
    asked = ("s", b"\r\n" + question.encode())
    assert played(asked, *keys(b"abc", echoed=True), ("t", b"\r"), PROMPT) == (b"***\r", 1)
    assert played(asked, ("t", b"abc\rdef\r"), ("s", b"abc\r\ndef\r\n")) == (b"***\r***\r", 1)


def test_a_secret_that_equals_its_prompt_is_masked() -> None:
    assert played(("s", b"> Pass"), ("t", b"word: "), ("s", b"word: "), ("t", b"\r"), PROMPT) == (b"******\r", 1)


def test_masking_ends_with_the_next_line_that_is_echoed() -> None:
    def command(text: bytes) -> list[tuple[str, bytes]]:
        return [PROMPT, ("t", text + b"\r"), ("s", text + b"\r\n")]

    hidden = [("s", b"Password: "), ("t", b"secret\r"), ("s", b"\r\n")]
    steps = [*command(b"en"), *hidden, *hidden, *command(b"sh"), *hidden]
    assert played(*KNOWN, *steps) == (b"x\ren\r******\r******\rsh\r******\r", 2)


def test_a_key_that_a_pager_takes_costs_the_next_command_nothing() -> None:
    pager = [("s", b"--More--"), ("t", b" "), ("s", b"\r      \rlast line\r\nR1#")]
    assert played(*pager, ("t", b"sh"), ("s", b"sh"), ("t", b"\r"), PROMPT) == (b"*sh\r", 1)


def test_a_line_that_is_echoed_waits_for_its_enter_and_for_nothing_else() -> None:
    echo = EchoFilter()
    echo.sent(b"R1#", 0.0)
    echo.typed(b"sho", 0.0)
    assert echo.deadline == ECHO_WAIT_SECS
    echo.sent(b"sh", 1.0)
    assert echo.deadline == 1.0 + ECHO_WAIT_SECS
    echo.sent(b"o", 2.0)
    assert echo.deadline is None
    assert echo.expired(1e9).data == b""
    echo.typed(b"\r", 1e9)
    assert echo.sent(b"\r\n", 1e9).data == b"sho\r"


def test_waiting_input_is_bounded_and_a_flood_is_masked_until_it_pauses() -> None:
    echo = EchoFilter()
    echo.sent(b"R1#", 0.0)
    assert echo.typed(b"x" * 100_000, 0.0).data == b"*" * 100_000
    assert echo.deadline is None
    echo.sent(b"\r\nR1#", 0.0)
    assert echo.typed(b"x\r", ECHO_WAIT_SECS - 1).data == b"*\r"
    echo.typed(b"x", 2 * ECHO_WAIT_SECS - 1)
    echo.sent(b"x", 2 * ECHO_WAIT_SECS - 1)
    echo.typed(b"\r", 2 * ECHO_WAIT_SECS - 1)
    assert echo.sent(b"\r\n", 2 * ECHO_WAIT_SECS - 1).data == b"x\r"
    assert echo.typed(b"a\r" * 100_000, 10.0).data == b"*\r" * 100_000


@pytest.mark.parametrize("key", [b"\x1b[", b"\x1bO", b"\x1b[1;2"])
def test_the_beginning_of_a_key_unmasks_nothing_behind_a_question_for_a_secret(key: bytes) -> None:
    echo = EchoFilter()
    echo.sent(b"Password: ", 0.0)
    recorded = echo.typed(key + b"hunter2\r", 0.0).data + echo.end().data
    assert recorded == b"\x1b" + b"*" * (len(key) - 1 + len("hunter2")) + b"\r"
