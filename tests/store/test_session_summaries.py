"""Summaries of sessions: the newest is kept, and none outlives its recording."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from netstacks.errors import NotFound
from netstacks.recording import storage
from netstacks.recording.chunks import EventKind
from netstacks.store import session_summaries
from netstacks.store.pool import Database
from netstacks.store.session_summaries import SessionSummary
from tests.controller import until
from tests.rows import make_session, record
from tests.store.test_recordings import end


def summary_of(session_id: UUID, text: str = "**Done**: nothing") -> SessionSummary:
    return SessionSummary(session_id, text, "Main", "m-1", datetime(2026, 11, 29, 6, tzinfo=UTC), "ana", 3)


def recorded(database: Database) -> UUID:
    session_id = make_session(database)
    record(database, session_id, (EventKind.OUTPUT, b"R1#"))
    return session_id


def put(database: Database, summary: SessionSummary) -> None:
    with database.transaction() as tx:
        session_summaries.put(tx, summary)


def get(database: Database, session_id: UUID) -> SessionSummary | None:
    with database.transaction() as tx:
        return session_summaries.get(tx, session_id)


def test_the_later_summary_replaces_the_earlier_one(database: Database) -> None:
    session_id, other = recorded(database), recorded(database)
    assert get(database, session_id) is None
    put(database, summary_of(session_id))
    put(database, summary_of(other))
    later = replace(
        summary_of(session_id, "**Done**: more"),
        provider="Spare",
        model="m-2",
        created_at=datetime(2026, 11, 29, 7, tzinfo=UTC),
        created_by="lee",
        covered_bytes=9,
    )
    put(database, later)
    assert get(database, session_id) == later
    assert get(database, other) == summary_of(other)


def test_a_discarded_recording_takes_its_summary_with_it(database: Database) -> None:
    gone, kept, live = recorded(database), recorded(database), recorded(database)
    for each in (gone, kept, live):
        put(database, summary_of(each))
    end(database, gone)
    end(database, kept)
    with database.transaction() as tx:
        storage.discard(tx, [gone, live])
    assert get(database, gone) is None
    assert get(database, kept) == summary_of(kept)
    assert get(database, live) == summary_of(live)


def test_retention_takes_summaries_with_the_recordings(database: Database) -> None:
    session_id = recorded(database)
    put(database, summary_of(session_id))
    end(database, session_id)
    with database.transaction() as tx:
        tx.execute("UPDATE sessions SET ended_at = now() - interval '10 days'")
        assert storage.prune(tx, 5) == 1
    assert get(database, session_id) is None


def test_a_summary_is_not_kept_when_the_recording_is_gone(database: Database) -> None:
    session_id = recorded(database)
    end(database, session_id)
    with database.transaction() as tx:
        storage.discard(tx, [session_id])
    with pytest.raises(NotFound):
        put(database, summary_of(session_id))
    with pytest.raises(NotFound):
        put(database, summary_of(make_session(database)))


def test_a_summary_that_is_put_while_the_recording_is_discarded_does_not_stay(database: Database) -> None:
    session_id = recorded(database)
    end(database, session_id)

    def discard() -> None:
        with database.transaction() as tx:
            storage.discard(tx, [session_id])

    discarding = threading.Thread(target=discard)
    with database.transaction() as tx:
        session_summaries.put(tx, summary_of(session_id))
        discarding.start()
        until(lambda: _waits_for_a_lock(database), "the discarding waits")
    discarding.join()
    assert get(database, session_id) is None


def _waits_for_a_lock(database: Database) -> bool:
    with database.transaction() as tx:
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(tx.execute(waiting).fetchall())
