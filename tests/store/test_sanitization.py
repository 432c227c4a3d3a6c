"""The secrets of the vault that may occur in a user's messages to a provider."""

from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from netstacks.store import sanitization
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from tests.rows import make_session
from tests.store.test_credentials import PLAIN_KEY, Store


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def known(store: Store, user_id: UUID, vault: Vault | None = None, session_id: UUID | None = None) -> list[str]:
    with store.database.transaction() as tx:
        return sanitization.known_secrets(tx, vault or store.vault, user_id, session_id)


def test_the_users_own_secrets_and_the_shared_ones_are_known(store: Store) -> None:
    store.add("mine", store.ann, secret="anns password", enable_secret="anns enable")
    store.add("ours", secret="shared password")
    store.add("snmp", secret="shared community", kind="snmp_community")
    store.add("his", store.bob, secret="bobs password")
    expected = {"anns password", "anns enable", "shared password", "shared community"}
    assert set(known(store, store.ann)) == expected


def test_the_users_own_secrets_come_first_beyond_the_limit_and_a_warning_is_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("mine", store.ann, secret="anns password")
    store.add("ours", secret="shared password")
    monkeypatch.setattr(sanitization, "MAX_SECRETS", 2)
    with capture_logs() as logs:
        assert len(known(store, store.ann)) == 2
        assert logs == []
        monkeypatch.setattr(sanitization, "MAX_SECRETS", 1)
        assert known(store, store.ann) == ["anns password"]
    assert [each["event"] for each in logs] == ["ai.too_many_secrets"]
    assert "password" not in repr(logs)


def test_about_a_session_the_secrets_of_its_user_and_its_credential_are_known(store: Store) -> None:
    used = store.add("his", store.bob, secret="bobs password", enable_secret="bobs enable")
    by_user = make_session(store.database, user_id=store.bob)
    by_credential = make_session(store.database, credential_id=used.id)
    assert known(store, store.ann) == []
    for session_id in (by_user, by_credential):
        assert set(known(store, store.ann, session_id=session_id)) == {"bobs password", "bobs enable"}
    assert known(store, store.ann, session_id=uuid4()) == []


def test_private_keys_and_short_secrets_are_left_out(store: Store) -> None:
    store.add("key", store.ann, kind="ssh_key", secret=PLAIN_KEY, enable_secret="anns enable")
    store.add("short", store.ann, secret="cisco")
    assert known(store, store.ann) == ["anns enable"]


def test_secrets_that_this_instance_cannot_open_are_left_out(store: Store) -> None:
    store.add("mine", store.ann, secret="anns password")
    assert known(store, store.ann, Vault(store.database, "ab" * 32)) == []
