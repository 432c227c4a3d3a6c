"""The spool against a real PostgreSQL: stored once, in its place, or kept and told."""

import hashlib
import json
import uuid
from pathlib import Path
from uuid import UUID

import pytest

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.recording import storage
from netstacks.recording.chunks import Chunk, Event, EventKind, make_chunk, verify
from netstacks.recording.closing import Closing
from netstacks.recording.spool import Leftover, Spool
from netstacks.recording.storage import Batch
from netstacks.store import audit, sessions
from netstacks.store.pool import Database
from tests.rows import make_session

RELEASED = Closing(False, "the controller is restarting", uuid.uuid4(), "ana", "r1")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return other_spool(tmp_path)


def other_spool(folder: Path) -> Spool:
    spool = Spool(folder)
    spool.prepare()
    return spool


def leftover(session_id: UUID) -> Leftover:
    chunk = make_chunk(b"", session_id, 1, 0, 0, [Event(1000.0, EventKind.OUTPUT, b"\x00\xff late")])
    return Leftover(Batch(session_id, 1, 3, [chunk]), RELEASED)


def stored(database: Database, session_id: UUID) -> list[Chunk]:
    return list(storage.chunks(database, session_id))


def notes(chunks: list[Chunk]) -> str:
    events = [event for chunk in chunks for event in chunk.unpacked()]
    return "\n".join(event.payload.decode() for event in events if event.kind is EventKind.NOTE)


def refusals(database: Database) -> int:
    with database.transaction() as tx:
        return len(audit.list_page(tx, event="recording.refused"))


def test_spooled_chunks_are_stored_and_their_session_released(database: Database, spool: Spool) -> None:
    session_id = make_session(database)
    spool.keep([leftover(session_id)])
    assert spool.restore(database)
    chunks = stored(database, session_id)
    assert b"".join(chunk.output() for chunk in chunks) == b"\x00\xff late"
    assert verify(chunks) is None
    assert "stored late" in notes(chunks)
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    assert (row.owner, row.epoch, row.state, row.acked_offset) == (None, 2, "detached", 3)
    assert not spool.restore(database)


def test_only_the_session_that_is_asked_for_is_stored(database: Database, spool: Spool) -> None:
    wanted, other = make_session(database), make_session(database)
    spool.keep([leftover(wanted), leftover(other)])
    assert spool.restore(database, wanted)
    assert stored(database, wanted)
    assert not stored(database, other)


def test_two_starters_store_it_once_and_refuse_nothing(database: Database, spool: Spool, tmp_path: Path) -> None:
    session_ids = [make_session(database) for _ in range(5)]
    spool.keep([leftover(session_id) for session_id in session_ids])
    starters = [greenlets.spawn("starter", each.restore, database) for each in (spool, other_spool(tmp_path))]
    greenlets.joinall(starters, raise_error=True)
    assert [len(stored(database, session_id)) for session_id in session_ids] == [2] * 5
    assert refusals(database) == 0


def test_a_batch_whose_commit_was_not_seen_is_not_refused(database: Database, spool: Spool) -> None:
    session_id = make_session(database)
    kept = leftover(session_id)
    with database.transaction() as tx:
        storage.save(tx, [kept.batch])
        sessions.release(tx, session_id, 1)
    spool.keep([kept])
    assert spool.restore(database)
    assert (len(stored(database, session_id)), refusals(database)) == (1, 0)


def test_a_session_that_moved_on_refuses_it(database: Database, spool: Spool, tmp_path: Path) -> None:
    session_id = make_session(database)
    spool.keep([leftover(session_id)])
    with database.transaction() as tx:
        sessions.release(tx, session_id, 1)
    spool.restore(database)
    assert not stored(database, session_id)
    assert [path.name for path in tmp_path.glob("refused/*")] == [f"{session_id}.1.spool"]
    assert refusals(database) == 1


def test_a_recording_that_ended_without_it_says_so(database: Database, spool: Spool) -> None:
    session_id = make_session(database)
    spool.keep([leftover(session_id)])
    with database.transaction() as tx:
        sessions.end(tx, session_id, 1, "lost")
    spool.restore(database)
    assert "7 bytes of epoch 1 are missing" in notes(stored(database, session_id))
    assert verify(stored(database, session_id)) is None


def test_a_damaged_file_is_set_aside(database: Database, spool: Spool, tmp_path: Path) -> None:
    session_id = make_session(database)
    spool.keep([leftover(session_id)])
    (path,) = tmp_path.glob("*.spool")
    path.write_bytes(path.read_bytes().replace(b'"epoch":1', b'"epoch":2'))
    spool.restore(database)
    assert [each.name for each in tmp_path.glob("refused/*")] == [path.name]
    assert not stored(database, session_id)


def test_a_file_that_cannot_be_read_does_not_keep_the_others_waiting(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    session_id = make_session(database)
    (tmp_path / "0.1.spool").mkdir()
    spool.keep([leftover(session_id)])
    assert spool.restore(database)
    assert stored(database, session_id)
    assert not spool.restore(database)


@pytest.mark.usefixtures("product_limits")
def test_without_a_database_it_stays_where_it_is(spool: Spool, tmp_path: Path) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/x")
    away.open()
    spool.keep([leftover(uuid.uuid4())])
    with pytest.raises(StoreUnavailable):
        spool.restore(away)
    away.close()
    assert len(list(tmp_path.glob("*.spool"))) == 1


def test_a_file_of_the_former_version_which_counts_no_quota_is_stored(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    session_id = make_session(database)
    spool.keep([leftover(session_id)])
    (path,) = tmp_path.glob("*.spool")
    content = json.loads(path.read_bytes().partition(b"\n")[2])
    del content[0]["batch"]["recorded_bytes"]
    body = json.dumps(content).encode()
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert spool.restore(database)
    assert stored(database, session_id)[0].output() == b"\x00\xff late"
