"""What a recording shows as plain text: all of a short one, beginning and end of a long one."""

from uuid import UUID

from netstacks.recording import storage
from netstacks.recording.chunks import EventKind
from netstacks.recording.storage import Batch
from netstacks.store.pool import Database
from netstacks.terminal.excerpt import Excerpt, excerpt
from tests.rows import make_session, record
from tests.store.test_recordings import chain


def recorded(database: Database, *outputs: bytes) -> UUID:
    session_id = make_session(database)
    with database.transaction() as tx:
        storage.save(tx, [Batch(session_id, 1, 0, chain(session_id, *outputs))])
    return session_id


def test_it_is_what_the_terminal_showed_and_not_what_was_typed(database: Database) -> None:
    session_id = make_session(database)
    shown = b"\x1b[2J\x1b[32mR1#\x1b[0m shox\b\x1b[Kw clock\r\n12:00\xc3\xa9\r\nPassword: "
    record(database, session_id, (EventKind.OUTPUT, shown), (EventKind.INPUT, b"hunter2\r"), (EventKind.NOTE, b"note"))
    assert excerpt(database, session_id, 1000) == Excerpt("R1# show clock\n12:00é\nPassword:", "", 0, len(shown))


def test_a_long_excerpt_has_whole_lines_of_both_ends(database: Database) -> None:
    lines = [b"line %04d\r\n" % number for number in range(1000)]
    session_id = recorded(database, *[b"".join(lines[at : at + 7]) for at in range(0, 1000, 7)])
    found = excerpt(database, session_id, 1000)
    beginning, end = found.beginning.split("\n"), found.end.split("\n")
    assert beginning == [f"line {number:04}" for number in range(len(beginning))]
    assert end == [f"line {number:04}" for number in range(1000 - len(end), 1000)]
    assert 800 < 11 * (len(beginning) + len(end)) <= 1000
    assert found.left_out_bytes == 11 * (1000 - len(beginning) - len(end))
    assert found.recorded_bytes == 11000


def test_a_damaged_part_is_named_in_its_place(database: Database) -> None:
    session_id = recorded(database, b"before\r\n", b"damaged\r\n", b"after\r\n")
    with database.transaction() as tx:
        tx.execute("UPDATE recording_chunks SET events = substr(events, 1, 20) WHERE seq = 1")
    lines = excerpt(database, session_id, 1000).beginning.split("\n")
    assert lines[0] == "before"
    assert "chunk 1 of epoch 1 is damaged" in "".join(lines)


def test_an_excerpt_of_a_single_long_line_has_both_ends_too(database: Database) -> None:
    session_id = recorded(database, b"a" * 600, b"b" * 600)
    assert excerpt(database, session_id, 100) == Excerpt("a" * 50, "b" * 50, 1100, 1200)


def test_output_that_is_longer_as_text_is_cut_and_says_so(database: Database) -> None:
    session_id = recorded(database, b"R1#\r\n" + b"\x1b[9000Cx\r\n" * 100)
    text = excerpt(database, session_id, 2000).beginning
    assert text.startswith("R1#\n")
    assert text.endswith("[The rest is left out: it is longer than what the device sent]")
    assert len(text) < 2000


def test_without_output_there_is_no_text(database: Database) -> None:
    assert excerpt(database, make_session(database), 1000) == Excerpt("", "", 0, 0)
