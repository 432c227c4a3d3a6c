"""What PostgreSQL has confirmed lately is stored again on a server that lacks it."""

import time
from collections.abc import Iterator
from uuid import UUID

import pytest

from netstacks.recording import recent_batches as module
from netstacks.recording import storage
from netstacks.recording.chunks import Event, EventKind, make_chunk, verify
from netstacks.recording.recent_batches import RecentBatches
from netstacks.recording.storage import Batch
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from tests.postgres import Postgres
from tests.rows import make_session
from tests.waits import until


@pytest.fixture
def own_database(own_postgres: Postgres) -> Iterator[Database]:
    database = Database(own_postgres.create_database())
    database.open()
    migrate(database)
    yield database
    database.close()


def make_batches(session_id: UUID, count: int) -> list[Batch]:
    """Batches of one chunk with ten bytes of output each, all of which the client has acknowledged."""
    batches, sha256 = [], b""
    for seq in range(count):
        event = Event(time.time(), EventKind.OUTPUT, b"0123456789")
        chunk = make_chunk(sha256, session_id, 1, seq, 10 * seq, [event])
        batches.append(Batch(session_id, 1, chunk.end_offset, [chunk], 10 * (seq + 1)))
        sha256 = chunk.sha256
    return batches


def confirmed(database: Database, batches: list[Batch]) -> RecentBatches:
    recent = RecentBatches()
    assert recent.store_again(database) == 0
    for batch in batches:
        recent.add(batch)
    return recent


def restart(server: Postgres, database: Database) -> None:
    """What has another start counts as another server."""
    server.stop()
    server.start()
    until(database.ping, "a new connection")


def test_another_server_gets_what_it_lacks_in_transactions_of_a_limited_size(
    own_postgres: Postgres, own_database: Database
) -> None:
    session_id = make_session(own_database)
    batches = make_batches(session_id, 2 * module._STEP + 1)
    # The standby has received the first of them.
    with own_database.transaction() as tx:
        assert storage.save(tx, batches[:1]) == []
    recent = confirmed(own_database, batches)
    restart(own_postgres, own_database)
    assert recent.store_again(own_database) == len(batches) - 1
    assert recent.store_again(own_database) == 0
    assert verify(storage.chunks(own_database, session_id)) is None
    with own_database.transaction() as tx:
        rows = tx.execute("SELECT count(*) AS chunks FROM recording_chunks GROUP BY xmin::text").fetchall()
        assert max(row["chunks"] for row in rows) <= module._STEP


def test_another_server_gets_the_acknowledged_offset_and_the_size_of_the_recording(
    own_postgres: Postgres, own_database: Database
) -> None:
    session_id = make_session(own_database)
    (with_output,) = make_batches(session_id, 1)
    recent = confirmed(
        own_database, [Batch(session_id, 1, 4, with_output.chunks, 10), Batch(session_id, 1, 10, [], 10)]
    )
    restart(own_postgres, own_database)
    assert recent.store_again(own_database) == 1
    with own_database.transaction() as tx:
        row = sessions.find(tx, session_id)
        (recording,) = storage.list_page(tx, session_id=session_id)
    assert row is not None
    assert (row.acked_offset, recording["bytes"]) == (10, 10)


def test_an_acknowledged_offset_does_not_go_back(own_postgres: Postgres, own_database: Database) -> None:
    session_id = make_session(own_database)
    batches = make_batches(session_id, 2)
    recent = confirmed(own_database, batches[:1])
    with own_database.transaction() as tx:
        assert storage.save(tx, batches) == []
    restart(own_postgres, own_database)
    recent.store_again(own_database)
    with own_database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    assert row.acked_offset == 20


def test_small_chunks_count_with_the_memory_of_their_objects(
    own_postgres: Postgres, own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_BYTES", 100_000)
    recent = confirmed(own_database, make_batches(make_session(own_database), 200))
    restart(own_postgres, own_database)
    assert 0 < recent.store_again(own_database) <= 100
