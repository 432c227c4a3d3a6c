"""The output log's offsets."""

import pytest

from netstacks.terminal.output_log import OutputLog


def test_bytes_are_numbered_from_the_start_of_the_session() -> None:
    output = OutputLog(100)
    output.append(b"hello", keep_from=0)
    output.append(b" world", keep_from=0)
    assert (output.start, output.end) == (0, 11)
    assert output.read(6, 3) == b"wor"
    assert output.read(11, 10) == b""


def test_only_the_newest_bytes_are_kept() -> None:
    output = OutputLog(4)
    output.append(b"0123456789", keep_from=10)
    assert (output.start, output.end) == (6, 10)
    assert output.read(6, 10) == b"6789"


def test_unstored_output_is_kept_whatever_its_size() -> None:
    output = OutputLog(4)
    output.append(b"0123456789", keep_from=3)
    assert (output.start, output.end) == (3, 10)
    output.append(b"ab", keep_from=12)
    assert (output.start, output.end) == (8, 12)


@pytest.mark.parametrize("offset", [5, 13])
def test_an_offset_that_is_not_held_is_refused(offset: int) -> None:
    output = OutputLog(6)
    output.append(b"0123456789ab", keep_from=12)
    with pytest.raises(ValueError, match="not in"):
        output.read(offset, 1)


def test_every_offset_reads_the_same_however_the_bytes_came() -> None:
    sizes = [1, 5000, 3, 4096, 1, 1, 70_000, 4095, 2]
    sent = bytes(number % 251 for number in range(sum(sizes)))
    output = OutputLog(10_000)
    position = 0
    for size in sizes:
        output.append(sent[position : position + size], keep_from=len(sent))
        position += size
    assert (output.start, output.end) == (len(sent) - 10_000, len(sent))
    for offset in range(output.start, output.end + 1, 97):
        for limit in (1, 4096, 20_000):
            assert output.read(offset, limit) == sent[offset : offset + limit]
