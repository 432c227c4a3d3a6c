"""The offset at which a client resumes, by table."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from pyte import ByteStream

from netstacks.terminal.output_log import OutputLog
from netstacks.terminal.resume import Resume, start
from netstacks.terminal.screen import Model

SIZE = (40, 10)
OLD, NEW = b"R1#show clock\r\n*10:00\r\nR1#", b"R1>"

# As wide as the screen.
TOLD = ["[the SSH connection was re-established a", "t 14:03:07 UTC: this is a new shell on l", "ab-1]"]


def session(*, epoch: int = 1, acked: int = 0, old: bytes = OLD, new: bytes = NEW) -> Any:
    """With `old` recorded under the epoch before, if there was one, and `new` printed since."""
    output = OutputLog(1000)
    output.append(old, keep_from=0)
    first_offset = output.end if epoch > 1 else 0
    output.append(new, keep_from=0)
    return SimpleNamespace(
        id=uuid4(),
        output=output,
        first_offset=first_offset,
        opened_at=50_587.0,
        facts=SimpleNamespace(epoch=epoch, device_name="lab-1"),
        recording=SimpleNamespace(acked_offset=acked),
    )


def shown(payload: bytes) -> list[str]:
    """The lines of an empty screen that gets this, up to the one with the cursor."""
    screen = Model(*SIZE)
    ByteStream(screen).feed(payload)
    return [line.rstrip() for line in screen.display[: screen.cursor.y + 1]]


@pytest.mark.parametrize(
    ("resume", "acked", "cursor"),
    [
        (Resume(None, None, False), 0, 0),
        (Resume(None, None, False), 5, 5),
        (Resume(0, 0, False), 5, 0),
        (Resume(1, 7, False), 5, 7),
        (Resume(1, 999, False), 5, len(OLD + NEW)),
    ],
    ids=["first", "acknowledged", "a new session of ours", "named", "named too far"],
)
def test_a_resume_without_a_change_tells_nothing(resume: Resume, acked: int, cursor: int) -> None:
    begin = start(session(acked=acked), resume, SIZE)
    assert (begin.cursor, begin.before, begin.between) == (cursor, b"", b"")


def test_a_client_with_an_older_epoch_gets_the_screen_then_a_line_then_the_new_epoch() -> None:
    begin = start(session(epoch=2), Resume(1, 5, False), SIZE)
    assert begin.cursor == len(OLD)
    assert shown(begin.before) == ["R1#show clock", "*10:00", "R1#", *TOLD, ""]
    assert begin.between == b""


@pytest.mark.parametrize("acked", [5, len(OLD)], ids=["in the old epoch", "at its end"])
def test_a_client_without_offsets_is_told_between_the_epochs(acked: int) -> None:
    begin = start(session(epoch=2, acked=acked), Resume(None, None, False), SIZE)
    assert (begin.cursor, begin.before, begin.between_at) == (acked, b"", len(OLD))
    assert b"re-established at 14:03:07 UTC" in begin.between


def test_a_client_without_offsets_that_has_seen_the_new_epoch_is_not_told_again() -> None:
    begin = start(session(epoch=2, acked=len(OLD) + 1), Resume(None, None, False), SIZE)
    assert (begin.cursor, begin.between) == (len(OLD) + 1, b"")


def test_an_epoch_whose_beginning_the_log_no_longer_holds_begins_all_the_same() -> None:
    late = session(epoch=3)
    late.output.append(b"x" * 5000, keep_from=100_000)
    begin = start(late, Resume(2, 5, False), SIZE)
    assert begin.cursor == late.first_offset < late.output.start
    assert b"re-established" in begin.before


def test_a_fresh_page_gets_the_screen_and_where_the_shell_changed() -> None:
    begin = start(session(epoch=2), Resume(0, None, True), SIZE)
    assert begin.cursor == len(OLD + NEW)
    assert shown(begin.before) == ["R1#show clock", "*10:00", "R1#", *TOLD, "R1>"]


def test_a_fresh_page_goes_on_before_what_is_not_whole() -> None:
    one = session()
    one.output.append(b"\x1b[1;3", keep_from=0)
    begin = start(one, Resume(0, None, True), SIZE)
    assert begin.cursor == len(OLD + NEW)
    assert shown(begin.before) == ["R1#show clock", "*10:00", "R1#R1>"]


def test_an_unfinished_sequence_of_the_former_shell_is_not_finished_by_the_new_one() -> None:
    one = session(epoch=2, old=OLD + b"\x1b[?1049h\x1b[H~ an editor\x1b]0;ti", new=b"")
    begin = start(one, Resume(0, None, True), SIZE)
    assert begin.cursor == one.first_offset
    assert shown(begin.before) == ["R1#show clock", "*10:00", "R1#", *TOLD, ""]
    again = start(one, Resume(1, 3, False), SIZE)
    assert shown(again.before) == shown(begin.before)


# What a client without offsets is shown again


def shown_again(old: bytes, acked: int | None = None) -> bytes:
    """What comes first when the client has had everything, or what is before `acked`."""
    log = session(old=old, new=b"", acked=len(old) if acked is None else acked)
    return start(log, Resume(None, None, False), SIZE).before


def test_the_line_that_the_cursor_is_in_is_shown_again() -> None:
    assert shown_again(b"R1#show clock\r\n*10:00\r\nR1#show ver") == b"\r\x1b[KR1#show ver"


def test_a_prompt_that_was_drawn_over_is_shown_as_it_is_now() -> None:
    assert shown_again(b"hello\r\nR1#a\r\x1b[KR1#bc") == b"\r\x1b[K\x1b[KR1#bc"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (b"R1#clear\r\n\x1b[H\x1b[2J\x1b[3J\x1b[?2004hR1#", b"\x1b[?2004hR1#"),
        (b"R1#top\r\n\x1b[H\x1b[2Jtop - 10:00\x1b[24;1HR1#", b"R1#"),
        (b"Menu\x1b[1;24r\x1b[24;1H\x1b[0JR1#", b"\x1b[0JR1#"),
    ],
    ids=["cleared", "placed", "margins"],
)
def test_a_screen_that_was_cleared_or_written_all_over_is_not_so_again(output: bytes, line: bytes) -> None:
    assert shown_again(output) == b"\r\x1b[K" + line


@pytest.mark.parametrize(
    ("output", "acked"),
    [
        (b"R1#show clock\r\n", None),
        (b"R1#\r\n\x1b[?2004h", None),
        (b"R1#show clock\r\nR1#", 3),
        (b"text\x1b[?1049h\x1b[H~\x1b[2;1H~ and more", None),
        (b"\r\n" + b"x" * 2000, None),
    ],
    ids=["finished", "invisible", "what is missing has its own end", "full screen", "no prompt is that long"],
)
def test_nothing_else_is_shown_again(output: bytes, acked: int | None) -> None:
    assert shown_again(output, acked) == b""


def test_after_a_full_screen_program_the_prompt_is_shown_again() -> None:
    assert shown_again(b"R1#vi\r\n\x1b[?1049h~\r\n~\x1b[?1049l\r\nR1#") == b"\r\x1b[KR1#"
