"""The consistency watch on a real PostgreSQL: which rows count, and what is reported when."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog.testing

from netstacks.cluster.instance_rows import NO_REGISTRY, UNKNOWN_REGISTRY, InstanceRow
from netstacks.cluster.model import Instance
from netstacks.cluster.routing import Witness
from netstacks.errors import RegistryUnavailable
from netstacks.instance.consistency_watch import ConsistencyWatch
from netstacks.registry.memory import MemoryRegistry
from netstacks.registry.valkey import open_registry
from netstacks.store import instance_settings
from netstacks.store.pool import Database
from tests.cluster.facts import instance
from tests.valkey import Valkey

TTL = "HA_STALE_INSTANCE_TTL_SECS"


class Registry(MemoryRegistry):
    """A Valkey with the id `id`, or one that does not answer."""

    is_shared = True
    id: str | None = "V"

    def cluster_id(self, known: str = "") -> str:
        if self.id is None:
            raise RegistryUnavailable("away")
        return self.id


class Node:
    """One instance on the database; `looks` is one look of its watch and returns the lines that it logs."""

    def __init__(self, database: Database, name: str, ttl: str = "30", registry: MemoryRegistry | None = None) -> None:
        self.registry = registry or Registry()
        self.events: list[tuple[str, str]] = []
        self.agent = SimpleNamespace(me=instance(name), is_draining=False, record_event=self._record_event)
        self.witnesses: dict[str, Witness] = {}
        self.dials = SimpleNamespace(reached=1, unreachable={})
        witness = SimpleNamespace(of_all=lambda ids: {each: self.witnesses.get(each, "held") for each in ids})
        self.on_another_database: list[Instance] = []
        others = SimpleNamespace(look=lambda known: [each for each in self.on_another_database if each.id not in known])
        self.watch = ConsistencyWatch(
            *cast(Any, (self.agent, self.registry, database, witness, self.dials, others)),
            settings={TTL: ttl},
            heartbeat_secs=5,
        )

    def _record_event(self, kind: str, instance_id: str, **details: str) -> None:
        assert details["problem"]
        assert details["remedy"]
        self.events.append((kind, instance_id))

    def looks(self) -> list[str]:
        with structlog.testing.capture_logs() as logged:
            self.watch.look()
        return [each["event"] for each in logged]

    @property
    def problems(self) -> list[str]:
        return [each.key for each in self.watch.problems()]


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


def settled(*nodes: Node) -> None:
    """Enough looks of all of them that everything true is reported."""
    for _ in range(4):
        for node in nodes:
            node.watch.look()


def rows(database: Database) -> list[InstanceRow]:
    with database.transaction() as tx:
        return instance_settings.read_all(tx)


def age(database: Database, instance_id: str, secs: float) -> None:
    with database.transaction() as tx:
        tx.execute(
            "UPDATE instance_settings SET seen_at = now() - make_interval(secs => %s) WHERE instance_id = %s",
            [secs, instance_id],
        )


def test_a_row_tells_all_but_secrets(database: Database) -> None:
    node = Node(database, "ctrl-a")
    node.dials.unreachable = {"ctrl-b": "no answer"}
    node.watch.look()
    [row] = rows(database)
    me = node.agent.me
    assert (row.id, row.host, row.peer_address, row.version) == (me.id, me.host, me.peer_address, me.version)
    assert (row.registry, row.settings, row.secrets) == ("V", {TTL: "30"}, me.secrets_fingerprint)
    assert (row.reached, row.unreachable) == (1, {"ctrl-b": "no answer"})
    assert 0 <= row.age_secs < 30


def test_a_difference_is_reported_once_and_its_end_as_well(database: Database) -> None:
    a, b = Node(database, "ctrl-a"), Node(database, "ctrl-b", "60")
    lines = [line for _ in range(5) for node in (a, b) for line in node.looks()]
    assert lines == ["consistency.differs"] * 2
    assert a.problems == b.problems == [f"setting {TTL}"]
    assert (a.events, b.events) == ([("inconsistent", "ctrl-a")], [])
    b.watch.leave()
    assert [line for _ in range(3) for line in a.looks()] == ["consistency.agrees"]
    assert a.problems == []


def test_instances_that_join_record_no_second_event(database: Database) -> None:
    b, c = Node(database, "ctrl-b"), Node(database, "ctrl-c", "60")
    settled(b, c)
    a = Node(database, "ctrl-a")
    settled(a, b, c)
    assert a.problems == [f"setting {TTL}"]
    assert (a.events, b.events, c.events) == ([], [("inconsistent", "ctrl-b")], [])


def test_instances_with_different_registries_record_it_in_each(database: Database) -> None:
    a, b = Node(database, "ctrl-a", registry=MemoryRegistry()), Node(database, "ctrl-b")
    settled(a, b)
    assert a.problems == b.problems == ["registry"]
    assert (a.events, b.events) == ([("inconsistent", "ctrl-a")], [("inconsistent", "ctrl-b")])


def test_an_instance_of_the_registry_on_another_database_is_reported_until_it_has_a_row(database: Database) -> None:
    a, b = Node(database, "ctrl-a"), Node(database, "ctrl-b")
    a.on_another_database = [instance("ctrl-b")]
    a.looks()
    assert a.looks() == ["consistency.differs"]
    assert a.problems == ["database"]
    assert a.events == [("inconsistent", "ctrl-a")]
    b.watch.look()
    a.looks()
    assert a.looks() == ["consistency.agrees"]


def test_an_address_that_is_not_reached_is_an_event_of_that_instance(database: Database) -> None:
    a, b = Node(database, "ctrl-a"), Node(database, "ctrl-b")
    a.dials.reached, a.dials.unreachable = 0, {"ctrl-b": "no answer"}
    settled(a, b)
    assert a.problems == b.problems == ["unreachable ctrl-b"]
    assert a.events == [("inconsistent", "ctrl-b")]


@pytest.mark.parametrize("state", ["free", "silent"])
def test_a_dead_or_frozen_instance_does_not_count(database: Database, state: Witness) -> None:
    a, b = Node(database, "ctrl-a"), Node(database, "ctrl-b", "60")
    a.witnesses["ctrl-b"] = state
    settled(a, b)
    assert a.problems == []


@pytest.mark.parametrize("state", ["free", "unknown", "held"])
def test_the_row_of_a_killed_instance_never_alarms_its_replacement(database: Database, state: Witness) -> None:
    old = Node(database, "ctrl-old", registry=MemoryRegistry())
    settled(old)
    new = Node(database, "ctrl-new", registry=MemoryRegistry())
    new.witnesses["ctrl-old"] = state
    for _ in range(4):
        assert new.looks() == []
    assert new.problems == []


def test_rows_that_are_not_renewed_stop_counting_and_are_removed(database: Database) -> None:
    a, b = Node(database, "ctrl-a"), Node(database, "ctrl-b", "60")
    settled(a, b)
    age(database, "ctrl-b", 30)
    a.looks()
    assert a.looks() == ["consistency.agrees"]
    age(database, "ctrl-b", 61)
    a.looks()
    assert [each.id for each in rows(database)] == ["ctrl-a"]


def test_one_look_that_misses_or_finds_a_difference_is_not_reported(database: Database) -> None:
    a, b = Node(database, "ctrl-a"), Node(database, "ctrl-b", "60")
    settled(a, b)
    a.witnesses["ctrl-b"] = "free"
    assert a.looks() == []
    a.witnesses.clear()
    assert a.looks() == []
    assert a.problems == [f"setting {TTL}"]
    b.agent.is_draining = True
    b.watch.look()
    settled(a)
    assert a.problems == []
    b.agent.is_draining = False
    b.watch.look()
    assert a.looks() == []
    b.watch.leave()
    assert a.looks() == []
    assert a.looks() == []


def test_an_instance_that_drains_says_so(database: Database) -> None:
    node = Node(database, "ctrl-a")
    node.agent.is_draining = True
    node.watch.look()
    assert [each.is_draining for each in rows(database)] == [True]
    node.watch.leave()
    assert rows(database) == []


def test_while_valkey_is_away_its_last_known_id_stays(database: Database) -> None:
    registry = Registry()
    registry.id = None
    node = Node(database, "ctrl-a", registry=registry)
    node.watch.look()
    assert [each.registry for each in rows(database)] == [UNKNOWN_REGISTRY]
    for registry.id in ("V", None):
        node.watch.look()
        assert [each.registry for each in rows(database)] == ["V"]


def test_why_valkey_is_not_used_is_in_the_row(database: Database) -> None:
    Node(database, "ctrl-a", registry=MemoryRegistry(why="needs a licence")).watch.look()
    assert [(each.registry, each.why_no_registry) for each in rows(database)] == [(NO_REGISTRY, "needs a licence")]


def test_without_postgresql_the_problems_stay_as_they_are(database: Database) -> None:
    a, b = Node(database, "ctrl-a"), Node(database, "ctrl-b", "60")
    settled(a, b)
    database.close()
    assert a.looks() == []
    assert a.problems == [f"setting {TTL}"]
    a.watch.leave()


def test_facts_of_another_version_do_no_harm(database: Database) -> None:
    node = Node(database, "ctrl-a")
    with database.transaction() as tx:
        for name, facts in (
            ("x", "[]"),
            ("y", '{"settings": 5, "reached": "?", "recorded": [1], "unreachable": {"z": 1}}'),
        ):
            tx.execute(
                "INSERT INTO instance_settings (instance_id, host, peer_address, version, registry, facts)"
                " VALUES (%s, 'h', '', '9', 'V', %s)",
                [name, facts],
            )
    settled(node)
    assert node.problems == []
    assert [each.id for each in rows(database)] == ["ctrl-a", "x", "y"]


def test_the_id_of_a_valkey_is_the_same_for_all_and_comes_back_after_a_loss(valkey: Valkey) -> None:
    first, second = open_registry(valkey.url, None, ""), open_registry(valkey.url, None, "")
    known = first.cluster_id()
    assert known == second.cluster_id() == second.cluster_id(known)
    assert known not in ("", NO_REGISTRY)
    valkey.kill()
    valkey.wipe()
    with pytest.raises(RegistryUnavailable):
        first.cluster_id(known)
    valkey.start()
    # Before any heartbeat: the breaker of the registry stays open for a moment.
    first.breaker.reset()
    assert first.cluster_id(known) == known
    assert second.cluster_id() == known


def test_two_valkeys_have_different_ids(valkey: Valkey) -> None:
    other = Valkey().start()
    try:
        ids = {open_registry(each.url, None, "").cluster_id() for each in (valkey, other)}
    finally:
        other.destroy()
    assert len(ids) == 2


def test_a_foreign_value_in_place_of_the_id_is_reported(valkey: Valkey) -> None:
    registry = open_registry(valkey.url, None, "")
    registry._client.rpush("netstacks:cluster", "foreign")
    assert registry.cluster_id("known") == "known"
    assert list(registry.unreadable()) == ["netstacks:cluster"]
