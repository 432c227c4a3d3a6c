"""Silent copies of sessions that are not this instance's any more."""

import pytest

from netstacks.instance.strays import Strays
from netstacks.store import sessions
from netstacks.store.outbox import Outbox
from netstacks.store.pool import Database
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session, State
from tests.rows import make_session
from tests.terminal.test_hub import add


@pytest.fixture
def hub(database: Database) -> Hub:
    return Hub(Outbox(database), detach_ttl_secs=60)


def held(hub: Hub, database: Database) -> Session:
    session = add(hub, "r1", attached=True, silent_secs=0)
    make_session(database, session_id=session.id, user_id=session.facts.user_id)
    return session


def test_what_is_ours_stays(hub: Hub, database: Database) -> None:
    session = held(hub, database)
    Strays(database, hub).look()
    assert session.is_live


def test_a_session_that_was_ended_elsewhere_ends_here_with_the_same_reason(hub: Hub, database: Database) -> None:
    ended, other = held(hub, database), held(hub, database)
    with database.transaction() as tx:
        sessions.end_all_of(tx, ended.facts.user_id, "access was withdrawn")
    Strays(database, hub).look()
    assert (ended.state, ended.end_reason) == (State.ENDED, "access was withdrawn")
    assert other.is_live


def test_a_session_that_moved_on_is_fenced_here(hub: Hub, database: Database) -> None:
    session = held(hub, database)
    with database.transaction() as tx:
        sessions.release(tx, session.id, 1)
    Strays(database, hub).look()
    assert session.state is State.FENCED


def test_without_a_database_every_session_goes_on(hub: Hub, database: Database) -> None:
    session = held(hub, database)
    away = Database("postgresql://nobody@127.0.0.1:1/x")
    away.open()
    Strays(away, hub).look()
    away.close()
    assert session.is_live
