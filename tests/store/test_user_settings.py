"""User settings: any JSON value comes back as it was, within bounds."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from netstacks.errors import InvalidInput, NotFound
from netstacks.store import user_settings, users
from netstacks.store.pool import Database


@pytest.fixture
def ann(database: Database) -> UUID:
    with database.transaction() as tx:
        return users.create(tx, username="ann", password_hash="-", role="viewer").id


@pytest.mark.parametrize("value", [None, False, 0, 1.5, "", "text ä", [], {}, {"a": [1, {"b": None}]}])
def test_any_json_value_comes_back(database: Database, ann: UUID, value: Any) -> None:
    with database.transaction() as tx:
        user_settings.put(tx, ann, "ai.mode_prompt.chat", {"earlier": "value"})
        user_settings.put(tx, ann, "ai.mode_prompt.chat", value)
        assert user_settings.get(tx, ann, "ai.mode_prompt.chat") == value


def test_settings_are_their_users_own_and_end_when_deleted(database: Database, ann: UUID) -> None:
    with database.transaction() as tx:
        user_settings.put(tx, ann, "key", 1)
        with pytest.raises(NotFound):
            user_settings.get(tx, uuid4(), "key")
        user_settings.delete(tx, ann, "key")
        with pytest.raises(NotFound):
            user_settings.get(tx, ann, "key")


@pytest.mark.parametrize(
    ("key", "value"),
    [("k" * 201, 1), ("key", "x" * user_settings.MAX_VALUE_CHARS), ("key", float("inf"))],
    ids=["long key", "large value", "infinity"],
)
def test_a_setting_out_of_bounds_is_refused(database: Database, ann: UUID, key: str, value: Any) -> None:
    with database.transaction() as tx, pytest.raises(InvalidInput):
        user_settings.put(tx, ann, key, value)


def test_the_number_of_settings_is_bounded(database: Database, ann: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_settings, "MAX_KEYS", 2)
    with database.transaction() as tx:
        for key in ("a", "b", "a"):
            user_settings.put(tx, ann, key, key)
        with pytest.raises(InvalidInput, match="2 settings"):
            user_settings.put(tx, ann, "c", 1)
