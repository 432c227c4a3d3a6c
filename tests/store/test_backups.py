"""The file of a backup is readable by its owner only, and no other user can prepare it."""

import os
from pathlib import Path

import pytest

from netstacks.errors import InvalidInput, StoreUnavailable
from netstacks.store import backups
from netstacks.store.pool import Database


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
