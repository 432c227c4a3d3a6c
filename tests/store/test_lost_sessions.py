"""What has become of the sessions of a lost instance, as their rows tell."""

import uuid
from uuid import UUID

from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.store.sessions import LostCounts
from tests.rows import make_session

LOST, OTHER = "ctrl-1", "ctrl-2"


def claim(database: Database, session_id: UUID, by: str = OTHER) -> None:
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
        assert row is not None
        assert sessions.claim(tx, row, owner=by, owner_address=None) is not None


def release(database: Database, session_id: UUID, epoch: int) -> None:
    with database.transaction() as tx:
        assert sessions.release(tx, session_id, epoch) is not None


def end(database: Database, session_id: UUID, epoch: int, *, orphan: bool = False) -> None:
    with database.transaction() as tx:
        end = sessions.end_orphan if orphan else sessions.end
        row = end(tx, session_id, epoch, "gone")
        assert row is not None
        assert (row.owner, row.state, row.epoch, row.end_reason) == (None, "ended", epoch + 1, "gone")


def counts(database: Database, *ids: str) -> list[LostCounts]:
    with database.transaction() as tx:
        return list(sessions.counts_of_lost(tx, ids).values())


def test_each_session_of_a_lost_instance_is_counted_once(database: Database) -> None:
    taken, waiting, ended, ended_later, failed = (make_session(database, owner=LOST) for _ in range(5))
    make_session(database, owner=OTHER)
    assert counts(database, LOST) == [LostCounts(waiting=5)]
    claim(database, taken)
    end(database, ended, 1, orphan=True)
    claim(database, ended_later)
    end(database, ended_later, 2)
    # The log-in to its device failed at the new owner.
    claim(database, failed)
    release(database, failed, 2)
    assert counts(database, LOST) == [LostCounts(taken_over=1, waiting=2, ended=2)]
    claim(database, waiting, "ctrl-3")
    claim(database, failed, "ctrl-3")
    assert counts(database, LOST) == [LostCounts(taken_over=3, waiting=0, ended=2)]


def test_a_session_that_loses_its_next_owner_as_well_is_counted_for_that_one(database: Database) -> None:
    session_id = make_session(database, owner=LOST)
    claim(database, session_id)
    assert counts(database, OTHER, LOST) == [LostCounts(waiting=1), LostCounts(taken_over=1)]
    claim(database, session_id, "ctrl-3")
    assert counts(database, OTHER, LOST) == [LostCounts(taken_over=1), LostCounts()]


def test_sessions_that_were_handed_over_or_ended_by_their_owner_are_not_lost(database: Database) -> None:
    handed_over, ended = (make_session(database, owner=LOST) for _ in range(2))
    release(database, handed_over, 1)
    claim(database, handed_over)
    end(database, ended, 1)
    assert counts(database, LOST, "unknown") == [LostCounts(), LostCounts()]
    assert counts(database) == []


def test_live_sessions_without_a_registered_owner_are_counted(database: Database) -> None:
    make_session(database, owner=OTHER)
    lost, released, ended = (make_session(database, owner=LOST) for _ in range(3))
    release(database, released, 1)
    end(database, ended, 1)
    with database.transaction() as tx:
        assert sessions.unowned(tx, [LOST, OTHER]) == 1
        assert sessions.unowned(tx, [OTHER]) == 2
        assert sessions.unowned(tx, []) == 3
    claim(database, lost)
    with database.transaction() as tx:
        assert sessions.unowned(tx, [OTHER]) == 1


def test_the_counts_of_a_lost_instance_read_only_its_own_sessions(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, owner, epoch,"
            " state, reconnect_hash, lost_owner) SELECT gen_random_uuid(), %(user)s, 'ana', 'r1', '192.0.2.1', 22,"
            " 'xterm', 80, 24, 'ctrl-' || n %% 500, 1, 'active', decode(md5(n::text), 'hex'), 'gone-' || n %% 500"
            " FROM generate_series(1, 20000) AS n",
            {"user": uuid.uuid4()},
        )
    with database.transaction() as tx:
        tx.execute("ANALYZE sessions")
        statement = sessions._SQL["counts_of_lost"]
        plan = tx.execute("EXPLAIN " + statement, {"ids": ["gone-1", "ctrl-1"]}).fetchall()
    text = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "Seq Scan" not in text
    assert counts(database, "gone-1", "ctrl-1") == [LostCounts(taken_over=40), LostCounts(waiting=40)]
