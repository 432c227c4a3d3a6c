"""Schema migrations, applied exactly once: safe when several instances start at once or one is killed meanwhile."""

from importlib import resources

import structlog

from netstacks.errors import SchemaMismatch
from netstacks.store.pool import Database, Transaction

log = structlog.get_logger()

# An arbitrary advisory lock key, the same in every version of this program.
_LOCK = 0x6E657473


def migrations() -> list[tuple[int, str, str]]:
    """The migrations of this program as (version, name, SQL), in order."""
    folder = resources.files("netstacks.store") / "migrations"
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name.split("_")[0]), name, (folder / name).read_text()) for name in files]


def migrate(database: Database) -> int:
    """Brings the schema up to date and returns its version.

    All migrations run in one transaction under an advisory lock: a process that is killed leaves no partial schema.
    Raises SchemaMismatch when the database is newer than this program, StoreUnavailable when it cannot be reached.
    """
    known = migrations()
    with database.transaction(timeout_secs=None) as tx:
        tx.execute("SET LOCAL lock_timeout = 0")
        tx.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        tx.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        current = _version(tx)
        newest = known[-1][0]
        _refuse_newer(current, newest)
        for version, name, text in known:
            if version > current:
                tx.execute(text.encode())
                tx.execute("INSERT INTO schema_migrations (version, name) VALUES (%s, %s)", [version, name])
                log.info("schema.migrated", version=version, migration=name)
        return newest


def require(database: Database) -> None:
    """Raises SchemaMismatch unless the schema version is that of this program; for commands that do not migrate."""
    newest = migrations()[-1][0]
    with database.transaction() as tx:
        row = tx.execute("SELECT to_regclass('schema_migrations') AS migrations").fetchone()
        current = _version(tx) if row and row["migrations"] else 0
    _refuse_newer(current, newest)
    if current < newest:
        found = f"has schema version {current}, this program needs {newest}" if current else "is empty"
        raise SchemaMismatch(f"the database {found}: start a controller on it first, or correct DATABASE_URL")


def _version(tx: Transaction) -> int:
    row = tx.execute("SELECT coalesce(max(version), 0) AS version FROM schema_migrations").fetchone()
    assert row is not None
    return int(row["version"])


def _refuse_newer(current: int, newest: int) -> None:
    if current > newest:
        raise SchemaMismatch(
            f"the database has schema version {current}, this program knows {newest}: start a newer version of it"
        )
