"""Recordings on a real PostgreSQL: what is stored, what is refused, and what a session's row says of it."""

import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

import psycopg
import pytest

from netstacks.errors import Conflict, StoreUnavailable
from netstacks.recording import storage
from netstacks.recording.chunks import Chunk, Event, EventKind, make_chunk, verify
from netstacks.recording.storage import Batch
from netstacks.store import schema, sessions
from netstacks.store.pool import Database, Transaction
from tests.postgres import Postgres
from tests.rows import make_session
from tests.waits import until
from tests.wire import Wire

LONG = 8 * 1024 * 1024


def chain(session_id: UUID, *outputs: bytes, epoch: int = 1, after: Chunk | None = None) -> list[Chunk]:
    """Consecutive chunks of ten seconds each, of one event at the beginning and one at the end."""
    chunks: list[Chunk] = []
    for number, output in enumerate(outputs):
        previous = chunks[-1] if chunks else after
        began_at = previous.ended_at if previous else 1000.0
        events = [Event(began_at, EventKind.OUTPUT, output), Event(began_at + 10, EventKind.NOTE, b"")]
        seq = number if after is None or after.epoch != epoch else after.seq + 1 + number
        place = (session_id, epoch, seq, previous.end_offset if previous else 0)
        chunks.append(make_chunk(previous.sha256 if previous else b"", *place, events))
    return chunks


def save(database: Database, *batches: Batch, again: bool = False) -> list[Batch]:
    with database.transaction() as tx:
        return storage.save(tx, batches, again=again)


def is_saved(database: Database, batch: Batch) -> bool:
    """Not where the process stood still between two statements, which makes an idle transaction of any."""
    try:
        return save(database, batch, again=True) == []
    except StoreUnavailable:
        return False


def said(database: Database, session_id: UUID) -> tuple[int, float | None, float | None]:
    """The recording in the session's row: size, begin, end."""
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    return row.recording_bytes, row.recording_began_at, row.recording_ended_at


def stored(database: Database, session_id: UUID) -> list[Chunk]:
    return list(storage.chunks(database, session_id))


def count(database: Database, session_id: UUID) -> int:
    """The number of chunks, those of discarded recordings included."""
    with database.transaction() as tx:
        row = tx.execute("SELECT count(*) FROM recording_chunks WHERE session_id = %s", [session_id]).fetchone()
    assert row is not None
    return int(row["count"])


def end(database: Database, session_id: UUID, epoch: int = 1) -> None:
    with database.transaction() as tx:
        assert sessions.end(tx, session_id, epoch, "logged out")


def test_size_and_times_on_the_row_grow_with_what_is_stored(database: Database) -> None:
    session_id = make_session(database)
    assert said(database, session_id) == (0, None, None)
    chunks = chain(session_id, b"R1#", b"show", b"", b"bye")
    assert save(database, Batch(session_id, 1, 0, chunks[:2])) == []
    assert said(database, session_id) == (7, 1000.0, 1020.0)
    assert save(database, Batch(session_id, 1, 7, [])) == []
    assert said(database, session_id) == (7, 1000.0, 1020.0)
    assert save(database, Batch(session_id, 1, 7, chunks[2:])) == []
    assert said(database, session_id) == (10, 1000.0, 1040.0)
    assert stored(database, session_id) == chunks


def test_a_batch_writes_to_no_index_of_the_sessions_but_the_first_one(database: Database) -> None:
    session_id = make_session(database)
    first, *later = chain(session_id, *[b"R1#"] * 10)
    save(database, Batch(session_id, 1, 0, [first]))
    with database.transaction() as tx:
        before = updates(tx)
        for chunk in later:
            storage.save(tx, [Batch(session_id, 1, chunk.end_offset, [chunk])])
        after = updates(tx)
    assert [now - then for then, now in zip(before, after, strict=True)] == [len(later), len(later)]


def updates(tx: Transaction) -> list[int]:
    """The updated rows of `sessions`, and those without an index entry.

    PostgreSQL counts those of earlier transactions of the connection, too, until it adds them to its statistics.
    """
    row = tx.execute(
        "SELECT pg_stat_get_xact_tuples_updated('sessions'::regclass) AS updated,"
        " pg_stat_get_xact_tuples_hot_updated('sessions'::regclass) AS without_index"
    ).fetchone()
    assert row is not None
    return [int(row["updated"]), int(row["without_index"])]


