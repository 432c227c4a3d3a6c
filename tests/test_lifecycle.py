"""The drain of an instance: what is still in memory reaches PostgreSQL before the process ends."""

import gc
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from netstacks import greenlets, lifecycle
from netstacks.cluster.model import Snapshot
from netstacks.instance.drain_control import DrainControl
from netstacks.lifecycle import Lifecycle
from netstacks.recording.recorder import Recorder
from netstacks.services import Node
from netstacks.settings import Settings
from netstacks.store import audit, audit_chain
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database, Transaction
from netstacks.web.app import WAITING_ROOM, create_app


class Instance:
    """An instance that drains; the sessions, the agent and the witness are stand-ins."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.deferred_writes = DeferredWrites(database)
        self.recorder = Recorder(database)
        self.rows_at_the_end: list[dict[str, Any]] | None = None
        agent = SimpleNamespace(
            me=SimpleNamespace(id="here"),
            snapshot=Snapshot(0.0, {}),
            drain=lambda: None,
            record_event=lambda *_, **__: None,
            leave=self._leave,
        )
        services: Any = SimpleNamespace(
            settings=Settings(
                database_url="postgresql://localhost/unused", vault_master_key="5e" * 32, jwt_secret="s" * 40
            ),
            agent=agent,
            hub=_Hub(self.deferred_writes),
            recorder=self.recorder,
            deferred_writes=self.deferred_writes,
            drain_control=DrainControl(),
            consistency=SimpleNamespace(periodic=SimpleNamespace(wake=lambda: None), leave=lambda: None),
        )
        parts: Any = SimpleNamespace(
            stores=SimpleNamespace(
                spool=SimpleNamespace(keep=lambda leftovers: None), witness=SimpleNamespace(stop=lambda: None)
            ),
            trace_exporter=None,
        )
        self.lifecycle = Lifecycle(services, parts)
        waiting_room: Any = SimpleNamespace(hang_up=lambda: None)
        self.lifecycle._waiting_room = waiting_room
        self.recorder.start()
        self.deferred_writes.start()

    def _leave(self) -> None:
        with self.database.transaction() as tx:
            self.rows_at_the_end = audit.list_page(tx, event="test.handed_over")


class _Hub:
    """One session whose hand-over is audited by a slow write."""

    attached = 1

    def __init__(self, deferred_writes: DeferredWrites) -> None:
        self._deferred_writes = deferred_writes

    def __len__(self) -> int:
        return 1

    def hand_over_all(self, *_: object, **__: object) -> None:
        self._deferred_writes.put(_write_slowly)


def _write_slowly(tx: Transaction) -> None:
    greenlets.sleep(0.2)
    audit.append(tx, audit.SYSTEM, "test.handed_over", "session:1")


def test_audit_rows_that_still_wait_are_stored_before_a_drained_instance_leaves(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_DEFERRED_WRITES_SECS", 30.0)
    instance = Instance(database)
    instance.lifecycle.drain()
    assert instance.rows_at_the_end is not None
    assert len(instance.rows_at_the_end) == 1


def test_a_cancelled_drain_leaves_everything_running(database: Database) -> None:
    instance = Instance(database)
    services = instance.lifecycle._services
    calls: list[str] = []
    services.hub.reopen = lambda: calls.append("hub")  # type: ignore[method-assign]
    services.agent.resume = lambda: calls.append("agent")  # type: ignore[method-assign]
    services.health = SimpleNamespace(wake=lambda: calls.append("health"))  # type: ignore[assignment]
    services.drain_control.request()
    assert services.drain_control.request_cancel()
    assert not instance.lifecycle.drain(on_leaving=lambda: calls.append("leaving"))
    assert calls == ["hub", "agent", "health"]
    assert instance.rows_at_the_end is None
    assert instance.lifecycle.drain(on_leaving=lambda: calls.append("leaving"))
    assert calls[3:] == ["leaving"]


def test_a_drain_reports_how_many_audit_rows_are_lost_without_postgresql(database: Database) -> None:
    instance = Instance(database)
    instance.deferred_writes = instance.lifecycle._services.deferred_writes = DeferredWrites(database)
    instance.deferred_writes.put(_write_slowly)
    with structlog.testing.capture_logs() as logs:
        instance.lifecycle.drain()
    (lost,) = [entry for entry in logs if entry["event"] == "deferred_writes.lost"]
    assert (lost["log_level"], lost["rows"]) == ("error", 1)


def _backgrounds() -> list[greenlets.Background]:
    # By the type: `isinstance` follows a weak reference, whose object may be gone.
    return [each for each in gc.get_objects() if issubclass(type(each), greenlets.Background)]


def test_health_watches_every_greenlet_that_lives_as_long_as_the_process(database: Database) -> None:
    settings = Settings(database_url=database.url, vault_master_key="5e" * 32, jwt_secret="s" * 40)
    others = _backgrounds()
    node = Node(settings, "ctrl-1")
    try:
        node.lifecycle._waiting_room = create_app(node.services).extensions[WAITING_ROOM]
        made = [each for each in _backgrounds() if each not in others]
        watched = {each.name for each in node.lifecycle._backgrounds()}
        # A health monitor that has died is noticed by the age of its facts.
        assert watched == {each.name for each in made} - {"health"}
    finally:
        for each in (node.services.database, node.services.routing_database, node.services.recorder._database):
            each.close()


def test_the_upkeep_of_the_audit_log_uses_no_connection_of_recordings_and_health(database: Database) -> None:
    with database.transaction() as tx:
        audit.append(tx, audit.SYSTEM, "test.event", "x")
    node = Node(Settings(database_url=database.url, vault_master_key="5e" * 32, jwt_secret="s" * 40), "ctrl-1")
    try:
        node.services.recorder._database.close()
        node.lifecycle._parts.audit_upkeep.seal()
    finally:
        for each in (node.services.database, node.services.routing_database, node.services.recorder._database):
            each.close()
    with database.transaction() as tx:
        assert audit_chain.state(tx).rows == 1
