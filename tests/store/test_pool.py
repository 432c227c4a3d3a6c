"""The connection pool: every connection comes back, whatever happens to its user."""

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.store import contact
from netstacks.store import pool as module
from netstacks.store.pool import Database
from tests.controller import ROOT, until
from tests.postgres import Postgres


@pytest.fixture
def one(database_url: str) -> Iterator[Database]:
    """A database with a single connection, which has answered once."""
    database = Database(database_url, name="ctrl-test", max_size=1)
    database.open()
    until(database.ping, "the connection")
    yield database
    database.close()


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = Postgres().start()
    yield server
    server.destroy()


def test_a_pool_that_is_full_is_busy_and_not_away(one: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GET_CONNECTION_SECS", 0.1)
    monkeypatch.setattr(contact, "_ANSWER_COUNTS_SECS", 60.0)
    with one.transaction(), pytest.raises(StoreBusy), one.transaction():
        pass
    until(one.ping, "the connection")


def test_a_reserve_has_connections_that_others_cannot_take(one: Database) -> None:
    reserve = one.reserve(1)
    reserve.open()
    with one.transaction():
        until(reserve.ping, "an answer")
    reserve.close()


def test_a_lock_that_is_not_had_in_time_is_busy(one: Database, database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("CREATE TABLE t ()")
        other.commit()
        other.execute("LOCK TABLE t")
        with pytest.raises(StoreBusy), one.transaction(timeout_secs=0.3) as tx:
            tx.execute("SELECT FROM t")
    with one.transaction() as tx:
        tx.execute("SELECT FROM t")
    assert one.statistics()["connections_replaced"] == 0


def test_columns_that_an_upgrade_adds_are_an_error_once_that_says_try_again(one: Database, database_url: str) -> None:
    def read() -> int:
        with one.transaction() as tx:
            return len(tx.execute("SELECT * FROM t").description or ())

    with psycopg.connect(database_url) as other:
        other.execute("CREATE TABLE t (a int)")
    # The driver prepares what is asked often.
    for _ in range(10):
        assert read() == 1
    with psycopg.connect(database_url) as other:
        other.execute("ALTER TABLE t ADD COLUMN b int")
    with pytest.raises(StoreBusy, match="try again"):
        read()
    assert read() == 2


def test_an_unsupported_feature_is_no_fault_of_the_database(one: Database) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported), one.transaction() as tx:
        tx.execute("CREATE TABLE t (a int); ALTER TABLE t ALTER COLUMN a SET STORAGE EXTERNAL")
    assert one.contact.fault is None


def test_a_server_that_cannot_be_reached_is_away() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/x")
    database.open()
    with pytest.raises(StoreUnavailable) as error, database.transaction(timeout_secs=0.3):
        pass
    assert not isinstance(error.value, StoreBusy)
    database.close()


def test_a_transaction_whose_client_stands_still_is_ended_by_the_server(database_url: str) -> None:
    database = Database(database_url, idle_in_transaction_secs=0.2)
    database.open()
    with pytest.raises(StoreUnavailable):
        _stand_still(database)
    until(database.ping, "a new connection")
    database.close()


def _stand_still(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("SELECT 1")
        # The server's last message makes the socket readable.
        assert select.select([tx.fileno()], [], [], 30)[0]
        tx.execute("SELECT 1")


def test_broken_connections_hold_up_no_transaction(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a failover: all of them are broken, and each transaction has one try."""
    monkeypatch.setattr(module, "_CHECK_AFTER_SECS", -1.0)
    database = Database(database_url, name="ctrl-test", max_size=6, idle_in_transaction_secs=60)
    database.open()
    with ExitStack() as transactions:
        for _ in range(6):
            transactions.enter_context(database.transaction())
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    # With all of its own pauses, the library's check would need longer.
    monkeypatch.setattr(module, "GET_CONNECTION_SECS", 2.0)
    with database.transaction() as tx:
        tx.execute("SELECT 1")
    database.close()


def test_connections_carry_the_name_of_their_instance(one: Database) -> None:
    with one.transaction() as tx:
        row = tx.execute("SELECT current_setting('application_name') AS name").fetchone()
    assert row == {"name": "ctrl-test"}


@pytest.mark.parametrize("fault", ["crowd", "frozen"])
def test_after_a_burst_of_time_limits_every_connection_is_back(server: Postgres, fault: str) -> None:
    """In a patched process, as a worker's is."""
    command = [sys.executable, "-c", _BURST, server.create_database(), fault]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    if fault == "frozen":
        while "running" not in process.stdout.readline():
            pass
        server.freeze()
        process.stdin.write("\n")
        process.stdin.flush()
        while "all given up" not in process.stdout.readline():
            pass
        server.thaw()
    printed, _ = process.communicate("\n", timeout=90)
    # A pool that could not connect anew in time is smaller until it is asked for more.
    assert "ping True missing 0 waiting 0" in printed, printed[-3000:]


# Six hundred greenlets ask for transactions with short time limits; then all of them have ended.
_BURST = """
from gevent import monkey
monkey.patch_all()
import random, sys, time
from gevent.fileobject import FileObject
from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from netstacks.store.pool import Database
database = Database(sys.argv[1])
database.open()
while not database.ping():
    greenlets.sleep(0.1)
def work():
    for _ in range(6):
        try:
            with database.transaction(timeout_secs=random.uniform(0.02, 0.6)) as tx:
                tx.execute("SELECT pg_sleep(%s)", (random.uniform(0, 0.05),))
                tx.execute("SELECT 1")
        except StoreUnavailable:
            pass
stdin = FileObject(sys.stdin.buffer)
crowd = [greenlets.spawn("work", work) for _ in range(600)]
greenlets.sleep(0.2)
print("running", flush=True)
if sys.argv[2] == "frozen":
    stdin.readline()
greenlets.joinall(crowd)
print("all given up", flush=True)
stdin.readline()
ends_at = time.monotonic() + 60
while time.monotonic() < ends_at:
    found = database.statistics()
    answers = database.ping()
    if answers and found["pool_available"] == found["pool_size"] and not found["requests_waiting"]:
        break
    greenlets.sleep(0.2)
missing = found["pool_size"] - found["pool_available"]
print("ping", answers, "missing", missing, "waiting", found["requests_waiting"], flush=True)
"""
