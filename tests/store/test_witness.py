"""Witness locks on a real PostgreSQL; who holds them is a process that can be killed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from netstacks.store.pool import Database
from netstacks.store.witness import Witness
from tests.controller import until
from tests.postgres import Postgres

_HOLDER = """
from gevent import monkey
monkey.patch_all()
import sys, time
from netstacks.store.pool import Database
from netstacks.store.witness import Witness
database = Database(sys.argv[1])
Witness(sys.argv[1], database, sys.argv[2]).look_after()
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


def witness(url: str, instance_id: str) -> tuple[Witness, Database]:
    database = Database(url)
    database.open()
    return Witness(url, database, instance_id), database


def test_a_killed_process_frees_its_lock_and_a_living_one_holds_it(url: str) -> None:
    me, database = witness(url, "ctrl-me")
    me.look_after()
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


def test_who_does_not_hold_his_own_lock_cannot_tell(url: str) -> None:
    me, database = witness(url, "ctrl-me")
    assert me.of("ctrl-other") == "unknown"
    me.look_after()
    assert me.of("ctrl-other") == "free"
    me.stop()
    assert me.of("ctrl-other") == "unknown"
    database.close()


def test_without_the_database_nothing_is_known_and_after_a_restart_the_lock_is_taken_again(
    server: Postgres, url: str
) -> None:
    me, database = witness(url, "ctrl-me")
    me.look_after()
    server.stop()
    assert me.of("ctrl-other") == "unknown"
    me.look_after()
    server.start()
    assert me.of("ctrl-other") == "unknown"
    me.look_after()
    until(lambda: me.of("ctrl-other") == "free", "knowledge")
    database.close()
