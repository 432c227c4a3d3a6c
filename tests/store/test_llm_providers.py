"""The list of providers: its order, its keys in the vault, and the list of a first start."""

import secrets
import threading
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from netstacks.errors import Conflict, NotFound, VaultLocked
from netstacks.permissions import EVERYWHERE
from netstacks.store import audit, credentials, llm_providers, schema, system_settings
from netstacks.store.credentials import Secrets
from netstacks.store.llm_providers import KeyedProvider, StoredProvider
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AI
from netstacks.store.setting_types import Feature
from netstacks.store.vault import Vault

OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)


def facts(name: str = "claude", **changed: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "anthropic",
        "base_url": "https://api.anthropic.com",
        "models": ["m1", "m2"],
        "enabled": True,
        "connect_secs": None,
        "first_token_secs": 7.5,
        "total_secs": None,
        "max_concurrent": 3,
        "daily_tokens": 10**10,
        **changed,
    }


class Store:
    """The list in a database of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.vault = Vault(database, OLD)
        self.vault.unlock()

    def add(self, name: str = "claude", key: str | None = None, **changed: Any) -> StoredProvider:
        with self.database.transaction() as tx:
            return llm_providers.create(tx, self.vault, facts(name, **changed), key=key, by="ann")

    def update(self, provider_id: UUID, key: str | None = None, **changed: Any) -> StoredProvider:
        with self.database.transaction() as tx:
            old = llm_providers.lock(tx, provider_id)
            return llm_providers.update(tx, self.vault, old, changed, key=key, by="bob")

    def every(self) -> list[StoredProvider]:
        with self.database.transaction() as tx:
            return llm_providers.list_all(tx)

    def opened(self, vault: Vault | None = None) -> list[KeyedProvider]:
        with self.database.transaction() as tx:
            return llm_providers.with_keys(tx, vault or self.vault)

    def newest_revision(self) -> int:
        with self.database.transaction() as tx:
            return llm_providers.newest_revision(tx)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def test_created_providers_are_listed_in_order_and_without_their_keys(store: Store) -> None:
    first = store.add("b", key="sk-1")
    second = store.add("a")
    assert store.every() == [first, second]
    assert (first.position, second.position) == (1, 2)
    assert (first.has_key, second.has_key) == (True, False)
    assert {name: getattr(first, name) for name in facts()} == facts("b")
    assert "sk-1" not in str(first)
    assert first.updated_by == "ann"


def test_a_key_comes_out_for_calls_only(store: Store) -> None:
    store.add("a", key="sk-1")
    store.add("b")
    keyed = store.opened()
    assert [(each.key, each.problem) for each in keyed] == [("sk-1", None), (None, None)]
    assert "sk-1" not in repr(keyed)


def test_a_change_keeps_what_it_does_not_name(store: Store) -> None:
    old = store.add("a", key="sk-1")
    new = store.update(old.id, models=["m3"], total_secs=20.0)
    assert (new.name, new.models, new.total_secs, new.first_token_secs) == ("a", ["m3"], 20.0, 7.5)
    assert (new.has_key, new.position, new.updated_by) == (True, 1, "bob")
    assert new.revision > old.revision
    assert store.opened()[0].key == "sk-1"


def test_a_key_is_replaced_and_removed(store: Store) -> None:
    provider = store.add(key="sk-1")
    store.update(provider.id, key="sk-2")
    assert store.opened()[0].key == "sk-2"
    assert store.update(provider.id, key="").has_key is False
    assert store.opened()[0] == KeyedProvider(store.every()[0])


def test_a_name_is_taken_in_any_case(store: Store) -> None:
    store.add("Claude")
    other = store.add("gpt")
    with pytest.raises(Conflict, match="name: another provider is already called 'claude'"):
        store.add("claude")
    with pytest.raises(Conflict, match="name: "):
        store.update(other.id, name="CLAUDE")
    assert store.update(other.id, name="GPT").name == "GPT"


def test_deleting_one_takes_its_key_along(store: Store) -> None:
    provider = store.add(key="sk-1")
    with store.database.transaction() as tx:
        llm_providers.delete(tx, llm_providers.lock(tx, provider.id))
    assert store.every() == []
    with store.database.transaction() as tx:
        assert tx.execute("SELECT 1 FROM vault_secrets").fetchone() is None
        with pytest.raises(NotFound):
            llm_providers.lock(tx, provider.id)


def test_the_order_is_that_of_the_ids(store: Store) -> None:
    a, b, c = (store.add(name) for name in "abc")
    with store.database.transaction() as tx:
        ordered = llm_providers.reorder(tx, [c.id, b.id, a.id], by="bob")
    assert [each.name for each in ordered] == ["c", "b", "a"]
    assert store.every() == ordered
    # One that keeps its place keeps its revision.
    assert [each.revision == b.revision for each in ordered] == [False, True, False]
    assert store.add("d").position == 4


@pytest.mark.parametrize("wrong", ["one is missing", "one is twice", "one is unknown"])
def test_an_order_that_is_not_of_this_list_is_refused(store: Store, wrong: str) -> None:
    a, b = store.add("a"), store.add("b")
    ids = {"one is missing": [b.id], "one is twice": [b.id, b.id], "one is unknown": [b.id, uuid4()]}[wrong]
    with store.database.transaction() as tx, pytest.raises(Conflict, match="reload it"):
        llm_providers.reorder(tx, ids, by="bob")
    assert [each.id for each in store.every()] == [a.id, b.id]


def test_every_change_has_a_newer_revision_and_so_has_a_deletion(store: Store) -> None:
    revisions = [store.newest_revision()]
    provider = store.add("a")
    revisions.append(store.newest_revision())
    store.update(provider.id, enabled=False)
    revisions.append(store.newest_revision())
    with store.database.transaction() as tx:
        llm_providers.delete(tx, provider)
    revisions.append(store.newest_revision())
    store.add("a")
    assert [*revisions, store.newest_revision()] == [0, 1, 2, 3, 4]


def test_the_newest_revision_is_never_that_of_a_change_that_overtook_another(store: Store) -> None:
    """A reader that has seen a revision has seen every change with a lower one."""
    slow_holds, began, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        with store.database.transaction() as tx:
            llm_providers.create(tx, store.vault, facts("slow"), key=None, by="ann")
            slow_holds.set()
            assert began.wait(30)
            assert not ended.wait(0.2)

    def fast() -> None:
        began.set()
        store.add("fast")
        ended.set()

    threads = [threading.Thread(target=slow), threading.Thread(target=fast)]
    threads[0].start()
    assert slow_holds.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert [(each.name, each.revision, each.position) for each in store.every()] == [("slow", 1, 1), ("fast", 2, 2)]


def test_an_unreadable_key_is_a_problem_of_its_entry_alone(store: Store) -> None:
    broken = store.add("a", key="sk-1")
    store.add("b", key="sk-2")
    with store.database.transaction() as tx:
        tx.execute("UPDATE vault_secrets SET sealed = '' WHERE credential_id = %s", [broken.id])
    first, second = store.opened()
    assert first.key is None
    assert first.problem is not None
    assert first.problem.startswith("the key is unreadable: ")
    assert second.key == "sk-2"
    locked = store.opened(Vault(store.database, NEW))
    assert all(each.problem and "VAULT_MASTER_KEY" in each.problem for each in locked)


def test_a_key_of_one_provider_does_not_open_as_that_of_another(store: Store) -> None:
    mine, other = store.add("a", key="sk-1"), store.add("b")
    with store.database.transaction() as tx:
        tx.execute("UPDATE vault_secrets SET credential_id = %s WHERE credential_id = %s", [other.id, mine.id])
    assert store.opened()[1].problem


def test_a_change_of_the_master_key_covers_providers(store: Store) -> None:
    store.add(key="sk-1")
    both = Vault(store.database, NEW, OLD)
    assert both.rotate(audit.SYSTEM) == 1
    assert store.opened(Vault(store.database, NEW))[0].key == "sk-1"
    assert [(key.secrets, key.is_current) for key in both.status()] == [(1, True)]


def test_a_locked_vault_stores_no_provider(store: Store) -> None:
    store.vault = Vault(store.database, NEW)
    with pytest.raises(VaultLocked):
        store.add(key="sk-1")
    assert store.every() == []
    assert store.add("without a key")


@pytest.mark.parametrize("field", ["secret", "provider_key"])
def test_the_vault_keeps_nothing_of_a_holder_that_is_not_there(store: Store, field: str) -> None:
    with pytest.raises(Conflict, match="fkey"), store.database.transaction() as tx:
        store.vault.seal(tx, uuid4(), field, "x")


def test_secrets_that_the_former_version_sealed_still_open(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = schema.migrations()
    database = Database(database_url)
    database.open()
    monkeypatch.setattr(schema, "migrations", lambda: [each for each in known if each[0] < 8])
    schema.migrate(database)
    monkeypatch.undo()
    vault = Vault(database, OLD)
    vault.unlock()
    words = Secrets("s", enable_secret="e")
    with database.transaction() as tx:
        credential = credentials.create(tx, vault, words, name="c", credential_type="ssh_password", username="u")
    schema.migrate(database)
    with database.transaction() as tx:
        assert [vault.open(tx, credential.id, field) for field in ("secret", "enable_secret")] == ["s", "e"]
        credentials.delete(tx, credential, within=EVERYWHERE)
        assert tx.execute("SELECT 1 FROM vault_secrets").fetchone() is None
    database.close()


def test_secrets_of_credentials_still_go_with_them(store: Store) -> None:
    with store.database.transaction() as tx:
        kept = llm_providers.create(tx, store.vault, facts(), key="sk-1", by="ann")
        words = Secrets("s", enable_secret="e")
        credential = credentials.create(tx, store.vault, words, name="c", credential_type="ssh_password", username="u")
        credentials.delete(tx, credential, within=EVERYWHERE)
        rows = tx.execute("SELECT credential_id, field FROM vault_secrets").fetchall()
    assert rows == [{"credential_id": kept.id, "field": "provider_key"}]


FIRST = [(facts("a"), "sk-1"), (facts("b"), None)]


def fill(store: Store) -> int:
    with store.database.transaction() as tx:
        return llm_providers.fill(tx, store.vault, FIRST)


def test_a_first_start_takes_the_list_once(store: Store) -> None:
    assert fill(store) == 2
    assert [(each.entry.name, each.key) for each in store.opened()] == [("a", "sk-1"), ("b", None)]
    assert fill(store) == 0
    with store.database.transaction() as tx:
        for provider in llm_providers.list_all(tx):
            llm_providers.delete(tx, provider)
    assert fill(store) == 0
    assert store.every() == []
    with store.database.transaction() as tx:
        rows = audit.list_page(tx, event="llm_provider.created")
    assert [(row["actor"], row["details"]) for row in rows] == [("system", {"name": "b"}), ("system", {"name": "a"})]


def test_a_list_that_an_administrator_began_is_not_filled(store: Store) -> None:
    store.add("mine")
    assert fill(store) == 0
    assert [each.name for each in store.every()] == ["mine"]


def test_a_first_start_that_failed_is_tried_again(store: Store) -> None:
    good, store.vault = store.vault, Vault(store.database, NEW)
    with pytest.raises(VaultLocked):
        fill(store)
    store.vault = good
    assert fill(store) == 2


def test_one_of_several_first_starts_fills_the_list(store: Store) -> None:
    counts: list[int] = []
    together = threading.Barrier(4)

    def start() -> None:
        together.wait(30)
        counts.append(fill(store))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(counts) == [0, 0, 0, 2]
    assert [each.name for each in store.every()] == ["a", "b"]


@pytest.mark.parametrize("wrong", [{"models": []}, {"type": "x"}, {"total_secs": 0.0}, {"max_concurrent": -1}])
def test_the_database_itself_refuses_what_no_call_could_be_made_with(store: Store, wrong: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        store.add(**wrong)


def test_ai_is_on_for_all_until_it_is_switched_off(database: Database) -> None:
    with database.transaction() as tx:
        assert system_settings.get(tx, AI) == Feature(enabled=True, disabled_roles=[])
        system_settings.put(tx, AI, Feature(enabled=True, disabled_roles=["viewer"]), "system")
        switch = system_settings.get(tx, AI)
    assert (switch.may_use("viewer"), switch.may_use("admin")) == (False, True)
    assert Feature(enabled=False).may_use("admin") is False


def test_a_switch_written_by_a_newer_version_is_read(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("INSERT INTO settings VALUES ('ai.enabled', '{\"enabled\": false, \"until\": 1}')")
        assert system_settings.get(tx, AI) == Feature(enabled=False)
