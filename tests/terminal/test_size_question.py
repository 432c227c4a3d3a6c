"""The query for a terminal's window size: its answer is taken out of the typed input."""

import time
from types import SimpleNamespace

import pytest

from netstacks.terminal import size_question
from netstacks.terminal.size_question import SizeQuestion


def asked() -> SizeQuestion:
    question = SizeQuestion()
    assert question.ask() == b"\x1b7\x1b[999;999H\x1b[6n\x1b8"
    return question


def test_the_answer_is_taken_out_of_what_is_typed_once() -> None:
    question = asked()
    assert question.take(b"a\x1b[49;118Rb") == (b"ab", (118, 49))
    # The next one answers the device.
    assert question.take(b"\x1b[5;7R") == (b"\x1b[5;7R", None)


def test_an_answer_in_pieces_is_put_together() -> None:
    question = asked()
    assert question.take(b"a\x1b[49") == (b"a", None)
    assert question.take(b";11") == (b"", None)
    assert question.take(b"8Rb") == (b"b", (118, 49))


@pytest.mark.parametrize("keys", [b"\x1b[A", b"\x1b", b"\x1b[1;2R", b"\x1bOP", b"ls\r", b"\x1b[15~", b"\x1b[<0;5;5M"])
def test_keys_pass_while_the_answer_is_awaited(keys: bytes) -> None:
    assert asked().take(keys) == (keys, None)


def test_without_a_question_nothing_is_an_answer() -> None:
    assert SizeQuestion().take(b"\x1b[49;118R") == (b"\x1b[49;118R", None)


def test_a_terminal_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    question = asked()
    later = time.monotonic() + 11
    monkeypatch.setattr(size_question, "time", SimpleNamespace(monotonic=lambda: later))
    assert question.take(b"\x1b[49;118R") == (b"\x1b[49;118R", None)
