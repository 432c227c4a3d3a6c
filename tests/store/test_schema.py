"""Migrations beside programs that work: each locks only the tables that it changes, and a backup keeps the schema."""

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from netstacks.errors import InvalidInput
from netstacks.store import backups, schema
from netstacks.store.pool import Database
from tests.postgres import Postgres
from tests.waits import until

# What the version before 0016 to 0024 looked for at each log-in and each terminal.
_READ_BY_ALL = ("users", "devices", "vault_secrets", "sessions", "settings")


@pytest.fixture
def former_url(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database of the version before 0016."""
    url = postgres.create_database()
    known = schema.migrations()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: [each for each in known if each[0] < 16])
        migrate(url)
    yield url
    postgres.drop_database(url)


def migrate(url: str) -> int:
    database = Database(url)
    database.open()
    try:
        return schema.migrate(database)
    finally:
        database.close()


def is_waiting(connection: psycopg.Connection[tuple[int]], kind: str) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
        " WHERE NOT l.granted AND l.locktype = %s",
        [kind],
    ).fetchone()
    return bool(row and row[0])


def is_alone(connection: psycopg.Connection[tuple[int]]) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    ).fetchone()
    return row == (1,)


def read(connection: psycopg.Connection[tuple[int]], tables: tuple[str, ...]) -> None:
    """Raises LockNotAvailable if a table is locked."""
    connection.execute("SET lock_timeout = '1s'")
    for table in tables:
        connection.execute(f"SELECT count(*) FROM {table}".encode())


def test_a_migration_that_waits_for_one_table_locks_no_other_one(former_url: str) -> None:
    migration = threading.Thread(target=migrate, args=[former_url])
    with (
        psycopg.connect(former_url, autocommit=True) as reader,
        psycopg.connect(former_url) as writer,
    ):
        writer.execute("INSERT INTO audit (actor, event, resource) VALUES ('x', 'x', 'x')")
        migration.start()
        until(lambda: is_waiting(reader, "relation"), "the wait for the audit log")
        read(reader, _READ_BY_ALL)
        writer.commit()
    migration.join()
    assert migrate(former_url) == schema.newest()


def test_instances_that_start_together_apply_each_migration_once(former_url: str) -> None:
    found: list[int] = []
    starts = [threading.Thread(target=lambda: found.append(migrate(former_url))) for _ in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert found == [schema.newest()] * 4


def test_the_audit_log_is_read_three_times_by_its_migration(former_url: str) -> None:
    with psycopg.connect(former_url) as connection:
        connection.execute(
            "INSERT INTO audit (actor, event, resource) SELECT i, i, i FROM generate_series(1, 20000) AS i"
        )
    with psycopg.connect(former_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE audit")
    migrate(former_url)
    with psycopg.connect(former_url, autocommit=True) as connection:
        row = connection.execute("SELECT first_id, last_id, nextval('audit_id_seq') FROM audit_waiting").fetchone()
        assert row == (1, 20000, 20001)

        def rows_read() -> int:
            query = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'audit_first'"
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0])

        until(lambda: is_alone(connection), "the end of the migration's connections, which completes the statistics")
        # For rows of a clock that was ahead, the index and the bound.
        assert rows_read() == 3 * 20000


def test_a_migration_during_a_backup_waits_without_a_table(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = (schema.newest() + 1, "newer.sql", "ALTER TABLE users ADD COLUMN newer integer")
    known = schema.migrations()
    migration = threading.Thread(target=migrate, args=[database_url])
    with psycopg.connect(database_url, autocommit=True) as reader:

        def upgrade(table: str, _: int) -> None:
            if table != "users" or migration.ident is not None:
                return
            # An instance of the same version starts meanwhile.
            assert migrate(database_url) == schema.newest()
            monkeypatch.setattr(schema, "migrations", lambda: [*known, newer])
            migration.start()
            until(lambda: is_waiting(reader, "advisory"), "the wait of the migration")
            read(reader, ("users",))

        manifest = backups.write(database, tmp_path / "backup.zip", upgrade)
        migration.join()
        assert reader.execute("SELECT count(newer) FROM users").fetchone() == (0,)
    assert manifest.schema_version == newer[0] - 1
    assert zipfile.ZipFile(tmp_path / "backup.zip").testzip() is None


def test_no_backup_begins_while_the_schema_is_migrated(database: Database, database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as migration:
        migration.execute("SELECT pg_advisory_xact_lock(%s)", [schema._LOCK])
        with pytest.raises(InvalidInput, match="migrated"):
            backups.write(database, tmp_path / "backup.zip", lambda *_: None)
    assert list(tmp_path.iterdir()) == []
