"""Session definitions and the folders in which users file them."""

from uuid import UUID

import pytest

from netstacks.errors import InvalidInput, NotFound
from netstacks.permissions import EVERYWHERE
from netstacks.store import definitions, folders, sessions, users
from netstacks.store.pool import Database
from tests.rows import insert_session


@pytest.fixture
def ann(database: Database) -> UUID:
    return add_user(database, "ann")


def add_user(database: Database, name: str) -> UUID:
    with database.transaction() as tx:
        return users.create(tx, username=name, password_hash="-", role="admin").id


def test_active_connections_are_the_live_sessions_at_its_address(database: Database, ann: UUID) -> None:
    with database.transaction() as tx:
        definition = definitions.create(tx, name="d", host="R1", created_by=ann)
        assert definition.active_connections == 0
        for number in range(2):
            session_id = insert_session(tx, user_id=ann, host="r1")
            if number:
                sessions.end(tx, session_id, 1, "over")
        assert definitions.list_all(tx, within=EVERYWHERE)[0].active_connections == 1


def test_filing_again_moves_and_keeps_the_order(database: Database, ann: UUID) -> None:
    with database.transaction() as tx:
        definition = definitions.create(tx, name="d", host="r1", created_by=ann)
        folder = folders.create(tx, ann, "lab", None)
        first = definitions.assign(tx, ann, definition.id, folder.id, 7)
        second = definitions.assign(tx, ann, definition.id, None, None)
        assert (first.folder_id, first.sort_order) == (folder.id, 7)
        assert (second.id, second.folder_id, second.sort_order) == (first.id, None, 7)
        assert definitions.assignments(tx, ann) == [second]


def test_deleting_a_folder_leaves_what_was_filed_in_it_at_the_top(database: Database, ann: UUID) -> None:
    with database.transaction() as tx:
        definition = definitions.create(tx, name="d", host="r1", created_by=ann)
        outer = folders.create(tx, ann, "outer", None)
        inner = folders.create(tx, ann, "inner", outer.id)
        definitions.assign(tx, ann, definition.id, inner.id, None)
        folders.delete(tx, ann, outer.id)
        assert folders.list_all(tx, ann) == []
        assert [each.folder_id for each in definitions.assignments(tx, ann)] == [None]


def test_folders_never_form_a_circle(database: Database, ann: UUID) -> None:
    with database.transaction() as tx:
        top = folders.create(tx, ann, "top", None)
        middle = folders.create(tx, ann, "middle", top.id)
        below = folders.create(tx, ann, "below", middle.id)
        for target in (top, middle, below):
            with pytest.raises(InvalidInput, match="into itself"):
                folders.update(tx, ann, top.id, {"parent_id": target.id})
        assert folders.update(tx, ann, below.id, {"parent_id": top.id}).parent_id == top.id


def test_folders_are_their_users_own(database: Database, ann: UUID) -> None:
    bob = add_user(database, "bob")
    with database.transaction() as tx:
        folder = folders.create(tx, ann, "hers", None)
        assert folders.list_all(tx, bob) == []
        for attempt in (
            lambda: folders.lock(tx, bob, folder.id),
            lambda: folders.create(tx, bob, "below", folder.id),
            lambda: folders.update(tx, bob, folder.id, {"name": "his"}),
            lambda: folders.delete(tx, bob, folder.id),
        ):
            with pytest.raises(NotFound):
                attempt()
