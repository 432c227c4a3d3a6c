"""Where a client goes on, by table."""

from types import SimpleNamespace
from typing import Any

import pytest

from netstacks.terminal.output_log import OutputLog
from netstacks.terminal.resume import Resume, start

OLD, NEW = b"R1#show clock\r\n*10:00\r\nR1#", b"R1>"


def session(*, epoch: int = 1, acked: int = 0) -> Any:
    """With OLD recorded under the epoch before, if there was one, and NEW printed since."""
    output = OutputLog(1000)
    output.append(OLD, keep_from=0)
    first_offset = output.end if epoch > 1 else 0
    output.append(NEW, keep_from=0)
    return SimpleNamespace(
        output=output,
        first_offset=first_offset,
        opened_at=50_587.0,
        cols=80,
        rows=24,
        facts=SimpleNamespace(epoch=epoch, device_name="lab-1"),
        recording=SimpleNamespace(acked_offset=acked),
    )


@pytest.mark.parametrize(
    ("resume", "acked", "cursor"),
    [
        (Resume(None, None, False), 0, 0),
        (Resume(None, None, False), 5, 5),
        (Resume(0, 0, False), 5, 0),
        (Resume(1, 7, False), 5, 7),
        (Resume(1, 999, False), 5, len(OLD + NEW)),
        (Resume(0, None, True), 5, 0),
    ],
    ids=["first", "acknowledged", "a new session of ours", "named", "named too far", "a fresh page"],
)
def test_where_nothing_has_happened_nothing_is_told(resume: Resume, acked: int, cursor: int) -> None:
    begin = start(session(acked=acked), resume)
    assert (begin.cursor, begin.before, begin.between) == (cursor, b"", b"")


def test_who_names_an_older_epoch_gets_the_screen_then_a_line_then_the_new_epoch() -> None:
    begin = start(session(epoch=2), Resume(1, 5, False))
    assert begin.cursor == len(OLD)
    screen, _, line = begin.before.partition(b"re-established")
    assert b"R1#show clock\r\n*10:00\r\nR1#" in screen
    assert line.startswith(b" at 14:03:07 UTC: this is a new shell on lab-1")
    assert begin.between == b""


def test_a_client_without_offsets_is_told_between_the_epochs() -> None:
    begin = start(session(epoch=2, acked=5), Resume(None, None, False))
    assert (begin.cursor, begin.before, begin.between_at) == (5, b"", len(OLD))
    assert b"re-established at 14:03:07 UTC" in begin.between


def test_a_client_without_offsets_that_has_seen_the_new_epoch_is_not_told_again() -> None:
    begin = start(session(epoch=2, acked=len(OLD) + 1), Resume(None, None, False))
    assert (begin.cursor, begin.between) == (len(OLD) + 1, b"")


def test_an_epoch_whose_beginning_the_log_no_longer_holds_begins_all_the_same() -> None:
    late = session(epoch=3)
    late.output.append(b"x" * 5000, keep_from=100_000)
    begin = start(late, Resume(2, 5, False))
    assert begin.cursor == late.first_offset < late.output.start
    assert b"re-established" in begin.before
