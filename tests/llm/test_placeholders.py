"""Secrets come back, also when an answer comes in pieces and a placeholder is broken between them."""

import json
from collections.abc import Generator
from itertools import pairwise
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.llm.conversation import Finished, Piece, TextDelta, ToolInputDelta, ToolUseEnd, ToolUseStart, Waiting
from netstacks.llm.failures import StreamCut
from netstacks.llm.placeholders import Placeholders, Restorer, restored

SECRET = 'two "words"\nand a \\ line'


@pytest.fixture(scope="module")
def placeholders() -> Placeholders:
    these = Placeholders()
    these.of(SECRET, "generic_password")
    these.of("hunter2", "snmp_community")
    return these


def fed(restorer: Restorer, pieces: list[str]) -> str:
    return "".join([*map(restorer.feed, pieces), restorer.finish()])


@given(st.lists(st.integers(0, 200), max_size=8))
def test_the_text_is_the_same_for_every_cut_of_the_pieces(cuts: list[int]) -> None:
    these = Placeholders()
    one, two = these.of(SECRET, "generic_password"), these.of("hunter2", "snmp_community")
    text = f"RED REDACTED-{one} RREDACTED {two}{one}, {two[:-3]} REDACTED"
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert fed(Restorer(these), pieces) == these.restore(text)


def test_no_more_is_held_back_than_the_beginning_of_a_placeholder(placeholders: Placeholders) -> None:
    restorer = Restorer(placeholders)
    one = placeholders.of("hunter2", "")
    assert restorer.feed("Ready. ") == "Ready. "
    assert restorer.feed("Set R") == "Set "
    assert restorer.feed("outer") == "Router"
    assert restorer.feed(f" to {one[:20]}") == " to "
    assert restorer.feed(one[20:]) == "hunter2"
    assert restorer.feed(one[:9]) == ""
    assert restorer.finish() == one[:9]
    assert restorer.finish() == ""


def test_the_beginning_of_a_placeholder_is_found_without_a_look_at_each_of_them() -> None:
    class Unsearched(dict[str, str]):
        def __iter__(self) -> NoReturn:
            raise AssertionError("it goes through all placeholders")

    these = Placeholders()
    of_secrets = [these.of(f"secret {number}", "k" * 99) for number in range(1000)]
    these._secrets = Unsearched(these._secrets)
    for one in (of_secrets[0], of_secrets[-1]):
        for length in range(1, len(one)):
            assert these.begins_at(f"a {one[:length]}") == 2
        for whole in (f"a {one}", f"a {one}-", f"a {one}A", f"a {one}, or", "RED", "REDACTED", "a REDACTED-x"):
            assert these.begins_at(f"{whole} ") == len(whole) + 1
        assert these.begins_at(f"a {one}") == len(one) + 2
        assert these.begins_at(f"a {one}{one[:30]}") == len(one) + 2


def answer(pieces: list[Piece], failure: Exception | None = None) -> Generator[Piece]:
    yield from pieces
    if failure:
        raise failure


def test_texts_are_restored_and_inputs_of_tools_are_not(placeholders: Placeholders) -> None:
    one = placeholders.of(SECRET, "")
    pieces: list[Piece] = [
        TextDelta(f"try {one[:8]}"),
        Waiting(),
        TextDelta(one[8:]),
        TextDelta(" REDACT"),
        ToolUseStart("1", "run"),
        ToolInputDelta(f'{{"command": "echo {one[:3]}'),
        ToolInputDelta(f'{one[3:]}"}}'),
        ToolUseEnd(),
        Finished("tool_use"),
    ]
    back = list(restored(answer(pieces), placeholders))
    assert "".join(piece.text for piece in back if isinstance(piece, TextDelta)) == f"try {SECRET} REDACT"
    tool_input = "".join(piece.json for piece in back if isinstance(piece, ToolInputDelta))
    assert json.loads(tool_input) == {"command": f"echo {one}"}
    # What was held back comes before what follows it.
    kinds = [type(piece) for piece in back]
    assert kinds.index(ToolUseStart) > max(at for at, kind in enumerate(kinds) if kind is TextDelta)
    assert back[-1] == Finished("tool_use")


def test_a_cut_answer_loses_nothing_of_its_text(placeholders: Placeholders) -> None:
    pieces = restored(answer([TextDelta("set REDACTED")], StreamCut("cut")), placeholders)
    assert [next(pieces), next(pieces)] == [TextDelta("set "), TextDelta("REDACTED")]
    with pytest.raises(StreamCut):
        next(pieces)


def test_closing_it_cancels_the_answer(placeholders: Placeholders) -> None:
    source = answer([TextDelta("a"), TextDelta("b")])
    pieces = restored(source, placeholders)
    assert next(pieces) == TextDelta("a")
    pieces.close()
    assert source.gi_frame is None
