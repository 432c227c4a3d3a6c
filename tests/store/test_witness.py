"""Witness locks on a real PostgreSQL; their holder is a process that can be killed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import psycopg
import pytest

from netstacks.cluster.routing import Witness as WitnessState
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
witness = Witness(sys.argv[1], database, sys.argv[2])
while not witness.is_held:
    witness.renew()
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
    until(database.ping, "the connection")
    return Witness(url, database, instance_id, silent_after_secs), database


def hold(each: Witness) -> None:
    """One call is enough, unless the machine pauses for longer than it waits."""
    until(lambda: each.renew() or each.is_held, "the lock")


def known(me: Witness, *instance_ids: str) -> dict[str, WitnessState]:
    """The states, asked again while the database takes too long to answer."""
    return dict(until(lambda: (found := me.of_all(instance_ids)) and "unknown" not in found.values() and found))


def test_a_killed_process_frees_its_lock_and_a_living_one_holds_it(url: str) -> None:
    me, database = witness(url, "ctrl-me")
    hold(me)
    other = subprocess.Popen([sys.executable, "-c", _HOLDER, url, "ctrl-other"], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        states = known(me, "ctrl-other", "ctrl-never")
        assert states == {"ctrl-other": "held", "ctrl-never": "free"}
    finally:
        other.kill()
        other.communicate()
    until(lambda: me.of("ctrl-other") == "free", "the end of the lock")
    database.close()


def test_an_instance_without_its_own_lock_answers_unknown(url: str) -> None:
    me, database = witness(url, "ctrl-me")
    assert me.of("ctrl-other") == "unknown"
    hold(me)
    assert known(me, "ctrl-other") == {"ctrl-other": "free"}
    me.stop()
    assert me.of("ctrl-other") == "unknown"
    database.close()


def test_without_the_database_nothing_is_known_and_after_a_restart_the_lock_is_taken_again(
    server: Postgres, url: str
) -> None:
    me, database = witness(url, "ctrl-me")
    hold(me)
    server.stop()
    assert me.of("ctrl-other") == "unknown"
    me.renew()
    server.start()
    assert me.of("ctrl-other") == "unknown"
    hold(me)
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
        hold(me)
        assert known(me, "ctrl-other") == {"ctrl-other": "free"}
        with pytest.raises(psycopg.OperationalError):
            old.execute("SELECT 1")
    database.close()


def test_a_lock_that_is_not_seen_on_the_connection_that_took_it_proves_no_death(url: str) -> None:
    """Behind a proxy that shares connections among clients, session locks prove nothing."""
    me, database = witness(url, "ctrl-me")
    hold(me)
    assert known(me, "ctrl-other") == {"ctrl-other": "free"}
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
    hold(me)
    until(lambda: other.renew() or me.of("ctrl-other") == "held", "the other's lock")
    until(lambda: me.renew() or me.of("ctrl-other") == "silent", "the silence")
    # This machine may pause for longer than the silence that counts.
    until(lambda: other.renew() or me.of("ctrl-other") == "held", "the end of the silence")
    database.close()


def test_after_our_own_lock_was_lost_no_silence_counts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server itself may have stood still, so that it heard from no instance."""
    other, _ = witness(url, "ctrl-other")
    hold(other)
    # Longer than the silence that counts.
    time.sleep(0.6)
    heard_secs = 0.4
    me, database = witness(url, "ctrl-me", silent_after_secs=0.5)
    hold(me)
    clock = SimpleNamespace(monotonic=lambda: me._held_since + heard_secs)
    monkeypatch.setattr(module, "time", clock)
    assert known(me, "ctrl-other") == {"ctrl-other": "held"}
    heard_secs = 0.6
    assert known(me, "ctrl-other") == {"ctrl-other": "silent"}
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
