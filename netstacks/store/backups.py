"""Backups: all rows of the database as of one moment in a zip file, and a new database from such a file.

The file has the schema's version and the rows of each table in PostgreSQL's binary form of COPY. The schema itself
comes from the migrations of the program: a backup needs no program of PostgreSQL, and goes into any version of it.
"""

import hashlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from psycopg import DataError, sql
from pydantic import BaseModel, Field

from netstacks import __version__
from netstacks.errors import InvalidInput, SchemaMismatch
from netstacks.store import audit, schema
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load, read_one_state

_SQL = load("backups")

_MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20
# Compressed already.
_STORED = ("recording_chunks",)
# What `zipfile` raises for a damaged file: bytes that are not compressed data, an unknown method or version
# (NotImplementedError, a RuntimeError), a mark of encryption (RuntimeError), a name that is missing (KeyError).
_DAMAGES = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, RuntimeError, ValueError, OSError)

Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
Progress = Callable[[str, int], None]
"""Called with the name of a table, and the bytes that are done of it."""


class Table(BaseModel):
    """One table in a backup; `sha256` covers its rows."""

    name: Name
    columns: list[Name]
    sha256: str
    size_bytes: int


class Manifest(BaseModel):
    """What a backup is; tables in an order in which each comes after those that it refers to."""

    format: Literal[1] = 1
    program: str
    schema_version: int
    created_at: datetime
    vault_keys: list[str]
    """The ids of the vault keys that seal the secrets in it."""
    tables: list[Table]


def write(database: Database, file: Path, progress: Progress) -> Manifest:
    """Writes a backup to `file`, which must not exist. An incomplete file is removed.

    Raises InvalidInput when the file cannot be written or the schema is being migrated, and what `Database.transaction`
    raises.
    """
    if file.exists():
        raise InvalidInput(f"{file} exists: name a new file")
    unfinished = file.with_name(f"{file.name}.part")
    try:
        # It has recordings and hashes of passwords. Another user may have made a file of this name, to read it.
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        problem = f"{unfinished} exists: another backup writes it, or one was interrupted; then remove it"
        raise InvalidInput(problem) from error
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as written:
            manifest = write_to(written, database, progress)
        unfinished.rename(file)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def write_to(stream: IO[bytes], database: Database, progress: Progress) -> Manifest:
    """Writes a backup to `stream`, which need not be a file. Raises what `write` does, and OSError of the stream."""
    with database.transaction(timeout_secs=None) as tx, zipfile.ZipFile(stream, "w") as archive:
        read_one_state(tx)
        schema.keep(tx)
        return _write(tx, archive, progress)


def _write(tx: Transaction, archive: zipfile.ZipFile, progress: Progress) -> Manifest:
    tables = [_dump(tx, archive, name, columns, progress) for name, columns in _tables(tx)]
    manifest = Manifest(
        program=__version__,
        schema_version=_one(tx, "version")["version"],
        created_at=datetime.now(UTC),
        vault_keys=[row["key_id"] for row in tx.execute(_SQL["vault_keys"])],
        tables=tables,
    )
    archive.writestr(_MANIFEST, manifest.model_dump_json(indent=2))
    return manifest


def _tables(tx: Transaction) -> list[tuple[str, list[str]]]:
    rows = {row["name"]: row for row in tx.execute(_SQL["tables"])}
    order = TopologicalSorter({name: row["refers_to"] for name, row in rows.items()}).static_order()
    return [(name, rows[name]["columns"]) for name in order]


def _dump(tx: Transaction, archive: zipfile.ZipFile, name: str, columns: Sequence[str], progress: Progress) -> Table:
    entry = zipfile.ZipInfo(f"{name}.copy", datetime.now(UTC).timetuple()[:6])
    entry.compress_type = zipfile.ZIP_STORED if name in _STORED else zipfile.ZIP_DEFLATED
    digest, size_bytes = hashlib.sha256(), 0
    with (
        archive.open(entry, "w", force_zip64=True) as member,
        tx.cursor() as cursor,
        cursor.copy(_statement("copy_out", name, columns)) as rows,
    ):
        for block in rows:
            member.write(block)
            digest.update(block)
            size_bytes += len(block)
            progress(name, size_bytes)
    return Table(name=name, columns=list(columns), sha256=digest.hexdigest(), size_bytes=size_bytes)