def test_the_next_epoch_goes_on_with_size_and_times(database: Database) -> None:
    session_id = make_session(database)
    chunks = chain(session_id, b"R1#")
    save(database, Batch(session_id, 1, 0, chunks))
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
        assert row is not None
        assert sessions.claim(tx, row, owner="ctrl-2", owner_address=None)
    later = chain(session_id, b"R1>", epoch=2, after=chunks[-1])
    assert save(database, Batch(session_id, 2, 0, later)) == []
    assert said(database, session_id) == (6, 1000.0, 1020.0)


def test_only_sessions_whose_epoch_has_moved_on_are_refused(database: Database) -> None:
    ids = [make_session(database) for _ in range(5)]
    batches = [Batch(each, 1 if number % 2 == 0 else 2, 9, chain(each, b"R1#")) for number, each in enumerate(ids)]
    assert save(database, *batches) == batches[1::2]
    assert [said(database, each)[0] for each in ids] == [3, 0, 3, 0, 3]
    assert [len(stored(database, each)) for each in ids] == [1, 0, 1, 0, 1]
    with database.transaction() as tx:
        rows = [sessions.find(tx, each) for each in ids]
    assert [row.acked_offset for row in rows if row] == [9, 0, 9, 0, 9]


def test_an_ended_session_stores_nothing(database: Database) -> None:
    session_id = make_session(database)
    end(database, session_id)
    batch = Batch(session_id, 2, 0, chain(session_id, b"late", epoch=2))
    assert save(database, batch) == [batch]
    assert (said(database, session_id), count(database, session_id)) == ((0, None, None), 0)


def test_several_parts_of_one_recording_are_stored_as_one(database: Database) -> None:
    session_id = make_session(database)
    first, second, third = chain(session_id, b"a", b"bc", b"def")
    assert save(database, *[Batch(session_id, 1, n, [each]) for n, each in enumerate((first, second, third))]) == []
    assert said(database, session_id) == (6, 1000.0, 1030.0)
    assert verify(stored(database, session_id)) is None
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    assert row.acked_offset == 2


def test_chunks_that_an_earlier_try_stored_are_left_out_of_the_next(database: Database) -> None:
    session_id = make_session(database)
    chunks = chain(session_id, b"a", b"b", b"c")
    save(database, Batch(session_id, 1, 0, chunks[:2]))
    assert save(database, Batch(session_id, 1, 0, chunks), again=True) == []
    assert stored(database, session_id) == chunks
    assert said(database, session_id) == (3, 1000.0, 1030.0)


def test_another_chunk_of_a_number_that_is_stored_is_never_left_out_silently(database: Database) -> None:
    session_id = make_session(database)
    save(database, Batch(session_id, 1, 0, chain(session_id, b"one")))
    with pytest.raises(Conflict), database.transaction() as tx:
        storage.save(tx, [Batch(session_id, 1, 0, chain(session_id, b"another"))], again=True)


def test_a_chunk_that_is_there_already_is_no_first_try(database: Database) -> None:
    session_id = make_session(database)
    batch = Batch(session_id, 1, 0, chain(session_id, b"a"))
    save(database, batch)
    with pytest.raises(Conflict):
        save(database, batch)
    assert len(stored(database, session_id)) == 1


def test_a_note_at_the_end_takes_neither_bytes_nor_time(database: Database) -> None:
    session_id = make_session(database)
    save(database, Batch(session_id, 1, 0, chain(session_id, b"R1#")))
    with database.transaction() as tx:
        storage.append_note(tx, session_id, 2, "its instance was lost")
    assert said(database, session_id) == (3, 1000.0, 1010.0)
    assert verify(stored(database, session_id)) is None


def test_a_note_alone_is_a_recording_without_bytes(database: Database) -> None:
    session_id = make_session(database)
    with database.transaction() as tx:
        storage.append_note(tx, session_id, 1, "nothing came")
    size, began_at, ended_at = said(database, session_id)
    assert size == 0
    assert began_at == ended_at == stored(database, session_id)[0].began_at


