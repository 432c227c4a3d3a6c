"""The limits of what is recorded, held against what all instances have stored."""

import uuid
from typing import Any
from uuid import UUID

import pytest

from netstacks.errors import LimitReached
from netstacks.instance.recording_quota import RecordingQuota
from netstacks.recording import storage
from netstacks.recording.chunks import Event, EventKind, make_chunk
from netstacks.recording.storage import Batch
from netstacks.store import audit, sessions
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.sessions import SessionRow
from tests.rows import make_session
from tests.terminal.test_session import Room

ANA = Actor("ana", uuid.UUID(int=1))


def quota(database: Database, *, session: int = 0, day: int = 0, ends: bool = True) -> RecordingQuota:
    return RecordingQuota(
        database, DeferredWrites(database), session_bytes=session, user_daily_bytes=day, ends_session=ends
    )


def row(database: Database, session_id: UUID) -> SessionRow:
    with database.transaction() as tx:
        found = sessions.find(tx, session_id)
    assert found is not None
    return found


def recorded(database: Database, size: int) -> UUID:
    """A session of ana's at another instance that has recorded so much today."""
    session_id = make_session(database, user_id=ANA.id)
    chunk = make_chunk(b"", session_id, 1, 0, 0, [Event(1000.0, EventKind.OUTPUT, b"x")])
    with database.transaction() as tx:
        assert storage.save(tx, [Batch(session_id, 1, 0, [chunk], size)]) == []
    return session_id


def test_a_day_counts_what_other_instances_have_recorded(database: Database) -> None:
    mine = quota(database, day=1000)
    allowance = mine.allowance(row(database, make_session(database, user_id=ANA.id)))
    allowance.spend(300)
    recorded(database, 999)
    mine.refresh()
    assert allowance.problem is None
    allowance.spend(1)
    assert allowance.problem is not None


def test_a_session_that_is_taken_over_has_what_its_former_owner_has_left(database: Database) -> None:
    allowance = quota(database, session=1000).allowance(row(database, recorded(database, 999)))
    assert allowance.problem is None
    allowance.spend(1)
    assert allowance.problem is not None


def test_no_session_is_opened_that_would_end_at_once(database: Database) -> None:
    recorded(database, 2048)
    with database.transaction() as tx:
        with pytest.raises(LimitReached, match=r"your sessions have recorded 2 KiB .* RECORDING_USER_DAILY_BYTES"):
            quota(database, day=2048).check(tx, ANA)
        quota(database, day=2049).check(tx, ANA)
        quota(database, day=2048).check(tx, Actor("bob", uuid.UUID(int=2)))
        # It goes on unrecorded, or there is no limit.
        quota(database, day=2048, ends=False).check(tx, ANA)
        quota(database).check(tx, ANA)


@pytest.mark.parametrize(("ends", "action"), [(True, "ends"), (False, "goes on unrecorded")])
def test_reaching_a_limit_is_audited_with_what_becomes_of_the_session(
    database: Database, *, ends: bool, action: str
) -> None:
    room: Any = Room()
    deferred_writes = DeferredWrites(database)
    deferred_writes.start()
    by = RecordingQuota(database, deferred_writes, session_bytes=1, user_daily_bytes=0, ends_session=ends)
    by.reached(room.session, "a limit is reached")
    assert room.session.is_live is not ends
    assert deferred_writes.flush(30)
    with database.transaction() as tx:
        (written,) = audit.list_page(tx, event="recording.limit_reached")
    assert written["resource"] == f"session:{room.session.id}"
    assert written["details"] == {"device": "r1", "reason": "a limit is reached", "session": action}
    room.close()


def test_the_quota_of_a_recording_that_has_ended_is_not_asked_for(database: Database) -> None:
    mine = quota(database, day=1000)
    allowance = mine.allowance(row(database, make_session(database, user_id=ANA.id)))
    assert list(mine._totals) == [ANA.id]
    del allowance
    assert list(mine._totals) == []
