"""A device's output without control sequences."""

import pytest

from netstacks.terminal.transcript import Transcript


def played(*pieces: bytes, most_chars: int = 1000) -> Transcript:
    transcript = Transcript(most_chars)
    for piece in pieces:
        transcript.feed(piece)
    return transcript


@pytest.mark.parametrize(
    ("output", "lines", "line"),
    [
        (b"one\r\ntwo\r\nR1#", ["one", "two"], "R1#"),
        (b"one\r\r\n\r\ntwo\n", ["one", "", "two"], ""),
        # Colours, a window's title, bracketed paste, a character set.
        (b"\x1b[1;31mred\x1b[0m\x1b]0;me@host\x07 \x1b[?2004h$ \x1b(B", [], "red $ "),
        # A pager's question, erased as Cisco, Huawei and Juniper do it.
        (b"a\r\n --More-- \b\b\b\b\b\b\b\b\b        \b\b\b\b\b\b\b\b\bb\r\n", ["a", "b"], ""),
        (b"a\r\n  ---- More ----\x1b[42D" + b" " * 42 + b"\x1b[42Db\r\n", ["a", "b"], ""),
        (b"a\r\n---(more 10%)---\r\x1b[Kb\r\n", ["a", "b"], ""),
        (b"a\r\n--More--\r\x1b[2Kb\r\n", ["a", "b"], ""),
        # ProCurve: places by column, ends of lines by ESC E.
        (b"\x1b[24;1HSwitch# \x1b[24;9Hshow\x1bEdone\x1bE\x1b[24;1HSwitch# ", ["Switch# show", "done"], "Switch# "),
        # A key that was taken back, a character that was put in, one that was taken out.
        (b"shaw\b\bow", [], "show"),
        (b"shw\b\x1b[@o", [], "show"),
        (b"shoow\b\b\x1b[P", [], "show"),
        (b"progress 10%\rprogress 20%\r\n", ["progress 20%"], ""),
        ("größe €\r\n".encode(), ["größe €"], ""),
        (b"\xff\xfe\x00ok\x07\r\n", ["\N{REPLACEMENT CHARACTER}" * 2 + "ok"], ""),
    ],
)
def test_a_terminals_sequences_act_and_are_gone_whatever_pieces_they_come_in(
    output: bytes, lines: list[str], line: str
) -> None:
    for size in (1, 2, 3, len(output)):
        transcript = played(*(output[at : at + size] for at in range(0, len(output), size)))
        assert (transcript.lines, transcript.line) == (lines, line), size


def test_long_output_is_cut_and_its_last_line_is_known() -> None:
    transcript = played(b"x" * 60 + b"\r\n", b"y" * 60 + b"\r\n", b"z\r\nR1#", most_chars=100)
    assert transcript.is_cut
    assert transcript.lines == ["x" * 60, "y" * 39]
    assert (transcript.line, transcript.count) == ("R1#", 3)


@pytest.mark.parametrize(
    "hostile",
    [b"y" * 300_000, b"\x1b[99999999999999999999Cx" * 100, b"y" * 10_000 + b"\r" + b"\x1b[9999@" * 5000,
     b"\x1b[" + b"1;" * 9000],
    ids=["an endless line", "far columns", "inserts", "an endless sequence"],
)  # fmt: skip
def test_an_endless_line_does_not_grow_without_limit(hostile: bytes) -> None:
    transcript = played(*(hostile[at : at + 65536] for at in range(0, len(hostile), 65536)), most_chars=1000)
    assert len(transcript.line) < 20_000
    assert sum(map(len, transcript.lines)) <= 1000
