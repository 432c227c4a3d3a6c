"""Addresses that a former version has stored in another spelling are found after the migration."""

from collections.abc import Iterator

import psycopg
import pytest

from netstacks.store import schema
from netstacks.store.pool import Database

_KEY = "INSERT INTO host_keys VALUES (%s, %s, 'ssh-ed25519', %s, 'ana', %s)"


@pytest.fixture
def before(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database before the migration, opened."""
    known = schema.migrations()
    database = Database(database_url)
    database.open()
    monkeypatch.setattr(schema, "migrations", lambda: known[:6])
    schema.migrate(database)
    monkeypatch.undo()
    yield database
    database.close()


def test_an_ipv4_address_is_plain_wherever_it_stands(before: Database, database_url: str) -> None:
    hosts = {
        "::ffff:c000:201": "192.0.2.1",
        "::ffff:255.255.255.255": "255.255.255.255",
        "::ffff:0:1": "0.0.0.1",
        "::ffff:1": "::ffff:1",
        "2001:db8::ffff:c000:201": "2001:db8::ffff:c000:201",
        "r1.example.net": "r1.example.net",
    }
    with psycopg.connect(database_url) as connection:
        for host in hosts:
            connection.execute(
                "INSERT INTO devices (id, name, host, port) VALUES (gen_random_uuid(), 'r', %s, 22)", [host]
            )
            connection.execute(_KEY, [host, 22, host, "2026-01-01"])
            connection.execute(
                "INSERT INTO session_definitions (id, name, host, port) VALUES (gen_random_uuid(), 'r', %s, 22)", [host]
            )
            connection.execute(
                "INSERT INTO credentials (id, name, credential_type, host, vault_type)"
                " VALUES (gen_random_uuid(), 'c', 'ssh_password', %s, 'shared')",
                [host],
            )
            connection.execute(
                "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, epoch, state,"
                " reconnect_hash) VALUES (gen_random_uuid(), gen_random_uuid(), 'ana', 'r', %s, 22, 'xterm', 80, 24, 1,"
                " 'active', %s)",
                [host, host.encode()],
            )
        connection.execute(
            "INSERT INTO credentials (id, name, credential_type, vault_type)"
            " VALUES (gen_random_uuid(), 'c', 'ssh_password', 'shared')"
        )
    schema.migrate(before)
    with psycopg.connect(database_url) as connection:
        for table in ("devices", "host_keys", "session_definitions", "credentials", "sessions"):
            rows = connection.execute(f"SELECT host FROM {table} WHERE host IS NOT NULL".encode()).fetchall()
            assert {host for (host,) in rows} == set(hosts.values()), table
        rows = connection.execute("SELECT public_key, host FROM host_keys").fetchall()
        assert dict(rows) == hosts


def test_one_of_several_keys_for_one_address_is_left(before: Database, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        for host, port, key, approved_at in [
            ("192.0.2.1", 22, "plain", "2026-01-01"),
            ("::ffff:c000:201", 22, "newer, and never asked for", "2026-02-01"),
            ("::ffff:c000:202", 22, "older", "2026-01-01"),
            ("::ffff:192.0.2.2", 22, "newer", "2026-02-01"),
            ("::ffff:192.0.2.2", 23, "another port", "2026-01-01"),
        ]:
            connection.execute(_KEY, [host, port, key, approved_at])
    schema.migrate(before)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT host, port, public_key FROM host_keys ORDER BY host, port").fetchall()
    assert rows == [("192.0.2.1", 22, "plain"), ("192.0.2.2", 22, "newer"), ("192.0.2.2", 23, "another port")]
