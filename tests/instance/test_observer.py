"""The view of operators: shared, patient only to a bound, and kept while Valkey or PostgreSQL is away."""

import time
from typing import Any

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Event, Instance, LostInstance, Snapshot
from netstacks.errors import NotFound, RegistryUnavailable, StoreBusy, StoreUnavailable
from netstacks.instance import database_look, observer
from netstacks.instance.database_look import DatabaseLook
from netstacks.instance.observer import Observer
from netstacks.instance.shared_query import SharedQuery
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.base import RegistryStatus
from netstacks.registry.memory import MemoryRegistry
from netstacks.store.pool import Database
from tests.rows import make_session
from tests.waits import until

ONE = Instance("ctrl-a", "host", "127.0.0.1:1", 0.0, "1", "active", "", pid=1)


class Registry(MemoryRegistry):
    """A registry that can hang or be away, and that counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.answers = greenlets.Event()
        self.answers.set()
        self.asked = 0
        self.register(ONE)

    def snapshot(self) -> Snapshot:
        self.asked += 1
        self.answers.wait()
        if self.is_away:
            raise RegistryUnavailable("Valkey: connection refused")
        return super().snapshot()

    def events(self, limit: int = 50) -> list[Event]:
        if self.is_away:
            raise RegistryUnavailable("Valkey: connection refused")
        return super().events(limit)

    def status(self) -> RegistryStatus:
        return RegistryStatus("disconnected", "plain", error="refused") if self.is_away else RegistryStatus("connected")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "FRESH_SECS", 0)
    monkeypatch.setattr(observer, "PATIENCE_SECS", 0.05)
    monkeypatch.setattr(database_look, "FRESH_SECS", 0)
    # Not of PostgreSQL, on a machine that pauses.
    monkeypatch.setattr(database_look, "_TIMEOUT_SECS", 30.0)


def test_concurrent_viewers_share_one_query(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "FRESH_SECS", 60)
    watcher = Observer(registry, PeerClocks())
    views: list[Any] = []
    greenlets.joinall([greenlets.spawn("viewer", lambda: views.append(watcher.look())) for _ in range(50)])
    assert registry.asked == 1
    assert all(view is views[0] for view in views)
    assert set(views[0].snapshot.instances) == {"ctrl-a"}


@pytest.mark.usefixtures("impatient")
def test_a_registry_that_hangs_is_waited_for_once(registry: Registry) -> None:
    watcher = Observer(registry, PeerClocks())
    before = watcher.look()
    registry.answers.clear()
    hanging = watcher.look()
    assert (hanging.registry.connection, hanging.registry.error) == ("disconnected", "Valkey: no answer yet")
    assert hanging.snapshot is before.snapshot
    # The same call is not waited for again, and no second one is made.
    assert all(watcher.look() is hanging for _ in range(1000))
    assert registry.asked == 2
    registry.answers.set()
    until(lambda: watcher.look().registry.connection == "connected", "the answer")


@pytest.mark.usefixtures("impatient")
def test_what_was_seen_stays_while_the_registry_is_away(registry: Registry) -> None:
    registry.record_event("failover", "ctrl-a", sessions="1", former="a:1", address="b:1")
    watcher = Observer(registry, PeerClocks())
    before = watcher.look()
    registry.is_away = True
    after = watcher.look()
    assert (after.registry.connection, after.registry.error) == ("disconnected", "refused")
    assert (after.snapshot, after.events, after.seen_at) == (before.snapshot, before.events, before.seen_at)
    assert after.failover is not None
    assert after.failover.details["address"] == "b:1"


@pytest.mark.usefixtures("impatient")
def test_an_outage_before_the_first_look_shows_what_the_last_heartbeat_has_seen(registry: Registry) -> None:
    seen = Snapshot(1_700_000_000.0, {"ctrl-a": ONE})
    registry.is_away = True
    view = Observer(registry, PeerClocks(), last_snapshot=lambda: seen).look()
    assert (view.snapshot, view.seen_at) == (seen, 1_700_000_000.0)
    nothing = Observer(registry, PeerClocks()).look()
    assert (nothing.snapshot.instances, nothing.seen_at) == ({}, None)


@pytest.mark.usefixtures("impatient")
def test_the_last_failover_is_found_among_many_events(registry: Registry) -> None:
    registry.record_event("failover", "ctrl-a", sessions="1", former="v1:6379", address="v2:6379")
    for _ in range(200):
        registry.record_event("joined", "ctrl-b")
    watcher = Observer(registry, PeerClocks())
    assert watcher.look().failover is not None
    assert len(watcher.look().events) == observer.SHOWN_EVENTS
    assert watcher.look().failover is not None
    assert len(watcher.events()) == 201


@pytest.mark.usefixtures("impatient")
def test_a_lost_instance_is_dismissed_once(registry: Registry) -> None:
    registry._lost["ctrl-x"] = LostInstance("ctrl-x", "h", "", "1", 0.0, 0.0, time.time(), 1, "ctrl-a", "silence")
    watcher = Observer(registry, PeerClocks())
    assert [each.id for each in watcher.look().lost] == ["ctrl-x"]
    assert watcher.instance_ids() == ["ctrl-a", "ctrl-x"]
    watcher.dismiss("ctrl-x", by="lee")
    assert watcher.look().lost == ()
    with pytest.raises(NotFound):
        watcher.dismiss("ctrl-x", by="lee")
    assert [(each.kind, each.instance_id, each.details) for each in registry.events(1)] == [
        ("dismissed", "ctrl-x", {"by": "lee"})
    ]


def test_an_expired_look_runs_again_even_if_a_run_was_under_way() -> None:
    runs: list[greenlets.Event] = []

    def run() -> None:
        runs.append(greenlets.Event())
        runs[-1].wait()

    look = SharedQuery("test", run)
    assert not look.refresh(60, 0)
    until(lambda: runs, "the first run")
    look.expire()
    runs[0].set()
    # The first one began before something changed.
    until(lambda: look.refresh(60, 0) or len(runs) == 2, "the second run")
    until(lambda: len(runs) == 2, "the second run")
    runs[1].set()
    until(lambda: look.refresh(60, 0), "its end")
    assert look.refresh(60, 10)
    assert len(runs) == 2


def test_a_look_that_failed_says_so() -> None:
    def fail() -> None:
        raise ValueError("malformed")

    look = SharedQuery("test", fail)
    assert not look.refresh(60, 10)
    assert look.has_failed


@pytest.mark.usefixtures("impatient")
def test_the_figures_of_postgresql_stay_while_it_is_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    make_session(database, owner="ctrl-a")
    make_session(database, owner="ctrl-x")
    look = DatabaseLook(database)
    before = look.look(["ctrl-a"], ["ctrl-x"], 10)
    assert (before.connection, before.unowned) == ("connected", 1)
    assert before.lost_counts is not None
    assert before.lost_counts["ctrl-x"].waiting == 1
    assert before.figures is not None
    assert before.figures.connections_limit >= (before.figures.connections or 0) > 0

    def fail(error: Exception) -> None:
        def transaction(**_: Any) -> Any:
            raise error

        monkeypatch.setattr(database, "transaction", transaction)

    fail(StoreUnavailable("the database is not reachable"))
    after = look.look(["ctrl-a"], ["ctrl-x"], 10)
    assert (after.connection, after.error) == ("disconnected", "the database is not reachable")
    assert (after.figures, after.seen_at) == (before.figures, before.seen_at)
    assert (after.unowned, after.lost_counts) == (None, None)
    assert look.look(["ctrl-a"], ["ctrl-x"], 10) is after
    fail(StoreBusy("all connections are busy"))
    assert look.look(["ctrl-a"], ["ctrl-x"], 10).connection == "connected"


@pytest.mark.usefixtures("impatient")
def test_the_figures_of_postgresql_are_read_less_often_than_the_counts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_look, "FIGURES_SECS", 600)
    look = DatabaseLook(database)
    first = look.look([], [], 10)
    make_session(database, owner="ctrl-x")
    second = look.look([], [], 10)
    assert (first.unowned, second.unowned) == (0, 1)
    assert second.figures is first.figures
    monkeypatch.setattr(database_look, "FIGURES_SECS", 0)
    assert look.look([], [], 10).figures is not first.figures


@pytest.mark.usefixtures("impatient")
def test_without_known_instances_no_session_counts_as_without_owner(database: Database) -> None:
    make_session(database, owner="ctrl-a")
    assert DatabaseLook(database).look(None, [], 10).unowned is None
