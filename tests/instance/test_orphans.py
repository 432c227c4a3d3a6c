"""Sessions whose owner is gone: stored from the spool, noted, and ended when nobody comes for them."""

from pathlib import Path
from uuid import UUID

import pytest

from netstacks.instance.agent import Agent
from netstacks.instance.orphans import Orphans
from netstacks.registry.memory import MemoryRegistry
from netstacks.store import audit, recordings, sessions
from netstacks.store.chunks import Event, EventKind, make_chunk, verify
from netstacks.store.pool import Database
from netstacks.store.recordings import Batch
from netstacks.store.sessions import SessionRow
from netstacks.store.spool import Leftover, Spool
from tests.cluster.facts import instance
from tests.instance.test_agent import Clock, Sessions
from tests.rows import make_session

TTL_SECS = 30.0
DETACH_TTL_SECS = 300.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path)
    spool.prepare()
    return spool


@pytest.fixture
def orphans(database: Database, spool: Spool, clock: Clock) -> Orphans:
    """Those of an instance that has been in contact with the registry for longer than the TTL."""
    registry = MemoryRegistry(clock)
    agent = Agent(instance("me"), registry, Sessions(), interval_secs=5.0, ttl_secs=TTL_SECS, clock=clock)
    agent.heartbeat()
    clock.now += TTL_SECS + 1
    agent.heartbeat()
    return Orphans(database, spool, agent, DETACH_TTL_SECS)


def detach(database: Database, session_id: UUID, secs_ago: float) -> None:
    with database.transaction() as tx:
        tx.execute(
            "UPDATE sessions SET state = 'detached', detached_at = now() - make_interval(secs => %s) WHERE id = %s",
            (secs_ago, session_id),
        )


def row(database: Database, session_id: UUID) -> SessionRow:
    with database.transaction() as tx:
        found = sessions.find(tx, session_id)
    assert found is not None
    return found


def notes(database: Database, session_id: UUID) -> str:
    chunks = list(recordings.chunks(database, session_id))
    assert verify(chunks) is None
    events = [event for chunk in chunks for event in chunk.unpacked()]
    return "\n".join(event.payload.decode() for event in events if event.kind is EventKind.NOTE)


def test_a_new_orphan_waits_to_be_claimed(orphans: Orphans, database: Database) -> None:
    orphan, owned = make_session(database, owner="gone"), make_session(database, owner="me")
    orphans.look()
    assert row(database, orphan).state == "detached"
    assert row(database, owned).state == "active"


def test_an_orphan_nobody_comes_for_ends_and_its_recording_says_what_is_missing(
    orphans: Orphans, database: Database
) -> None:
    overdue, early = make_session(database, owner="gone"), make_session(database, owner="gone")
    detach(database, overdue, DETACH_TTL_SECS + 1)
    detach(database, early, DETACH_TTL_SECS - 60)
    orphans.look()
    assert (row(database, overdue).state, row(database, early).state) == ("ended", "detached")
    assert "what it had not stored is missing here" in notes(database, overdue)
    with database.transaction() as tx:
        assert [each["resource"] for each in audit.page(tx, event="session.closed")] == [f"session:{overdue}"]


def test_what_its_owner_left_on_disk_is_stored_before_it_ends(
    orphans: Orphans, database: Database, spool: Spool, tmp_path: Path
) -> None:
    session_id = make_session(database, owner="gone")
    detach(database, session_id, DETACH_TTL_SECS + 1)
    chunk = make_chunk(b"", session_id, 1, 0, 0, [Event(1000.0, EventKind.OUTPUT, b"late")])
    spool.keep([Leftover(Batch(session_id, 1, 0, [chunk]), None)])
    orphans.look()
    assert row(database, session_id).state == "ended"
    assert "stored late" in notes(database, session_id)
    assert list(tmp_path.glob("refused/*")) == []


def test_nothing_ends_while_the_registry_proves_nothing(orphans: Orphans, database: Database, clock: Clock) -> None:
    session_id = make_session(database, owner="gone")
    detach(database, session_id, DETACH_TTL_SECS + 1)
    clock.now -= TTL_SECS
    orphans.look()
    assert row(database, session_id).state == "detached"