@contextmanager
def far_away(url: str, port: int, **settings: float) -> Iterator[tuple[Database, Wire]]:
    """The same database through a wire."""
    wire = Wire(port)
    database = Database(url.replace(f":{port}/", f":{wire.port}/"), **settings)
    database.open()
    yield database, wire
    database.close()
    wire.close()


def test_an_instance_that_freezes_while_it_sends_holds_no_session(
    postgres: Postgres, database: Database, database_url: str
) -> None:
    session_id = make_session(database)
    refused: list[list[Batch]] = []
    with far_away(database_url, postgres.port) as (far, wire):
        until(far.ping, "the connection")
        wire.freeze_after(LONG // 2)
        batch = Batch(session_id, 1, 0, chain(session_id, bytes(LONG)))
        sending = threading.Thread(target=lambda: refused.append(save(far, batch)))
        sending.start()
        while not wire.is_frozen:
            time.sleep(0.01)
        with database.transaction() as tx:
            tx.execute("SELECT FROM sessions WHERE id = %s FOR UPDATE NOWAIT", [session_id])
        wire.thaw()
        sending.join()
    assert refused == [[]]
    assert said(database, session_id)[0] == LONG


def test_an_instance_that_freezes_after_it_has_stored_holds_no_session_for_long(
    database_url: str, database: Database
) -> None:
    """As it may do in a pipeline, in which a transaction never counts as idle."""
    session_id = make_session(database)
    impatient = Database(database_url, idle_in_transaction_secs=0.3)
    impatient.open()
    with pytest.raises(StoreUnavailable):
        _save_and_stand_still(impatient, Batch(session_id, 1, 0, chain(session_id, b"R1#")))
    with database.transaction() as tx:
        tx.execute("SELECT FROM sessions WHERE id = %s FOR UPDATE NOWAIT", [session_id])
    impatient.close()


def _save_and_stand_still(database: Database, batch: Batch) -> None:
    with database.transaction() as tx:
        assert storage.save(tx, [batch]) == []
        # The server's last message makes the socket readable.
        assert select.select([tx.fileno()], [], [], 30)[0]


def test_a_batch_that_is_long_on_its_way_is_not_taken_for_an_idle_transaction(
    postgres: Postgres, database: Database, database_url: str
) -> None:
    session_id = make_session(database)
    # PostgreSQL knows a statement by then that it is often asked, and gets its values alone.
    chunks = chain(session_id, *[b"R1#"] * 10, bytes(LONG))
    with far_away(database_url, postgres.port, idle_in_transaction_secs=0.2) as (far, wire):
        for chunk in chunks[:-1]:
            until(partial(is_saved, far, Batch(session_id, 1, 0, [chunk])), "a stored chunk")
        wire.delay(1.0 * 65536 / LONG)
        until(lambda: is_saved(far, Batch(session_id, 1, 0, chunks[-1:])), "the long batch")
    assert stored(database, session_id) == chunks


def test_the_migration_takes_size_and_times_from_what_is_stored(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create_database()
    known = schema.migrations()
    database = Database(url)
    database.open()
    monkeypatch.setattr(schema, "migrations", lambda: known[:3])
    schema.migrate(database)
    recorded, empty = UUID(int=1), UUID(int=2)
    with psycopg.connect(url) as connection:
        for each in (recorded, empty):
            connection.execute(
                "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, epoch, state,"
                " reconnect_hash) VALUES (%s, %s, 'ana', 'r1', 'h', 22, 'xterm', 80, 24, 1, 'active', %s)",
                [each, each, each.bytes],
            )
        for chunk in chain(recorded, b"R1#", b"show", b"bye"):
            connection.execute(
                "INSERT INTO recording_chunks VALUES (%(session_id)s, %(epoch)s, %(seq)s, %(first_offset)s,"
                " %(end_offset)s, %(began_at)s, %(ended_at)s, %(events)s, %(sha256)s)",
                vars(chunk),
            )
    monkeypatch.setattr(schema, "migrations", lambda: known)
    schema.migrate(database)
    assert said(database, recorded) == (10, 1000.0, 1030.0)
    assert said(database, empty) == (0, None, None)
    database.close()
