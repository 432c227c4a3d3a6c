"""Schema migrations, applied exactly once: safe when several instances start at once or one is killed meanwhile.

A migration changes the schema while programs of the version before run on it: it adds (expand), programs of its version
use what is new (migrate), and a migration of a later version removes what no program uses any more (contract). The
setting `schema.oldest_program` says which programs can work with the schema (migrations/0024).
"""

from importlib import resources

import structlog

from netstacks.errors import InvalidInput, SchemaMismatch
from netstacks.store import settings
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

    Each migration has a transaction of its own: it locks the tables that it changes, and no other one. A process that
    is killed leaves the schema of an earlier migration, and the next start goes on from there.

    Raises SchemaMismatch when the database is too new for this program, StoreUnavailable when it cannot be reached.
    """
    known = migrations()
    while True:
        with database.transaction() as tx:
            current = _version(tx)
            _refuse_newer(tx, current, known[-1][0])
        missing = [each for each in known if each[0] > current]
        if not missing:
            return current
        with database.transaction(timeout_secs=None) as tx:
            tx.execute("SET LOCAL lock_timeout = 0")
            _apply(tx, missing[:1])


def newest() -> int:
    """The version that this program needs."""
    return migrations()[-1][0]


def create(tx: Transaction, version: int) -> None:
    """Makes the tables of `version`, which this program must know, in an empty database."""
    _apply(tx, [each for each in migrations() if each[0] <= version])


def keep(tx: Transaction) -> None:
    """Keeps the schema as it is until the transaction ends: a migration waits before it locks any table.

    Raises InvalidInput when a migration runs or waits.
    """
    row = tx.execute("SELECT pg_try_advisory_xact_lock_shared(%s) AS is_kept", [_LOCK]).fetchone()
    if not (row and row["is_kept"]):
        raise InvalidInput("the schema is being migrated: try again when the new version has started")


def _apply(tx: Transaction, wanted: list[tuple[int, str, str]]) -> None:
    """Applies migrations, but those that another process has applied meanwhile."""
    tx.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    tx.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    current = _version(tx)
    for version, name, text in wanted:
        if version > current:
            tx.execute(text.encode())
            tx.execute("INSERT INTO schema_migrations (version, name) VALUES (%s, %s)", [version, name])
            log.info("schema.migrated", version=version, migration=name)


def require(database: Database) -> None:
    """Raises SchemaMismatch unless the schema version is that of this program; for commands that do not migrate."""
    needed = newest()
    with database.transaction() as tx:
        current = _version(tx)
        _refuse_newer(tx, current, needed)
    if current < needed:
        found = f"has schema version {current}, this program needs {needed}" if current else "is empty"
        raise SchemaMismatch(f"the database {found}: start a controller on it first, or correct DATABASE_URL")


def _version(tx: Transaction) -> int:
    """The version of the schema; 0 in an empty database."""
    row = tx.execute("SELECT to_regclass('schema_migrations') AS migrations").fetchone()
    if row is None or row["migrations"] is None:
        return 0
    row = tx.execute("SELECT coalesce(max(version), 0) AS version FROM schema_migrations").fetchone()
    assert row is not None
    return int(row["version"])


def _refuse_newer(tx: Transaction, current: int, known: int) -> None:
    if current > known and _oldest_program(tx, current) > known:
        raise SchemaMismatch(
            f"the database has schema version {current}, this program knows {known}: start a newer version of it"
        )


def _oldest_program(tx: Transaction, current: int) -> int:
    """The schema version that a program must know; the current one while the setting is missing or unreadable."""
    stored = settings.get(tx, "schema.oldest_program")
    return stored if isinstance(stored, int) else current
