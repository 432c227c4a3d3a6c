"""No list reads more than it shows, as a real server explains it that has 200,000 sessions and 5 million audit rows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest

from netstacks.permissions import EVERYWHERE, Reach
from netstacks.recording import storage
from netstacks.store import (
    audit,
    audit_partitions,
    credentials,
    definitions,
    devices,
    folders,
    logins,
    session_lists,
    shares,
    user_lists,
    users,
)
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from netstacks.store.sight import Sight
from tests.plans import Call, readings
from tests.postgres import Postgres

# Loading takes most of a minute.
pytestmark = pytest.mark.timeout(400)

SESSIONS = 200_000
LIVE = 2_000
AUDIT_ROWS = 5_000_000
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
# One session every two minutes, one audit row every five seconds.
HALF_WAY = BEGAN + timedelta(minutes=2) * (SESSIONS // 2)
LONG_AGO, LATER = BEGAN - timedelta(days=365), BEGAN + timedelta(days=3650)

NOBODY = UUID(int=0)
BUSY, IDLE = UUID(int=1), UUID(int=2)

_OPTIONS = {
    "autovacuum": "off",
    "full_page_writes": "off",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "512MB",
    "synchronous_commit": "off",
    "shared_buffers": "512MB",
}

# Every tenth session is BUSY's; IDLE has two old ones. The newest thousand are live, and as many of BUSY's, spread over
# all times. What ended before the last weeks has no recording any more.
_LOAD_SESSIONS = f"""
INSERT INTO sessions (id, user_id, username, device_id, device_name, host, port, term, cols, rows, owner, epoch, state,
                      reconnect_hash, started_at, ended_at, recording_bytes, recording_began_at)
SELECT ('00000000-0000-0000-0001-' || lpad(to_hex(i), 12, '0'))::uuid,
       CASE WHEN i % 10 = 5 THEN '{BUSY}'::uuid WHEN i IN (1000, 1001) THEN '{IDLE}'::uuid
            ELSE ('00000000-0000-0000-0002-' || lpad(to_hex(i % 500), 12, '0'))::uuid END,
       CASE WHEN i % 10 = 5 THEN 'busy' ELSE 'User-' || i % 500 END,
       NULL, 'core-' || i % 3000, '10.0.' || i % 3000 / 250 || '.' || i % 250, 22, 'xterm', 80, 24,
       CASE WHEN is_live THEN 'ctrl-1' END, 1, CASE WHEN is_live THEN 'active' ELSE 'ended' END,
       decode(lpad(to_hex(i), 16, '0'), 'hex'), at, CASE WHEN NOT is_live THEN at + interval '1 minute' END,
       CASE WHEN i > 190000 THEN 1000 ELSE 0 END, CASE WHEN i > 190000 THEN extract(epoch FROM at) END
FROM (
    SELECT i, '{BEGAN}'::timestamptz + i * interval '2 minutes' AS at, i % 200 = 15 OR i > {SESSIONS} - 1000 AS is_live
    FROM generate_series(1, {SESSIONS}) i
) AS series
"""
# 40 events in ten families; the system, a robot and 400 users; resources with many rows and with few. A fifth each of
# the rows are of the robot, and of the event 'e0.0': it never did that.
_LOAD_AUDIT = f"""
INSERT INTO audit (id, at, actor, event, resource)
SELECT i, '{BEGAN}'::timestamptz + i * interval '5 seconds',
       CASE i % 10 WHEN 0 THEN 'system' WHEN 5 THEN 'robot' WHEN 6 THEN 'robot' ELSE 'user-' || i % 400 END,
       CASE WHEN i % 10 < 2 THEN 'e0.0' WHEN i IN (7, 17) THEN 'rare.event'
            ELSE 'e' || i % 7 || '.' || 1 + i % 4 END,
       CASE WHEN i % 10 IN (1, 5) THEN 'user:busy' ELSE 'session:' || i / 8 END
