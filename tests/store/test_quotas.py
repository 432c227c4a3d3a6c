"""The bytes recorded of a user in a day, summed from the rows of sessions."""

import uuid
from uuid import UUID

from netstacks.recording import storage
from netstacks.recording.chunks import Event, EventKind, make_chunk
from netstacks.recording.storage import Batch
from netstacks.store import quotas, sessions
from netstacks.store.pool import Database
from tests.rows import make_session

ANA, BOB = uuid.UUID(int=1), uuid.UUID(int=2)


def store(database: Database, session_id: UUID, seq: int, recorded_bytes: int, *, again: bool = False) -> None:
    """One more chunk, with which the session has recorded `recorded_bytes` in all."""
    chunk = make_chunk(b"", session_id, 1, seq, seq, [Event(1000.0, EventKind.OUTPUT, b"x")])
    with database.transaction() as tx:
        assert storage.save(tx, [Batch(session_id, 1, 0, [chunk], recorded_bytes)], again=again) == []


def today(database: Database, *users: UUID) -> dict[UUID, int]:
    with database.transaction() as tx:
        return dict(quotas.recorded_today(tx, users).by_user)


def a_day_passes(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("UPDATE sessions SET recorded_day = recorded_day - 1, ended_at = ended_at - interval '1 day'")


def end(database: Database, session_id: UUID) -> None:
    with database.transaction() as tx:
        assert sessions.end(tx, session_id, 1, "exit")


def test_a_day_is_the_sum_of_a_users_sessions_the_ended_ones_too(database: Database) -> None:
    first, second, other = (make_session(database, user_id=user) for user in (ANA, ANA, BOB))
    store(database, first, 0, 100)
    store(database, first, 1, 250)
    store(database, second, 0, 1000)
    store(database, other, 0, 7)
    end(database, second)
    assert today(database, ANA, BOB) == {ANA: 1250, BOB: 7}
    assert today(database, uuid.UUID(int=3)) == {}


def test_a_chunk_that_is_stored_twice_counts_once(database: Database) -> None:
    session_id = make_session(database, user_id=ANA)
    store(database, session_id, 0, 100)
    store(database, session_id, 0, 100, again=True)
    assert today(database, ANA) == {ANA: 100}


def test_a_new_day_begins_with_nothing_and_a_session_that_goes_on_keeps_its_own_count(database: Database) -> None:
    live, ended = make_session(database, user_id=ANA), make_session(database, user_id=ANA)
    store(database, live, 0, 100)
    store(database, ended, 0, 40)
    end(database, ended)
    a_day_passes(database)
    assert today(database, ANA) == {}
    store(database, live, 1, 130)
    assert today(database, ANA) == {ANA: 30}
    with database.transaction() as tx:
        row = sessions.find(tx, live)
    assert row is not None
    assert row.recorded_bytes == 130


def test_a_batch_of_the_former_version_which_counts_nothing_takes_nothing_back(database: Database) -> None:
    session_id = make_session(database, user_id=ANA)
    store(database, session_id, 0, 100)
    store(database, session_id, 1, 0)
    assert today(database, ANA) == {ANA: 100}


def test_sessions_are_counted_by_user_and_by_address_as_long_as_they_live(database: Database) -> None:
    ids = [make_session(database, user_id=user, host=host) for user, host in ((ANA, "r1"), (ANA, "r2"), (BOB, "r1"))]
    with database.transaction() as tx:
        assert (quotas.sessions_of_user(tx, ANA), quotas.sessions_at(tx, "r1", 22)) == (2, 2)
        assert quotas.sessions_at(tx, "r1", 23) == 0
    end(database, ids[0])
    with database.transaction() as tx:
        assert (quotas.sessions_of_user(tx, ANA), quotas.sessions_at(tx, "r1", 22)) == (1, 1)
