"""Witness locks on a real PostgreSQL; their holder is a process that can be killed."""

import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest

from netstacks.store import witness as module
from netstacks.store.pool import Database
from netstacks.store.witness import Witness, end_connections
from tests.controller import until
from tests.postgres import Postgres

_HOLDER = """
from gevent import monkey
monkey.patch_all()
import sys, time
from netstacks.store.pool import Database
from netstacks.store.witness import Witness
database = Database(sys.argv[1])
Witness(sys.argv[1], database, sys.argv[2]).renew()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture
def url(server: Postgres) -> str:
    return server.create_database()


def witness(url: str, instance_id: str, *, silent_after_secs: float = 30.0) -> tuple[Witness, Database]:
    database = Database(url)
    database.open()
    return Witness(url, database, instance_id, silent_after_secs), database


def test_a_killed_process_frees_its_lock_and_a_living_one_holds_it(url: str) -> None:
    me, database = witness(url, "ctrl-me")
    me.renew()
    other = subprocess.Popen([sys.executable, "-c", _HOLDER, url, "ctrl-other"], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert me.of("ctrl-other") == "held"
        assert me.of("ctrl-never") == "free"
    finally:
        other.kill()
        other.communicate()
    until(lambda: me.of("ctrl-other") == "free", "the end of the lock")
    database.close()


def test_an_instance_without_its_own_lock_answers_unknown(url: str) -> None:
    me, database = witness(url, "ctrl-me")
    assert me.of("ctrl-other") == "unknown"
    me.renew()
    assert me.of("ctrl-other") == "free"
    me.stop()
    assert me.of("ctrl-other") == "unknown"
    database.close()


def test_without_the_database_nothing_is_known_and_after_a_restart_the_lock_is_taken_again(
    server: Postgres, url: str
) -> None:
    me, database = witness(url, "ctrl-me")
    me.renew()
    server.stop()
    assert me.of("ctrl-other") == "unknown"
    me.renew()
    server.start()
    assert me.of("ctrl-other") == "unknown"
    me.renew()
    until(lambda: me.of("ctrl-other") == "free", "knowledge")
    database.close()


def test_a_lock_that_an_old_connection_still_has_is_taken_from_it_and_told_meanwhile(url: str) -> None:
    """As after the network lost the connection and only this side noticed."""
    me, database = witness(url, "ctrl-me")
    with psycopg.connect(url, autocommit=True) as old:
        old.execute("SELECT pg_advisory_lock(%s)", (module._key("ctrl-me"),))
        me.renew()
        assert not me.is_held
        assert me.of("ctrl-other") == "unknown"
        until(lambda: me.renew() or me.is_held, "the lock")
        assert me.of("ctrl-other") == "free"
        with pytest.raises(psycopg.OperationalError):
            old.execute("SELECT 1")
    database.close()


def test_a_lock_that_is_not_seen_on_the_connection_that_took_it_proves_no_death(url: str) -> None:
    """Behind a proxy that shares connections among clients, session locks prove nothing."""
    me, database = witness(url, "ctrl-me")
    me.renew()
    assert me.of("ctrl-other") == "free"
    with database.transaction() as tx:
        assert end_connections(tx, "ctrl-me") == 1
    with psycopg.connect(url, autocommit=True) as another:
        # The call waits for the end of the former connection, and so for its lock.
        another.execute("SELECT pg_advisory_lock(%s)", (module._key("ctrl-me"),))
        assert me.of("ctrl-other") == "unknown"
        another.execute("SELECT pg_advisory_unlock_all()")
        assert me.of("ctrl-other") == "unknown"
    me.renew()
    until(lambda: me.renew() or me.of("ctrl-other") == "free", "the lock on a new connection")
    database.close()


def test_a_frozen_process_is_silent_and_one_that_speaks_is_not(url: str) -> None:
    me, database = witness(url, "ctrl-me", silent_after_secs=1.0)
    other, _ = witness(url, "ctrl-other")
    me.renew()
    until(lambda: other.renew() or me.of("ctrl-other") == "held", "the other's lock")
    until(lambda: me.renew() or me.of("ctrl-other") == "silent", "the silence")
    # This machine may pause for longer than the silence that counts.
    until(lambda: other.renew() or me.of("ctrl-other") == "held", "the end of the silence")
    database.close()


def test_after_our_own_lock_was_lost_no_silence_counts(url: str) -> None:
    """The server itself may have stood still, so that it heard from no instance."""
    other, _ = witness(url, "ctrl-other")
    other.renew()
    # Longer than the silence that counts.
    time.sleep(0.6)
    me, database = witness(url, "ctrl-me", silent_after_secs=0.5)
    me.renew()
    assert me.of("ctrl-other") == "held"
    database.close()


def test_the_connections_of_a_dead_instance_are_ended_and_no_others(url: str) -> None:
    dead, alive = (psycopg.connect(url, autocommit=True, application_name=name) for name in ("ctrl-1", "ctrl-2"))
    _, database = witness(url, "ctrl-me")
    with database.transaction() as tx:
        assert end_connections(tx, "ctrl-1") == 1
    alive.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        dead.execute("SELECT 1")
    database.close()
