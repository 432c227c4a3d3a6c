"""A disk with no room for the spool: what is lost is told, and what could be kept is kept."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog.testing

from netstacks.recording.spool import Spool
from netstacks.store.pool import Database
from tests.rows import make_session
from tests.store.test_spool import leftover, stored

ROOM_BYTES = 100


@contextmanager
def a_full_disk() -> Iterator[None]:
    """No file grows beyond ROOM_BYTES."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_loss_on_a_full_disk_is_told_with_its_session_and_size(database: Database, tmp_path: Path) -> None:
    lost, kept = make_session(database), make_session(database)
    spool = Spool(tmp_path)
    spool.prepare()
    with structlog.testing.capture_logs() as logged:
        with a_full_disk():
            spool.keep([leftover(lost)])
        spool.keep([leftover(kept)])
    (told,) = [each for each in logged if each["event"] == "spool.lost"]
    assert (told["session_id"], told["bytes"]) == (str(lost), len(b"\x00\xff late"))
    assert spool.restore(database)
    assert stored(database, lost) == []
    assert len(stored(database, kept)) > 0
