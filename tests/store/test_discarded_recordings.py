"""Removing recordings: gone for all readers at once, and from the disk in bounded steps."""

from uuid import UUID

import pytest

from netstacks.recording import storage
from netstacks.recording.storage import Batch
from netstacks.store import audit
from netstacks.store.pool import Database
from tests.rows import make_session
from tests.store.test_recordings import chain, count, end, said, save, stored


def discarded(database: Database, *outputs: bytes) -> UUID:
    session_id = make_session(database)
    save(database, Batch(session_id, 1, 0, chain(session_id, *outputs)))
    end(database, session_id)
    with database.transaction() as tx:
        storage.discard(tx, [session_id])
    return session_id


def sweep(database: Database) -> bool:
    with database.transaction() as tx:
        return storage.sweep(tx)


def test_a_discarded_recording_is_gone_for_all_readers_at_once(database: Database) -> None:
    session_id = discarded(database, b"R1#", b"bye")
    assert said(database, session_id) == (0, None, None)
    assert stored(database, session_id) == []
    with database.transaction() as tx:
        assert storage.ids(tx) == []
        (row,) = storage.list_page(tx, session_id=session_id)
    assert (row["bytes"], row["began_at"], row["last_at"]) == (0, None, None)
    assert count(database, session_id) == 2


def test_a_live_recording_cannot_be_discarded(database: Database) -> None:
    session_id = make_session(database)
    save(database, Batch(session_id, 1, 0, chain(session_id, b"R1#")))
    with database.transaction() as tx:
        storage.discard(tx, [session_id])
    assert not sweep(database)
    assert said(database, session_id)[0] == 3


def test_chunks_are_removed_in_bounded_steps_and_nothing_else_is(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SWEEP_CHUNKS", 2)
    gone = discarded(database, *[b"x"] * 5)
    kept = make_session(database)
    save(database, Batch(kept, 1, 0, chain(kept, *[b"x"] * 5)))
    left = []
    while sweep(database):
        left.append(count(database, gone))
    assert left == [3, 1, 0]
    assert len(stored(database, kept)) == 5


def test_a_step_takes_fewer_of_large_chunks_and_at_least_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SWEEP_BYTES", 1000)
    gone = discarded(database, bytes(400), bytes(400), bytes(400), bytes(4000), bytes(400))
    left = []
    while sweep(database):
        left.append(count(database, gone))
    assert left == [2, 1, 0]


def test_one_step_removes_many_small_recordings(database: Database) -> None:
    gone = [discarded(database, b"R1#") for _ in range(20)]
    assert sweep(database)
    assert [count(database, each) for each in gone] == [0] * 20
    assert not sweep(database)


def test_two_sweeps_do_not_wait_for_each_other(database: Database) -> None:
    gone = discarded(database, b"R1#")
    with database.transaction() as tx:
        assert storage.sweep(tx)
        assert not sweep(database)
    assert count(database, gone) == 0


def test_late_chunks_of_a_discarded_recording_are_removed_with_it(database: Database) -> None:
    gone = discarded(database, b"R1#")
    with database.transaction() as tx:
        storage.append_note(tx, gone, 1, "3 bytes are missing")
    assert sweep(database)
    assert (said(database, gone), count(database, gone)) == ((0, None, None), 0)


def test_pruning_is_audited_once_for_each_recording_however_many_steps_follow(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SWEEP_CHUNKS", 1)
    old = make_session(database)
    save(database, Batch(old, 1, 0, chain(old, b"R1#", b"bye")))
    end(database, old)
    with database.transaction() as tx:
        tx.execute("UPDATE sessions SET ended_at = now() - interval '31 days'")
        assert storage.prune(tx, 30) == 1
    while sweep(database):
        with database.transaction() as tx:
            assert storage.prune(tx, 30) == 0
    with database.transaction() as tx:
        (row,) = audit.list_page(tx, event="recording.pruned")
    assert (row["resource"], row["details"]) == (f"session:{old}", {"bytes": 6, "retention_days": 30})
