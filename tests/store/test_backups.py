"""The file of a backup: readable by its owner only, prepared by no other user, and refused when it is damaged."""

import hashlib
import os
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netstacks.errors import InvalidInput, StoreUnavailable
from netstacks.store import backups
from netstacks.store.pool import Database
from tests.postgres import Postgres


def write(database: Database, file: Path) -> backups.Manifest:
    return backups.write(database, file, lambda *_: None)


def test_a_backup_is_readable_by_its_owner_only(database: Database, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        written = write(database, tmp_path / "backup.zip")
    finally:
        os.umask(umask)
    assert backups.read_manifest(tmp_path / "backup.zip") == written
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_that_another_process_has_made_is_neither_written_nor_removed(
    database: Database, tmp_path: Path, kind: str
) -> None:
    part, target = tmp_path / "backup.zip.part", tmp_path / "target"
    if kind == "file":
        part.touch(mode=0o666)
    else:
        part.symlink_to(target)
    with pytest.raises(InvalidInput, match=r"backup\.zip\.part exists"):
        write(database, tmp_path / "backup.zip")
    assert list(tmp_path.iterdir()) == [part]
    assert part.is_symlink() or part.stat().st_size == 0


def test_a_backup_that_fails_leaves_no_file(tmp_path: Path) -> None:
    away = Database("postgresql://postgres@127.0.0.1:1/none")
    away.open()
    with pytest.raises(StoreUnavailable):
        write(away, tmp_path / "backup.zip")
    away.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none/backup\.zip cannot be written: No such file"):
        write(database, tmp_path / "none" / "backup.zip")


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[Database]:
    """A database without a schema."""
    database = Database(postgres.create_database())
    database.open()
    yield database
    database.close()


def _entry(file: Path, name: str) -> tuple[int, int]:
    """Where the data of a member begins and ends."""
    with zipfile.ZipFile(file) as archive:
        found = archive.getinfo(name)
    # Its own header has 30 bytes, the name, and further fields.
    name_size, fields_size = struct.unpack_from("<HH", file.read_bytes(), found.header_offset + 26)
    begin = found.header_offset + 30 + name_size + fields_size
    return begin, begin + found.compress_size


def _in_the_directory(file: Path, name: str, offset: int) -> int:
    """The position of a field of a member's entry in the directory at the end of the file."""
    content = file.read_bytes()
    return content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode())) + offset


# The byte that is changed in a good file, and its new value.
DAMAGES: dict[str, Callable[[Path], tuple[int, int]]] = {
    # A first byte of 0xff names a way of compression that does not exist.
    "compressed rows": lambda file: (_entry(file, "roles.copy")[0], 0xFF),
    "compressed rows, later": lambda file: (sum(_entry(file, "roles.copy")) // 2, 0),
    "plain rows": lambda file: (_entry(file, "recording_chunks.copy")[0] + 3, 0xFF),
    # bz2 raises an OSError.
    "a method of compression that is another one, of the manifest": lambda file: (
        _in_the_directory(file, "manifest.json", 10),
        12,
    ),
    "the manifest": lambda file: (_entry(file, "manifest.json")[0] + 20, 0xFF),
    "a method of compression that is unknown": lambda file: (_in_the_directory(file, "users.copy", 10), 99),
    "a method of compression that is another one": lambda file: (_in_the_directory(file, "users.copy", 10), 14),
    "a mark of encryption": lambda file: (_in_the_directory(file, "users.copy", 8), 1),
    "a version of the format": lambda file: (_in_the_directory(file, "users.copy", 6), 200),
    "a version of the format, of the manifest": lambda file: (_in_the_directory(file, "manifest.json", 6), 200),
    "the name of a table": lambda file: (_in_the_directory(file, "users.copy", 46), ord("x")),
    "the end of the file": lambda file: (file.stat().st_size - 22, 0),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_a_sentence_and_restores_nothing(
    database: Database, empty: Database, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "backup.zip"
    write(database, file)
    position, value = DAMAGES[damage](file)
    content = bytearray(file.read_bytes())
    assert content[position] != value
    content[position] = value
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"the backup is damaged|is not a complete backup|cannot be read: [^N]"):
        backups.restore(empty, file, lambda *_: None)
    with empty.transaction() as tx:
        assert tx.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'").fetchall() == []


def test_rows_that_postgresql_refuses_are_a_damaged_backup(database: Database, empty: Database, tmp_path: Path) -> None:
    """With sums that are right: a file that another program has written."""
    file = tmp_path / "backup.zip"
    manifest = write(database, file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["users.copy"] = b"no rows"
    table = next(each for each in manifest.tables if each.name == "users")
    table.sha256 = hashlib.sha256(b"no rows").hexdigest()
    members["manifest.json"] = manifest.model_dump_json().encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InvalidInput, match="the backup is damaged: users"):
        backups.restore(empty, file, lambda *_: None)


def test_a_backup_that_does_not_fit_leaves_no_file(database: Database, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(InvalidInput, match=r"backup\.zip cannot be written: File too large"):
            write(database, tmp_path / "backup.zip")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
