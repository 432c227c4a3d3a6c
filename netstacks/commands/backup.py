"""`netstacks backup`, `restore` and `rehearse-restore`: copies of the database, and the proof that one can be used."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from netstacks import settings
from netstacks.commands import database, recordings, rehearsal_start
from netstacks.commands.printing import mib
from netstacks.errors import InvalidInput, NetstacksError, StoreUnavailable, VaultLocked
from netstacks.store import audit_verify, backups, rehearsals, schema
from netstacks.store.backups import Manifest
from netstacks.store.pool import Database
from netstacks.store.rehearsals import Proof
from netstacks.store.vault import Vault

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
def backup_command(file: Path) -> None:
    """Writes all data, as of one moment, to FILE, or to standard output if it is `-`. Instances may run meanwhile.

    FILE contains recordings in clear text, and the secrets of the vault sealed with VAULT_MASTER_KEY: keep it private,
    and keep the key elsewhere.
    """
    is_stdout = str(file) == "-"
    with database.opened() as opened:
        manifest = _to_stdout(opened) if is_stdout else backups.write(opened, file, _show)
    _hide()
    words = f"{_size(manifest)} in {len(manifest.tables)} tables, schema version {manifest.schema_version}"
    click.echo(f"{file}: {words}", err=is_stdout)


def _to_stdout(opened: Database) -> Manifest:
    try:
        manifest = backups.write_to(sys.stdout.buffer, opened, _show)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise InvalidInput(f"standard output cannot be written: {error.strerror}") from error
    return manifest


@click.command("restore")
@click.argument("file", type=_FILE)
def restore_command(file: Path) -> None:
    """Fills the empty database DATABASE_URL from FILE. Start instances afterwards: Valkey may be empty.

    Every user has to log in again. Changes that were made after the backup are lost, withdrawn access among them.
    """
    with database.unchecked(settings.load(os.environ).database_url) as opened:
        manifest = backups.restore(opened, file, _show)
        _hide()
        click.echo(
            f"restored {_size(manifest)} as of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC; all log-ins were ended"
        )
        _warn_of_other_key(opened, manifest)


@click.command("rehearse-restore")
@click.argument("file", type=_FILE)
@click.option(
    "--server",
    metavar="URL",
    required=True,
    help="A PostgreSQL server, best a throw-away one: a database is created on it, and dropped at the end.",
)
def rehearse_command(file: Path, server: str) -> None:
    """Proves that FILE can be restored: restores it into a database of its own, and verifies that one.

    The schema is migrated, each recording's and the audit log's hash chain is verified, every secret is opened with
    VAULT_MASTER_KEY, and an instance starts on the database and is healthy. HA status of the database DATABASE_URL
    shows the time of the last proof. Exit code 1: it failed.
    """
    try:
        with _throw_away(server) as url:
            with database.unchecked(url) as restored:
                proof = _prove(restored, backups.restore(restored, file, _show))
                with restored.transaction() as tx:
                    rehearsals.isolate(tx)
            proof.start_secs = round(rehearsal_start.start(url), 1)
    except (StoreUnavailable, VaultLocked):
        _hide()
        raise  # It refutes nothing: the server of the rehearsal failed, or VAULT_MASTER_KEY is another one.
    except NetstacksError as error:
        _hide()
        with database.opened() as opened, opened.transaction() as tx:
            rehearsals.note_failure(tx, str(error))
        raise
    with database.opened() as opened, opened.transaction() as tx:
        rehearsals.note(tx, proof)
    click.echo(
        f"proven: {proof.recordings} recordings, {proof.audit_rows} audit rows, {proof.secrets} secrets; an instance"
        f" on them was healthy after {proof.start_secs} s"
    )


def _prove(restored: Database, manifest: Manifest) -> Proof:
    """Raises NetstacksError that says what is wrong."""
    _hide()
    schema.migrate(restored)
    loaded = settings.load(os.environ)
    sealed = Vault(restored, loaded.vault_master_key, loaded.vault_master_key_previous).open_all()
    count, broken = recordings.verify_all(restored)
    if broken:
        raise InvalidInput(f"{len(broken)} of {count} recordings are broken, {broken[0]} among them")
    verdict = audit_verify.verify(restored)
    if verdict.problem:
        raise InvalidInput(f"the audit log is broken: {verdict.problem.text}")
    return Proof(
        proven_at=datetime.now(UTC),
        backup_created_at=manifest.created_at,
        recordings=count,
        audit_rows=verdict.rows,
        secrets=sealed,
    )


@contextmanager
def _throw_away(server: str) -> Iterator[str]:
    """The URL of a database that exists during the block."""
    name = f"netstacks_rehearsal_{secrets.token_hex(4)}"
    try:
        _execute(server, "CREATE DATABASE {}", name)
    except psycopg.Error as error:
        raise StoreUnavailable(f"no database can be created on the server of --server: {error}") from error
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        try:
            _execute(server, "DROP DATABASE {} WITH (FORCE)", name)
        except psycopg.Error as error:
            click.echo(f"warning: the database {name} on the server of --server was not dropped: {error}", err=True)


def _execute(server: str, statement: LiteralString, name: str) -> None:
    with psycopg.connect(server, autocommit=True, connect_timeout=10) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def _warn_of_other_key(opened: Database, manifest: Manifest) -> None:
    loaded = settings.load(os.environ)
    held = Vault(opened, loaded.vault_master_key, loaded.vault_master_key_previous).key_ids
    if manifest.vault_keys and not set(manifest.vault_keys) & set(held):
        click.echo(
            f"warning: its secrets are sealed with the vault key {manifest.vault_keys[0]}; VAULT_MASTER_KEY is another"
            " one, and opens none of them",
            err=True,
        )


def _size(manifest: Manifest) -> str:
    return mib(sum(table.size_bytes for table in manifest.tables))


def _show(table: str, done: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{table} {mib(done)}", nl=False, err=True)


def _hide() -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