def read_manifest(file: Path) -> Manifest:
    """What the backup in `file` is. Raises InvalidInput when it is not a backup, or one of another format."""
    try:
        with zipfile.ZipFile(file) as archive:
            return Manifest.model_validate_json(archive.read(_MANIFEST))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror or error}") from error
    except _DAMAGES as error:  # ValidationError is a ValueError.
        raise InvalidInput(f"{file} is not a complete backup of this program ({type(error).__name__})") from error


def restore(database: Database, file: Path, progress: Progress) -> Manifest:
    """Fills an empty database from a backup, in one transaction.

    All log-ins are ended: some of them may have been revoked after the backup. Raises InvalidInput when the database is
    not empty, or the file is damaged; SchemaMismatch when it is of a newer program.
    """
    manifest = read_manifest(file)
    if manifest.schema_version > schema.newest():
        raise SchemaMismatch(
            f"the backup is of version {manifest.program}: restore it with that version or a later one"
        )
    with database.transaction(timeout_secs=None) as tx, zipfile.ZipFile(file) as archive:
        if not _one(tx, "is_empty")["is_empty"]:
            raise InvalidInput("the database is not empty: restore into a new one, and set DATABASE_URL to it")
        schema.create(tx, manifest.schema_version)
        # They note changes and refuse some: these rows are not changes.
        _for_each(tx, "disable_triggers", manifest)
        # The rows that migrations insert.
        _for_each(tx, "clear", manifest)
        for table in manifest.tables:
            _load(tx, archive, table, progress)
        _for_each(tx, "enable_triggers", manifest)
        for row in tx.execute(_SQL["sequences"]).fetchall():
            names = {"table": sql.Identifier(row["name"]), "column": sql.Identifier(row["column"])}
            tx.execute(sql.SQL(_SQL["go_on_after"]).format(**names), {"sequence": row["sequence"]})
        ended = tx.execute(_SQL["revoke_logins"]).rowcount
        details = {"created_at": manifest.created_at.isoformat(), "program": manifest.program, "logins_ended": ended}
        audit.append(tx, audit.SYSTEM, "backup.restored", "database", **details)
    return manifest


def _for_each(tx: Transaction, query: str, manifest: Manifest) -> None:
    # In the opposite order: rows go before those that they refer to.
    for table in reversed(manifest.tables):
        tx.execute(sql.SQL(_SQL[query]).format(table=sql.Identifier(table.name)))


def _load(tx: Transaction, archive: zipfile.ZipFile, table: Table, progress: Progress) -> None:
    digest, done = hashlib.sha256(), 0
    try:
        with (
            archive.open(f"{table.name}.copy") as member,
            tx.cursor() as cursor,
            cursor.copy(_statement("copy_in", table.name, table.columns)) as rows,
        ):
            for block in _blocks(member):
                digest.update(block)
                rows.write(block)
                done += len(block)
                progress(table.name, done)
    except (*_DAMAGES, DataError) as error:
        raise InvalidInput(f"the backup is damaged: {table.name}: {error}") from error
    if digest.hexdigest() != table.sha256:
        raise InvalidInput(f"the backup is damaged: the rows of {table.name} are not those that were written")


def _blocks(member: Any) -> Iterator[bytes]:
    while block := member.read(_BLOCK_BYTES):
        yield block


def _statement(query: str, table: str, columns: Sequence[str]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL(_SQL[query]).format(table=sql.Identifier(table), columns=names)


def _one(tx: Transaction, query: str) -> dict[str, Any]:
    row = tx.execute(_SQL[query]).fetchone()
    assert row is not None
    return row
