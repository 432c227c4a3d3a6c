"""Faults of a PostgreSQL that answers are detected, named, reported to users, and seen to be over without help."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psycopg
import pytest
import structlog.testing
from psycopg import sql
from psycopg.rows import DictRow

from netstacks import greenlets
from netstacks.errors import StoreDenied, StoreUnavailable
from netstacks.store import checkup as module
from netstacks.store import contact, failed_logins, faults
from netstacks.store.checkup import Checkup, Condition
from netstacks.store.connections import WritingConnection, for_writing
from netstacks.store.contact import Contact
from netstacks.store.failed_logins import Attempt
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from netstacks.store.witness import Witness
from tests.controller import until
from tests.postgres import Postgres

WELL = Condition(True, None)


@pytest.fixture
def checkup(database: Database) -> Checkup:
    return Checkup(database)


def change(url: str, statement: str) -> None:
    """As an administrator, in the database of that URL."""
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(sql.SQL(statement).format(database=sql.Identifier(urlsplit(url).path[1:])))  # type: ignore[arg-type]


def write(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("INSERT INTO settings (key, value) VALUES (gen_random_uuid()::text, '1')")


def problem(checkup: Checkup) -> str:
    """Waits until a fault is found; returns it."""
    return str(until(lambda: checkup.check().problem, "a problem"))


def is_well(checkup: Checkup, database: Database) -> bool:
    """Whether nothing is found, and a write succeeds indeed."""
    if checkup.check() != WELL:
        return False
    try:
        write(database)
    except StoreUnavailable:
        return False
    return True


def test_a_database_that_was_set_read_only_is_named_and_recovers(
    database: Database, checkup: Checkup, database_url: str
) -> None:
    others = database.reserve(2)
    others.open()
    until(lambda: is_well(checkup, others), "a well database")
    change(database_url, "ALTER DATABASE {database} SET default_transaction_read_only = on")
    with structlog.testing.capture_logs() as logged:
        assert problem(checkup).startswith("PostgreSQL is read-only: default_transaction_read_only is on")
        assert checkup.check().answers
        # Connections that are made now are read-only for as long as they last.
        for each in (database, others):
            each._pool.drain()
            with pytest.raises(StoreUnavailable, match="nothing can be saved at the moment: PostgreSQL is read-only"):
                write(each)
        change(database_url, "ALTER DATABASE {database} RESET default_transaction_read_only")
        until(lambda: is_well(checkup, database), "writes")
        write(others)
    told = [each["event"] for each in logged if each["event"].startswith("database.")]
    assert told == ["database.fault", "database.mended"]
    others.close()


def test_a_write_that_fails_is_enough_to_know(database: Database, checkup: Checkup, database_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="PostgreSQL is read-only"), database.transaction() as tx:
        tx.execute("SET TRANSACTION READ ONLY; INSERT INTO settings (key, value) VALUES ('x', '1')")
    assert database.contact.fault is not None
    # A new connection finds that it takes writes.
    until(lambda: checkup.check() == WELL, "what the new connection found")
    write(database)


def test_hosts_that_are_silent_do_not_hold_up_the_look(
    database: Database, checkup: Checkup, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: is_well(checkup, database), "a well database")
    fault = faults.read_only("it is a standby")
    database.contact.note(fault)
    dials, gate = [], greenlets.Event()

    def silent(url: str, **options: object) -> psycopg.Connection[DictRow]:
        dials.append(url)
        gate.wait()
        return psycopg.Connection.connect(url, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_WAIT_SECS", 0.05)
    # Not the connections of the pool, which it replaces when the fault is over.
    monkeypatch.setattr(module, "WritingConnection", SimpleNamespace(connect=silent))
    for _ in range(2):
        assert checkup.check() == Condition(True, str(fault))
    assert len(dials) == 1
    gate.set()
    until(lambda: checkup.check() == WELL, "what the new connection found")
    assert len(dials) == 1


@pytest.mark.parametrize("found_by", ["write", "look"])
def test_one_connection_that_stayed_read_only_is_replaced_by_itself(
    database: Database, database_url: str, found_by: str
) -> None:
    one = Database(database_url, max_size=1)
    one.open()
    checkup = Checkup(one)
    until(lambda: is_well(checkup, one), "a well database")
    one.contact.note(faults.read_only("it is a standby"))
    one.contact.note(None)
    until(one.ping, "the connection")
    with one.transaction() as tx:
        tx.execute("SET default_transaction_read_only = on")
    if found_by == "look":
        assert problem(checkup)
    else:
        with pytest.raises(StoreUnavailable):
            write(one)
    until(lambda: is_well(checkup, one), "writes")
    assert one.contact.renewals == 1
    one.close()


def test_a_role_without_rights_is_named_and_recovers(database: Database, database_url: str) -> None:
    change(database_url, "CREATE ROLE limited LOGIN")
    change(database_url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO limited")
    change(database_url, "REVOKE UPDATE ON audit FROM limited")
    limited = Database(database_url.replace("postgres@", "limited@"))
    limited.open()
    checkup = Checkup(limited)
    until(lambda: is_well(checkup, limited), "a well database")
    change(database_url, "REVOKE INSERT ON settings FROM limited")
    change(database_url, "REVOKE DELETE ON devices FROM limited")
    assert "its role limited may not read and change devices, settings" in problem(checkup)
    with pytest.raises(StoreDenied, match="permission denied for table settings"):
        write(limited)
    change(database_url, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM limited")
    told = str(until(lambda: (found := problem(checkup)) and "other tables" in found and found, "a short list"))
    assert "Let the role in DATABASE_URL own the database" in told
    assert len(told) < 300
    change(database_url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO limited")
    until(lambda: is_well(checkup, limited), "writes")
    limited.close()


@pytest.mark.usefixtures("product_limits")
def test_a_refused_log_in_is_named_and_recovers(database: Database, database_url: str) -> None:
    change(database_url, "CREATE ROLE stranger NOLOGIN")
    change(database_url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO stranger")
    stranger = Database(database_url.replace("postgres@", "stranger@"))
    stranger.open()
    checkup = Checkup(stranger)
    assert problem(checkup).startswith(
        'PostgreSQL refuses the connection: role "stranger" is not permitted to log in. Correct the user'
    )
    assert not checkup.check().answers
    with pytest.raises(StoreUnavailable, match="is not permitted to log in"):
        write(stranger)
    change(database_url, "ALTER ROLE stranger LOGIN")
    until(lambda: is_well(checkup, stranger), "writes")
    stranger.close()


def test_a_server_that_is_gone_is_named_with_the_failure(server: Postgres) -> None:
    database = Database(server.create_database())
    database.open()
    checkup = Checkup(database)
    until(lambda: checkup.check() == WELL, "a well database")
    server.kill()
    told = until(lambda: "Connection refused" in (problem := str(checkup.check().problem)) and problem, "the failure")
    expected = f'connection to server at "127.0.0.1", port {server.port} failed: Connection refused'
    assert told == f"PostgreSQL is not reachable: {expected}"
    server.start()
    until(lambda: checkup.check() == WELL, "contact again")
    assert database.contact.failure is None
    database.close()


_ATTEMPT = 'connection to server at "10.0.0.5", port 5432 failed: '


@pytest.mark.parametrize(
    "message",
    [
        'password authentication failed for user "netstacks"',
        'no pg_hba.conf entry for host "10.0.0.7", user "netstacks", database "netstacks", no encryption',
        'database "netstack" does not exist',
        'role "netstack" does not exist',
        'permission denied for database "netstacks"',
    ],
)
def test_what_the_server_says_of_a_refused_log_in_is_the_problem(message: str) -> None:
    fault = faults.of_connecting(psycopg.OperationalError(f"{_ATTEMPT}Connection refused\n{_ATTEMPT}FATAL:  {message}"))
    assert fault is not None
    assert fault.problem == f"PostgreSQL refuses the connection: {message}"


def test_other_texts_of_connecting_are_told_apart() -> None:
    missing = faults.of_connecting(psycopg.OperationalError(f"{_ATTEMPT}fe_sendauth: no password supplied"))
    assert missing is not None
    assert missing.problem.endswith(": fe_sendauth: no password supplied")
    for text in (
        "Connection refused",
        'root certificate file "/x" does not exist',
        "FATAL:  the database is starting up",
    ):
        assert faults.of_connecting(psycopg.OperationalError(f"{_ATTEMPT}{text}")) is None


@pytest.mark.usefixtures("product_limits")
def test_a_limit_of_connections_is_named_and_recovers(database: Database, database_url: str) -> None:
    change(database_url, "CREATE ROLE crowded LOGIN CONNECTION LIMIT 2")
    change(database_url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO crowded")
    crowded = Database(database_url.replace("postgres@", "crowded@"), idle_in_transaction_secs=60)
    crowded.open()
    checkup = Checkup(crowded)
    until(lambda: is_well(checkup, crowded), "a well database")
    with crowded.transaction(), crowded.transaction():
        with pytest.raises(StoreUnavailable), crowded.transaction():
            pass
        assert "PostgreSQL takes no more connections: too many connections for role" in problem(checkup)
    assert checkup.check().answers
    change(database_url, "ALTER ROLE crowded CONNECTION LIMIT 20")
    until(lambda: is_well(checkup, crowded), "writes")
    crowded.close()


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture
def small_disk(server: Postgres) -> Iterator[Path]:
    """A place of 16 MB for tables."""
    folder = server.folder("small-disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size=16m,uid={folder.stat().st_uid}", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a file system")
    yield folder
    server.kill()
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named_and_recovers(server: Postgres, small_disk: Path) -> None:
    url = server.create_database()
    change(server.url("postgres"), f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    change(server.url("postgres"), f"ALTER DATABASE {urlsplit(url).path[1:]} SET TABLESPACE small")
    database = Database(url)
    database.open()
    migrate(database)
    checkup = Checkup(database)
    until(lambda: is_well(checkup, database), "a well database")
    with pytest.raises(StoreUnavailable, match="nothing can be saved at the moment: PostgreSQL has no disk space left"):
        _fill(database)
    for _ in range(3):
        assert problem(checkup).startswith("PostgreSQL has no disk space left: ")
    with database.transaction() as tx:
        tx.execute("DROP TABLE filling")
    until(lambda: is_well(checkup, database), "writes")
    database.close()


def _fill(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("CREATE TABLE filling (bytes text STORAGE PLAIN)")
    while True:
        with database.transaction() as tx:
            tx.execute("INSERT INTO filling SELECT repeat('x', 4000) FROM generate_series(1, 50)")


def test_after_a_failover_pools_and_witness_are_on_the_server_that_takes_writes(server: Postgres) -> None:
    url = server.create_database()
    migrate(_opened(url))
    standby = server.standby().start()
    try:
        both = url.replace(f":{server.port}/", f":{server.port},127.0.0.1:{standby.port}/")
        database = _opened(both)
        checkup, witness = Checkup(database), Witness(database.url, database, "ctrl-test")
        until(lambda: is_well(checkup, database), "a well database")
        until(lambda: witness.renew() or witness.of("ctrl-test") == "held", "the lock")

        alone = _opened(standby.url(urlsplit(url).path[1:]))
        attempt = Attempt("ana", "192.0.2.1")
        for touch in (failed_logins.reserve, failed_logins.forgive):
            # The table is unlogged: a standby has none.
            with pytest.raises(StoreUnavailable, match="PostgreSQL is read-only"), alone.transaction() as tx:
                touch(tx, attempt)
        assert problem(Checkup(alone)).startswith("PostgreSQL is read-only: it is a standby")
        standby.promote()
        until(lambda: is_well(Checkup(alone), alone), "writes after a promotion")

        # The former primary goes on, demoted: connections to it stay.
        change(server.url("postgres"), "ALTER SYSTEM SET default_transaction_read_only = on")
        change(server.url("postgres"), "SELECT pg_reload_conf()")
        until(lambda: is_well(checkup, database) and _port(database) == standby.port, "writes at the new primary")
        until(lambda: witness.renew() or witness.of("ctrl-test") == "held", "the lock at the new primary")
        assert witness.is_held
        database.close()
        alone.close()
    finally:
        standby.destroy()


def _opened(url: str) -> Database:
    database = Database(url)
    database.open()
    return database


def _port(database: Database) -> int:
    with database.transaction() as tx:
        return tx.info.port


def test_a_name_with_several_servers_leads_to_the_one_that_takes_writes_or_else_to_another(server: Postgres) -> None:
    standby = server.standby().start()
    try:
        # To libpq, a name with two addresses is this.
        url = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{server.port}/postgres"
        with WritingConnection.connect(url) as connection:
            assert connection.info.port == server.port
        server.stop()
        with WritingConnection.connect(url) as connection:
            assert connection.info.port == standby.port
        with pytest.raises(psycopg.OperationalError, match="read-only"):
            WritingConnection.connect(for_writing(url))
    finally:
        standby.destroy()


def test_connections_are_not_replaced_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Contact()
    for _ in range(3):
        seen.note(faults.read_only("it is a standby"))
        seen.note(None)
    assert seen.renewals == 1
    monkeypatch.setattr(contact, "_RENEW_AFTER_SECS", 0.0)
    seen.note(faults.read_only("it is a standby"))
    seen.note(None)
    assert seen.renewals == 2


@pytest.mark.parametrize(("url", "goes_where"), [
    ("postgres://u:p@one:1/x", None),
    ("postgres://u:p@one:1,two:2/x", "read-write"),
    ("postgres://u:p@one:1,two:2/x?target_session_attrs=any", "any"),
])  # fmt: skip
def test_several_servers_in_a_url_mean_the_one_that_takes_writes(url: str, goes_where: str | None) -> None:
    assert psycopg.conninfo.conninfo_to_dict(for_writing(url)).get("target_session_attrs") == goes_where
