"""The search of sessions ends after a number of sessions, and the next page goes on from there."""

from typing import Any
from uuid import uuid4

import pytest

from netstacks.permissions import Reach
from netstacks.store import session_lists, sessions
from netstacks.store.pool import Database
from netstacks.store.sight import Sight
from tests.rows import make_session

# No session is this user's own.
SEER = Sight(uuid4(), of_others=True, reach=Reach(sites=frozenset(["Oslo"])))


def pages(database: Database, **filters: Any) -> list[list[str]]:
    """The device names on each page."""
    found, before = [], None
    with database.transaction() as tx:
        while True:
            page = session_lists.page(tx, **filters, before=before)
            found.append([row["device_name"] for row in page.rows])
            if page.next is None:
                return found
            before = page.next


@pytest.fixture
def five(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five sessions, the first one on a device in Oslo."""
    with database.transaction() as tx:
        row = tx.execute(
            "INSERT INTO devices (id, name, host, port, site)"
            " VALUES (gen_random_uuid(), 'core-1', 'core-1', 22, 'Oslo') RETURNING id"
        ).fetchone()
    assert row is not None
    make_session(database, device_name="core-1", device_id=row["id"])
    for number in range(2, 6):
        make_session(database, device_name=f"edge-{number}")
    monkeypatch.setattr(session_lists, "SEARCHED_SESSIONS", 2)


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("filters", [{"device": "CORE"}, {"seen_by": SEER}, {"device": "core", "seen_by": SEER}])
def test_every_match_is_on_one_of_the_pages(database: Database, filters: dict[str, Any]) -> None:
    assert pages(database, **filters) == [[], [], ["core-1"]]


@pytest.mark.usefixtures("five")
def test_a_full_page_goes_on_after_its_last_session(database: Database) -> None:
    assert pages(database, device="edge", limit=1) == [["edge-5"], ["edge-4"], ["edge-3"], ["edge-2"], []]


@pytest.mark.usefixtures("five")
def test_conditions_with_an_index_search_all_sessions(database: Database) -> None:
    for filters in ({"username": "ANA"}, {"owner": "ctrl-1"}, {"live": True}, {}):
        assert pages(database, **filters, limit=2) == [["edge-5", "edge-4"], ["edge-3", "edge-2"], ["core-1"]]


def test_an_ended_session_has_no_owner(database: Database) -> None:
    session_id = make_session(database, owner="ctrl-1")
    assert pages(database, owner="ctrl-1", live=False) == [[]]
    with database.transaction() as tx:
        assert sessions.end(tx, session_id, 1, "logged out")
    assert pages(database, owner="ctrl-1") == [[]]