FROM generate_series(1, {AUDIT_ROWS}) i
"""
_LOAD_OTHERS = """
INSERT INTO users (id, username, role, password_hash)
SELECT ('00000000-0000-0000-0002-' || lpad(to_hex(i), 12, '0'))::uuid, 'user-' || i, 'operator', ''
FROM generate_series(1, 5000) i;
INSERT INTO devices (id, name, host, port)
SELECT gen_random_uuid(), 'Core-' || i, '10.0.0.1', 22 FROM generate_series(1, 20000) i;
INSERT INTO logins (id, user_id, client_type, expires_at, last_seen_at)
SELECT gen_random_uuid(), u.id, 'terminal', now() + interval '1 day', now() - i * interval '6 hours'
FROM users u CROSS JOIN generate_series(0, 9) i WHERE i > 0 OR u.id < '00000000-0000-0000-0002-000000000015';
INSERT INTO credentials (id, name, credential_type, username, vault_type, owner_id)
SELECT gen_random_uuid(), 'own-' || i, 'ssh_password', 'me', 'personal', u.id
FROM users u CROSS JOIN generate_series(1, 4) i;
INSERT INTO credentials (id, name, credential_type, username, vault_type)
SELECT gen_random_uuid(), 'shared-' || i, 'ssh_password', 'us', 'shared' FROM generate_series(1, 20) i;
INSERT INTO vault_secrets (credential_id, field, key_id, sealed) SELECT id, 'enable_secret', 'k', '' FROM credentials;
INSERT INTO session_definition_folders (id, user_id, name)
SELECT gen_random_uuid(), u.id, 'folder-' || i FROM users u CROSS JOIN generate_series(1, 4) i;
INSERT INTO session_definitions (id, name, host, port)
SELECT gen_random_uuid(), 'd-' || i, '10.0.0.' || i, 22 FROM generate_series(0, 99) i;
INSERT INTO session_definition_assignments (id, user_id, definition_id)
SELECT gen_random_uuid(), u.id, d.id FROM (SELECT id FROM users ORDER BY id LIMIT 500) u
CROSS JOIN (SELECT id FROM session_definitions ORDER BY id LIMIT 20) d;
INSERT INTO shares (id, session_id, permission, max_viewers, created_by, expires_at)
SELECT gen_random_uuid(), id, 'read-only', 5, 'somebody', date_trunc('second', now() + interval '1 day')
FROM sessions WHERE recording_bytes > 0;
"""


@pytest.fixture(scope="module")
def crowded() -> Iterator[str]:
    """The URL of a database that has been in use for a year."""
    server = Postgres(tuple(word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}"))).start()
    url = server.create_database()
    database = Database(url)
    database.open()
    migrate(database)
    database.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_LOAD_SESSIONS.encode())
        connection.execute(_LOAD_OTHERS.encode())
        _load_audit(connection)
        connection.execute("VACUUM ANALYZE")
    yield url
    server.destroy()


def _load_audit(connection: psycopg.Connection[Any]) -> None:
    """Into partitions of a month, as a log that was begun with this version has them; indexes are made afterwards."""
    connection.execute("ALTER TABLE audit DETACH PARTITION audit_first")
    connection.execute("DELETE FROM audit_partitions WHERE name = 'audit_first'")
    for month in range(24):
        since = BEGAN.replace(year=BEGAN.year + month // 12, month=month % 12 + 1)
        until = BEGAN.replace(year=BEGAN.year + (month + 1) // 12, month=(month + 1) % 12 + 1)
        audit_partitions._create(connection, since, until)
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit' AND indexname <> 'audit_pkey'"
    ).fetchall()
    # Not waiting to be sealed: that is not part of these lists.
    connection.execute("ALTER TABLE audit DISABLE TRIGGER audit_waits")
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}".encode())
    connection.execute(_LOAD_AUDIT.encode())
    for _, definition in found:
        connection.execute(definition.encode().replace(b" ON ONLY ", b" ON "))
    connection.execute("SELECT setval(pg_get_serial_sequence('audit', 'id'), max(id)) FROM audit")


def reads_no_more_than(url: str, shown: int, call: Call) -> None:
    """At most twice the shown rows, and the cost of finding them: an index look-up for every kind of event."""
    for reading in readings(url, call):
        told = f"{reading.mode}: {reading.rows} rows, {reading.pages} pages\n{reading.statement}\n{reading.plan}"
        assert reading.rows <= 2 * shown + 200, told
        assert reading.pages <= 6 * shown + 1000, told


@pytest.mark.parametrize("limit", [50, 500])
@pytest.mark.parametrize("before", [None, HALF_WAY, LONG_AGO])
@pytest.mark.parametrize("live", [None, True, False])
@pytest.mark.parametrize("user_id", [None, BUSY, IDLE, NOBODY])
def test_sessions(crowded: str, user_id: UUID | None, live: bool | None, before: datetime | None, limit: int) -> None:
    reads_no_more_than(
        crowded, limit, lambda tx: session_lists.page(tx, user_id=user_id, live=live, before=before, limit=limit)
    )


@pytest.mark.parametrize("before", [None, HALF_WAY])
@pytest.mark.parametrize("live", [None, True, False])
@pytest.mark.parametrize("username", ["busy", "USER-7", "nobody"])
def test_sessions_of_a_user_name(crowded: str, username: str, live: bool | None, before: datetime | None) -> None:
    shown = LIVE if live else 50
    filters = {"username": username, "live": live, "before": before}
    reads_no_more_than(crowded, shown, lambda tx: session_lists.page(tx, **filters, limit=50))


@pytest.mark.parametrize("live", [None, True, False])
@pytest.mark.parametrize("username", [None, "busy", "nobody"])
@pytest.mark.parametrize("owner", ["ctrl-1", "ctrl-2"])
def test_sessions_of_an_owner(crowded: str, owner: str, username: str | None, live: bool | None) -> None:
    filters = {"owner": owner, "username": username, "live": live}
    reads_no_more_than(crowded, LIVE, lambda tx: session_lists.page(tx, **filters, limit=50))


# Sees the sessions on no device, and has none.
STRANGER = Sight(NOBODY, of_others=True, reach=Reach(tags=frozenset(["none"])))


@pytest.mark.parametrize("live", [None, True, False])
@pytest.mark.parametrize("filters", [{"device": "core-7"}, {"device": "none"}, {"seen_by": STRANGER}])
def test_sessions_on_devices(crowded: str, filters: dict[str, Any], live: bool | None) -> None:
    shown = session_lists.SEARCHED_SESSIONS
    reads_no_more_than(crowded, shown, lambda tx: session_lists.page(tx, **filters, live=live, limit=50))


@pytest.mark.parametrize("session_id", [None, UUID("00000000-0000-0000-0001-000000000005"), NOBODY])
@pytest.mark.parametrize("before", [None, HALF_WAY, LONG_AGO])
@pytest.mark.parametrize("user_id", [None, BUSY, IDLE, NOBODY])
def test_recordings(crowded: str, user_id: UUID | None, before: datetime | None, session_id: UUID | None) -> None:
    seen_by = Sight(user_id, of_others=False, reach=EVERYWHERE) if user_id else None
    filters = {"seen_by": seen_by, "before": before, "session_id": session_id}
    reads_no_more_than(crowded, 100, lambda tx: storage.list_page(tx, **filters, limit=100))


def test_recordings_to_verify(crowded: str) -> None:
    reads_no_more_than(crowded, 10_000, storage.ids)


@pytest.mark.parametrize("days", [1, 3650])
def test_recordings_to_prune(crowded: str, days: int) -> None:
    reads_no_more_than(crowded, 50, lambda tx: storage.prune(tx, days))


def test_discarded_recordings(crowded: str) -> None:
    reads_no_more_than(crowded, 500, storage.sweep)


ACTORS = (None, "robot", "user-7", "nobody")
RESOURCES = (None, "user:busy", "session:77", "nothing")
EVENTS = (None, "e0.0", "rare.event", "none", "e1.*", "rare.*", "none.*", "*")
TIMES = (
    {},
    {"since": LONG_AGO, "until": LATER},
    {"until": HALF_WAY},
    {"since": LATER},
    {"until": LONG_AGO},
    {"before": AUDIT_ROWS // 2},
    {"before": AUDIT_ROWS // 3, "since": HALF_WAY, "until": HALF_WAY + timedelta(days=1)},
)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("event", EVENTS)
def test_audit(crowded: str, event: str | None, times: dict[str, Any]) -> None:
    for actor, resource in product(ACTORS, RESOURCES):
        filters = {"actor": actor, "event": event, "resource": resource, **times}
        reads_no_more_than(crowded, 50, lambda tx, filters=filters: audit.list_page(tx, **filters, limit=50))


@pytest.mark.parametrize("event", [None, "e1.*"])
def test_audit_page_of_an_export(crowded: str, event: str | None) -> None:
    for actor, resource in product(ACTORS, RESOURCES):
        filters = {"actor": actor, "event": event, "resource": resource}
        reads_no_more_than(crowded, 1000, lambda tx, filters=filters: audit.list_page(tx, **filters, limit=1000))


A_USER = UUID("00000000-0000-0000-0002-000000000001")
OTHERS: dict[str, tuple[int, Call]] = {
    "shared credentials": (20, lambda tx: credentials.shared(tx, within=EVERYWHERE)),
    "credentials of a user": (4, lambda tx: credentials.personal(tx, A_USER)),
    "credentials to choose from": (24, lambda tx: credentials.usable(tx, A_USER, within=EVERYWHERE)),
    "log-ins of a user": (10, lambda tx: logins.of_user(tx, A_USER)),
    # Which may look at all users, to find those of twenty log-ins among 50,000.
    "seats": (5000, logins.holding_seats),
    "users": (5000, users.list_all),
    "a page of users": (5000, lambda tx: user_lists.page(tx, user_lists.Filter(), limit=50, offset=200)),
    "a user": (1, lambda tx: user_lists.find(tx, A_USER)),
    # The total that is shown with them counts them all.
    "devices": (20_000, lambda tx: devices.list_page(tx, within=EVERYWHERE, limit=500)),
    "folders of a user": (4, lambda tx: folders.list_all(tx, A_USER)),
    "assignments of a user": (20, lambda tx: definitions.assignments(tx, A_USER)),
    "definitions and the connections of each": (100 + LIVE, lambda tx: definitions.list_all(tx, within=EVERYWHERE)),
    "connections to a device": (0, lambda tx: devices.live_sessions(tx, NOBODY)),
    "shares of a session": (1, lambda tx: shares.open_of(tx, UUID(int=2**64 + SESSIONS - 1))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_lists(crowded: str, name: str) -> None:
    shown, call = OTHERS[name]
    reads_no_more_than(crowded, shown, call)
