"""Why a connection has ended, in the device's words."""

import pytest

from netstacks.terminal.ssh_reasons import explain, is_refusal, words_of


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Received SSH_MSG_DISCONNECT: 12:Maximum sessions reached", 'the device says "Maximum sessions reached"'),
        ("Received SSH_MSG_DISCONNECT: 12:", 'the device says "too many connections"'),
        ("Received SSH_MSG_DISCONNECT: 99:", 'the device says "reason 99"'),
        ("Channel opening failure: channel 43 error (4) no free vty", 'the device says "no free vty"'),
        ("Socket error: disconnected", "the device closed the connection without a reason"),
        ("Timeout connecting", "Timeout connecting"),
    ],
)
def test_the_devices_words_come_first(said: str, told: str) -> None:
    assert explain(said) == told


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ("Received SSH_MSG_DISCONNECT: 2:Too many authentication failures", True),
        ("Received SSH_MSG_DISCONNECT: 14:", True),
        ("Received SSH_MSG_DISCONNECT: 11:Account locked", True),
        ("Received SSH_MSG_DISCONNECT: 12:Maximum number of sessions reached", False),
        ("Received SSH_MSG_DISCONNECT: 11:The system is going down", False),
        ("Socket error: disconnected", False),
    ],
)
def test_a_disconnect_that_answers_a_log_in_is_told_from_others(said: str, is_one: bool) -> None:
    assert is_refusal(said) is is_one


def test_an_exception_without_words_leaves_the_session_to_speak() -> None:
    assert words_of(Exception(-1), b"Socket error: reset") == "Socket error: reset"
    assert words_of(Exception(b"Denied"), b"before") == "Denied"
    assert words_of(Exception(), None) == "no reason was given"
