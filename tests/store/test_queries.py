"""Rows as objects."""

from netstacks.store import sessions
from netstacks.store.pool import Database
from tests.rows import make_session


def test_a_column_that_a_newer_version_has_added_harms_nothing(database: Database) -> None:
    """In a rolling upgrade this version goes on with the newer one's schema."""
    with database.transaction() as tx:
        tx.execute("ALTER TABLE sessions ADD COLUMN from_the_future text NOT NULL DEFAULT 'new'")
    session_id = make_session(database)
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
        assert row is not None
        assert sessions.release(tx, row.id, row.epoch) is not None
