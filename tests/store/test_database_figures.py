"""The figures of PostgreSQL: what any role may read, on a primary and its standby."""

import os

import psycopg

from netstacks.recording.chunks import EventKind
from netstacks.store import database_figures
from netstacks.store.database_figures import DatabaseFigures
from netstacks.store.pool import Database
from tests.postgres import Postgres
from tests.rows import make_session, record
from tests.waits import until


def figures(database: Database) -> DatabaseFigures:
    with database.transaction() as tx:
        return database_figures.read(tx)


def opened(url: str) -> Database:
    database = Database(url, max_size=2)
    database.open()
    return database


def test_the_figures_of_a_primary(database: Database) -> None:
    found = figures(database)
    assert (found.role, found.replicas) == ("primary", ())
    assert int(found.version.split(".")[0]) >= 14
    assert found.connections is not None
    assert 0 < found.connections <= found.connections_limit
    before = found.recordings_bytes
    assert before is not None
    assert found.replay_lag_secs is None
    for _ in range(20):
        record(database, make_session(database), (EventKind.OUTPUT, os.urandom(20_000)))
    after = figures(database)
    assert (after.recordings_bytes or 0) > before
    assert position(after) > position(found)


def position(found: DatabaseFigures) -> int:
    """A position such as 16/B374D848 as a number of bytes."""
    high, low = (found.wal_position or "").split("/")
    return int(high, 16) << 32 | int(low, 16)


def test_the_oldest_open_transaction_is_found(database: Database, database_url: str) -> None:
    assert (figures(database).oldest_transaction_secs or 0.0) < 5
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1")
        until(lambda: (figures(database).oldest_transaction_secs or 0.0) > 0.2, "an old transaction")


def test_before_the_schema_exists_no_recordings_are_there(database_url: str) -> None:
    database = opened(database_url)
    assert figures(database).recordings_bytes is None
    database.close()


def test_a_standby_and_what_a_role_without_rights_sees_of_it(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    standby = own_postgres.standby().start()
    primary = opened(url)
    try:
        until(lambda: [each.state for each in figures(primary).replicas] == ["streaming"], "the standby")
        until(lambda: figures(primary).replicas[0].lag_secs == 0.0, "a standby that has replayed everything")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE limited LOGIN")
        limited = opened(url.replace("postgres@", "limited@"))
        [hidden] = figures(limited).replicas
        assert (hidden.state, hidden.lag_secs) == (None, None)
        assert figures(limited).connections_limit > 0
        limited.close()
        reader = opened(url.replace(f":{own_postgres.port}/", f":{standby.port}/"))
        assert figures(reader).role == "standby"
        until(lambda: figures(reader).replay_lag_secs == 0.0, "a standby that has replayed all that it received")
        assert 0 < position(figures(reader)) <= position(figures(primary))
        own_postgres.kill()
        # It receives nothing more, so what it has replayed ages.
        until(lambda: (figures(reader).replay_lag_secs or 0.0) > 0.1, "a lag")
        reader.close()
    finally:
        primary.close()
        standby.destroy()


def test_a_role_that_may_not_see_the_position_sees_the_rest(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE blinkered LOGIN")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_current_wal_lsn() FROM PUBLIC")
    limited = opened(url.replace("postgres@", "blinkered@"))
    with limited.transaction() as tx:
        found = database_figures.read(tx)
        assert (found.role, found.wal_position) == ("primary", None)
        assert tx.execute("SELECT 1 AS still").fetchone() == {"still": 1}
    limited.close()
