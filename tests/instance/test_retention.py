"""Old recordings are removed in the background; whatever is live or younger stays."""

from uuid import UUID

from netstacks.recording import storage
from netstacks.recording.chunks import EventKind
from netstacks.recording.retention import Retention
from netstacks.store import audit, sessions
from netstacks.store.pool import Database
from tests.rows import make_session, record
from tests.waits import until

DAYS = 30
OUTPUT = b"R1#"


def recorded(database: Database, *, started_days_ago: int, ended_days_ago: int | None) -> UUID:
    """A recording of a session that ended so long ago, or is live."""
    session_id = make_session(database)
    record(database, session_id, (EventKind.OUTPUT, OUTPUT))
    with database.transaction() as tx:
        if ended_days_ago is not None:
            sessions.end(tx, session_id, 1, "logged out")
        tx.execute(
            "UPDATE sessions SET started_at = now() - make_interval(days => %s),"
            " ended_at = now() - make_interval(days => %s) WHERE id = %s",
            (started_days_ago, ended_days_ago, session_id),
        )
    return session_id


def kept(database: Database) -> set[UUID]:
    with database.transaction() as tx:
        return set(storage.ids(tx))


def stored(database: Database) -> set[UUID]:
    """The sessions of which there are chunks."""
    with database.transaction() as tx:
        return {row["session_id"] for row in tx.execute("SELECT session_id FROM recording_chunks")}


def test_only_what_ended_longer_ago_is_removed_and_audited(database: Database) -> None:
    old = [recorded(database, started_days_ago=40, ended_days_ago=DAYS + 1) for _ in range(60)]
    young = recorded(database, started_days_ago=40, ended_days_ago=DAYS - 1)
    live = recorded(database, started_days_ago=400, ended_days_ago=None)
    Retention(database, lambda: DAYS).look()
    assert kept(database) == {young, live}
    with database.transaction() as tx:
        rows = audit.list_page(tx, event="recording.pruned")
        assert sessions.find(tx, old[0]) is not None
    assert {row["resource"] for row in rows} == {f"session:{session_id}" for session_id in old}
    assert {(row["details"]["bytes"], row["details"]["retention_days"]) for row in rows} == {(len(OUTPUT), DAYS)}
    assert stored(database) == {young, live}


def test_it_runs_by_itself_and_without_a_limit_not_at_all(database: Database) -> None:
    recorded(database, started_days_ago=40, ended_days_ago=DAYS + 1)
    young = recorded(database, started_days_ago=40, ended_days_ago=DAYS - 1)
    Retention(database, lambda: 0).start()
    Retention(database, lambda: DAYS).start()
    until(lambda: len(kept(database)) < 2, "the removal of the old one")
    assert kept(database) == {young}


def test_deleted_recordings_are_removed_even_if_recordings_are_kept_for_ever(database: Database) -> None:
    deleted, other = (recorded(database, started_days_ago=40, ended_days_ago=DAYS + 1) for _ in range(2))
    with database.transaction() as tx:
        storage.discard(tx, [deleted])
    Retention(database, lambda: 0).look()
    assert stored(database) == {other}
