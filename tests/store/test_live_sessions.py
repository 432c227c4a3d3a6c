"""The pages of live sessions, and how much PostgreSQL reads for one."""

from uuid import UUID

import psycopg

from netstacks.store import live_sessions, sessions
from netstacks.store.pool import Database, Transaction
from tests.plans import readings
from tests.rows import make_session

# Every 20th of 20,000 sessions is live, and every tenth of those at ctrl-0.
_LOAD = """
INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, owner, epoch, state,
                      reconnect_hash, started_at)
SELECT gen_random_uuid(), gen_random_uuid(), 'ana', 'r1', '192.0.2.1', 22, 'xterm', 80, 24, 'ctrl-' || (i / 20) % 10, 1,
       CASE WHEN i % 20 = 0 THEN 'active' ELSE 'ended' END, decode(lpad(to_hex(i), 16, '0'), 'hex'),
       now() - i * interval '1 minute'
FROM generate_series(1, 20000) i
"""


def ids(tx: Transaction, owner: str | None = None, *, limit: int = 50) -> list[UUID]:
    return [each.id for each in live_sessions.page(tx, owner=owner, before=None, limit=limit)]


def test_pages_have_live_sessions_of_one_owner_or_of_all(database: Database) -> None:
    first, second, ended = (make_session(database, owner=owner) for owner in ("ctrl-a", "ctrl-b", "ctrl-a"))
    waiting = make_session(database)
    with database.transaction() as tx:
        sessions.end(tx, ended, 1, "its user logged out")
        sessions.release(tx, waiting, 1)
    with database.transaction() as tx:
        assert ids(tx) == [waiting, second, first]
        assert ids(tx, "ctrl-a") == [first]
        [newest] = live_sessions.page(tx, owner=None, before=None, limit=1)
        assert (newest.id, newest.owner, newest.state) == (waiting, None, "detached")
        rest = live_sessions.page(tx, owner=None, before=newest.started_at, limit=50)
    assert [each.id for each in rest] == [second, first]


def test_a_page_reads_what_it_shows(database: Database, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_LOAD.encode())
        connection.execute("VACUUM ANALYZE sessions")
    for reading in readings(database_url, ids):
        assert reading.rows <= 60, reading.plan
    # No index has both the owner and the order: at most the live sessions are read, and no ended one.
    for reading in readings(database_url, lambda tx: ids(tx, "ctrl-3")):
        assert reading.rows <= 1000, reading.plan
