"""The list of providers as an instance knows it: fresh after a change, never empty for a fault, clients kept."""

import secrets
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from netstacks import greenlets
from netstacks.errors import NotFound, StoreUnavailable
from netstacks.llm.client import ProviderClient
from netstacks.llm.conversation import ChatRequest, Message, Piece, Text, TextDelta
from netstacks.llm.directory import Defaults, Directory
from netstacks.llm.provider import Provider
from netstacks.store import audit, llm_providers, system_settings
from netstacks.store.llm_providers import StoredProvider
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AI
from netstacks.store.setting_types import Feature
from netstacks.store.vault import Vault
from tests.llm import scripted_provider as scripted
from tests.llm.scripted_provider import ScriptedProvider
from tests.waits import until

MASTER_KEY, NEXT_KEY = secrets.token_hex(32), secrets.token_hex(32)
ASKED = ChatRequest((Message("user", (Text("Is r1 alive?"),)),))


@dataclass
class FakeClient:
    """Of one revision of an entry."""

    provider: Provider
    is_closed: bool = False

    def stream(self, request: ChatRequest, model: str, *, total_secs: float) -> Generator[Piece]:
        raise NotImplementedError

    def canary(self, model: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class World:
    """A directory over a database, with an administrator that changes the list."""

    def __init__(self, database: Database, vault: Vault | None = None) -> None:
        self.database = database
        self.vault = Vault(database, MASTER_KEY)
        self.vault.unlock()
        self.made: list[FakeClient] = []
        defaults = Defaults(first_token_secs=15, total_secs=30)
        self.directory = Directory(database, vault or self.vault, defaults, self.make, interval_secs=60)

    def make(self, provider: Provider) -> FakeClient:
        self.made.append(FakeClient(provider))
        return self.made[-1]

    def add(self, name: str, key: str | None = None, **changed: Any) -> StoredProvider:
        facts = {
            "name": name,
            "type": "openai",
            "base_url": "http://llm/v1",
            "models": ["m1", "m2"],
            "enabled": True,
            "connect_secs": None,
            "first_token_secs": None,
            "total_secs": None,
            "max_concurrent": 0,
            "daily_tokens": 0,
            **changed,
        }
        with self.database.transaction() as tx:
            return llm_providers.create(tx, self.vault, facts, key=key, by="ann")

    def update(self, provider_id: UUID, **changed: Any) -> None:
        with self.database.transaction() as tx:
            old = llm_providers.lock(tx, provider_id)
            llm_providers.update(tx, self.vault, old, changed, key=None, by="ann")

    def delete(self, provider_id: UUID) -> None:
        with self.database.transaction() as tx:
            llm_providers.delete(tx, llm_providers.lock(tx, provider_id))

    def names(self) -> list[str]:
        self.directory.refresh()
        return [provider.name for provider in self.directory.providers()]

    def only(self) -> Provider:
        self.directory.refresh()
        (provider,) = self.directory.providers()
        return provider


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_every_kind_of_change_is_seen(world: World) -> None:
    assert world.names() == []
    a, b = world.add("a"), world.add("b")
    assert world.names() == ["a", "b"]
    world.update(b.id, name="c")
    assert world.names() == ["a", "c"]
    with world.database.transaction() as tx:
        llm_providers.reorder(tx, [b.id, a.id], by="ann")
    assert world.names() == ["c", "a"]
    world.update(a.id, enabled=False)
    assert world.names() == ["c"]
    assert world.directory.provider(a.id).enabled is False
    assert [provider.name for provider in world.directory.configured()] == ["c", "a"]
    world.delete(b.id)
    assert world.names() == []
    with pytest.raises(NotFound):
        world.directory.provider(b.id)


def test_asking_takes_no_database(world: World) -> None:
    world.add("a")
    assert world.names() == ["a"]
    world.database.close()
    assert [provider.name for provider in world.directory.providers()] == ["a"]
    assert world.directory.may_use("viewer")
    with pytest.raises(StoreUnavailable):
        world.directory.refresh()
    assert [provider.name for provider in world.directory.providers()] == ["a"]


def test_an_unchanged_list_is_not_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add("a", key="sk-1")
    world.directory.refresh()
    monkeypatch.delattr(llm_providers, "with_keys")
    world.directory.refresh()
    world.add("b")
    with pytest.raises(AttributeError):
        world.directory.refresh()


def test_a_time_that_an_entry_does_not_name_is_the_default(world: World) -> None:
    world.add("a", total_secs=100.0)
    provider = world.only()
    assert (provider.connect_secs, provider.first_token_secs, provider.total_secs) == (5, 15, 100)
    assert (provider.models, provider.dialect, provider.key) == (("m1", "m2"), "chat_completions", None)


def test_an_entry_that_cannot_be_used_is_no_obstacle_to_the_others(world: World) -> None:
    broken = world.add("broken", key="sk-1")
    world.add("whole", key="sk-2")
    with world.database.transaction() as tx:
        tx.execute("UPDATE vault_secrets SET sealed = '' WHERE credential_id = %s", [broken.id])
    assert world.names() == ["whole"]
    assert world.directory.providers()[0].key == "sk-2"
    assert (world.directory.problem(broken.id) or "").startswith("the key is unreadable")
    with pytest.raises(NotFound, match="cannot be used"):
        world.directory.provider(broken.id)


def test_a_type_of_a_newer_version_is_no_obstacle_either(world: World) -> None:
    unknown = world.add("unknown")
    world.add("known")
    with world.database.transaction() as tx:
        tx.execute("ALTER TABLE llm_providers DROP CONSTRAINT llm_providers_type_check")
        tx.execute("UPDATE llm_providers SET type = 'gemini' WHERE id = %s", [unknown.id])
    assert world.names() == ["known"]
    assert world.directory.problem(unknown.id) == "this version of the controller does not know the type gemini"


def test_a_key_that_becomes_readable_is_read_without_a_change_of_the_entry(database: Database) -> None:
    world = World(database, Vault(database, NEXT_KEY))
    world.add("a", key="sk-1")
    assert world.names() == []
    Vault(database, NEXT_KEY, MASTER_KEY).rotate(audit.SYSTEM)
    assert world.names() == ["a"]
    assert world.directory.providers()[0].key == "sk-1"


def test_a_client_is_made_when_it_is_asked_for_and_kept(world: World) -> None:
    world.add("a")
    world.add("b")
    world.directory.refresh()
    provider = world.directory.providers()[0]
    assert world.made == []
    first = world.directory.client(provider)
    world.directory.refresh()
    assert world.directory.client(world.directory.providers()[0]) is first
    assert [made.provider for made in world.made] == [provider]


@pytest.mark.parametrize("change", ["updated", "moved", "deleted"])
def test_the_client_of_an_entry_that_changed_is_closed_and_no_other(world: World, change: str) -> None:
    entry, other = world.add("a"), world.add("b")
    world.directory.refresh()
    for provider in world.directory.providers():
        world.directory.client(provider)
    match change:
        case "updated":
            world.update(entry.id, models=["m3"])
        case "moved":
            third = world.add("c")
            with world.database.transaction() as tx:
                llm_providers.reorder(tx, [third.id, other.id, entry.id], by="ann")
        case "deleted":
            world.delete(entry.id)
    world.directory.refresh()
    assert [(made.provider.name, made.is_closed) for made in world.made] == [("a", True), ("b", False)]


def test_a_call_by_a_list_that_was_replaced_meanwhile_leaves_no_client(world: World) -> None:
    entry = world.add("a")
    old = world.only()
    world.update(entry.id, models=["m3"])
    new = world.only()
    late, kept = world.directory.client(old), world.directory.client(new)
    assert late is not kept
    assert [(made.provider, made.is_closed) for made in world.made] == [(old, True), (new, False)]
    assert world.directory.client(new) is kept


def test_a_call_that_is_under_way_when_its_entry_changes_goes_on(world: World) -> None:
    with ScriptedProvider() as server:
        server.always(scripted.answer("one two three"))
        defaults = Defaults(first_token_secs=15, total_secs=30)
        directory = Directory(world.database, world.vault, defaults, ProviderClient, interval_secs=60)
        entry = world.add("a", type="custom", base_url=server.chat_url)
        directory.refresh()
        old = directory.providers()[0]
        pieces = directory.client(old).stream(ASKED, "m1", total_secs=20)
        said = [next(pieces)]
        world.update(entry.id, models=["m3"])
        directory.refresh()
        said += pieces
        late = list(directory.client(old).stream(ASKED, "m1", total_secs=20))
        for each in (said, late):
            assert "".join(piece.text for piece in each if isinstance(piece, TextDelta)) == "one two three"
        while server.open_connections:
            greenlets.sleep(0.01)
        list(directory.client(directory.providers()[0]).stream(ASKED, "m3", total_secs=20))
        assert server.open_connections == 1


def test_the_switch_is_seen_without_a_change_of_the_list(world: World) -> None:
    world.add("a")
    world.directory.refresh()
    assert (world.directory.is_on, world.directory.may_use("viewer")) == (True, True)
    with world.database.transaction() as tx:
        system_settings.put(tx, AI, Feature(enabled=True, disabled_roles=["viewer"]), "system")
    world.directory.refresh()
    assert [world.directory.may_use(role) for role in ("admin", "viewer")] == [True, False]
    with world.database.transaction() as tx:
        system_settings.put(tx, AI, Feature(enabled=False), "system")
    world.directory.refresh()
    assert (world.directory.is_on, world.directory.may_use("admin")) == (False, False)


def test_it_looks_by_itself_and_a_database_that_is_away_is_no_fault(world: World) -> None:
    world.add("a")
    rounds = world.directory.periodic
    world.directory.start()
    until(world.directory.providers, "the first look")
    world.database.close()
    with capture_logs() as logged:
        rounds.wake()
        # Greenlets of earlier tests may log beside it.
        found = until(lambda: [each for each in logged if each["event"].startswith(("llm.", "periodic."))], "a look")
    rounds.stop()
    assert [(line["event"], line["log_level"]) for line in found] == [("llm.directory_waits", "debug")]
    assert [provider.name for provider in world.directory.providers()] == ["a"]


def test_an_unknown_provider_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.directory.provider(uuid4())
