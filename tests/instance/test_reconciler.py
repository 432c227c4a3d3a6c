"""The reconciler on real rows: what is held against the rows, the rows against what is held, and orphans."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Outcome, Witness
from netstacks.errors import PeerFailed, RegistryUnavailable
from netstacks.instance import reconciler
from netstacks.instance.agent import Agent
from netstacks.instance.holdings import Holdings
from netstacks.instance.reconciler import Reconciler
from netstacks.peer.client import NoAnswer, Reply
from netstacks.recording import storage
from netstacks.recording.chunks import Event, EventKind, make_chunk, verify
from netstacks.recording.recorder import Recorder
from netstacks.recording.spool import Leftover, Spool
from netstacks.recording.storage import Batch
from netstacks.registry.memory import MemoryRegistry
from netstacks.store import audit, sessions
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.held_sessions import Held, Page, differences
from netstacks.store.pool import Database
from netstacks.store.sessions import SessionRow
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session
from netstacks.terminal.session_facts import State
from tests.cluster.facts import SharedRegistry, instance
from tests.controller import until
from tests.instance.test_agent import Clock
from tests.rows import make_session
from tests.terminal.test_hub import add

TTL_SECS = 30.0
DETACH_TTL_SECS = 300.0
ADDRESS = "192.0.2.7:7000"


@dataclass
class Surroundings:
    """The other instances as seen from this one: their witnesses, and the outcomes of dials."""

    witnesses: dict[str, Witness] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    dialled: list[str] = field(default_factory=list)

    def of_all(self, instance_ids: list[str]) -> dict[str, Witness]:
        return {each: self.witnesses.get(each, "free") for each in instance_ids}

    def call(self, peer: Peer, path: str) -> Reply | NoAnswer:
        self.dialled.append(peer.id)
        match self.outcomes.get(peer.id, "refused"):
            case "confirmed":
                return Reply(None)
            case "declined":
                raise PeerFailed("it answered 503")
            case outcome:
                return NoAnswer(outcome)


class World:
    """This instance, `me`, in contact with the registry for longer than the TTL."""

    def __init__(self, database: Database, folder: Path, registry: type[MemoryRegistry]) -> None:
        self.database = database
        self.clock = Clock()
        self.around = Surroundings()
        self.registry = registry(self.clock)
        self.deferred_writes = DeferredWrites(database)
        self.deferred_writes.start()
        self.hub = Hub(self.deferred_writes, detach_ttl_secs=60, close_grace_secs=10)
        self.recorder = Recorder(database)
        self.holdings = Holdings(self.hub, self.recorder)
        self.spool = Spool(folder)
        self.spool.prepare()
        self.agent = Agent(
            instance("me"), self.registry, self.hub, interval_secs=5.0, ttl_secs=TTL_SECS, clock=self.clock
        )
        self.agent.heartbeat()
        self.clock.now += TTL_SECS + 1
        self.agent.heartbeat()
        self.reconciler = self.of(database)

    def of(self, database: Database) -> Reconciler:
        around: Any = self.around
        return Reconciler(
            agent=self.agent,
            registry=self.registry,
            database=database,
            witness=around,
            peers=around,
            holdings=self.holdings,
            spool=self.spool,
            ttl_secs=TTL_SECS,
            detach_ttl_secs=DETACH_TTL_SECS,
        )

    def held(self, *, attached: bool = True) -> Session:
        session = add(self.hub, "r1", attached=attached, silent_secs=0, recorder=self.recorder)
        make_session(self.database, session_id=session.id, user_id=session.facts.user_id, owner="me")
        return session

    def row(self, session_id: UUID) -> SessionRow:
        with self.database.transaction() as tx:
            found = sessions.find(tx, session_id)
        assert found is not None
        return found

    def orphan(self, owner: str = "gone", *, address: str | None = ADDRESS, detached_secs: float | None = None) -> UUID:
        session_id = make_session(self.database, owner=owner, owner_address=address)
        if detached_secs is not None:
            with self.database.transaction() as tx:
                tx.execute(
                    "UPDATE sessions SET state = 'detached', detached_at = now() - make_interval(secs => %s)"
                    " WHERE id = %s",
                    (detached_secs, session_id),
                )
        return session_id

    def notes(self, session_id: UUID) -> str:
        chunks = list(storage.chunks(self.database, session_id))
        assert verify(chunks) is None
        events = [event for chunk in chunks for event in chunk.unpacked()]
        return "\n".join(event.payload.decode() for event in events if event.kind is EventKind.NOTE)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path, SharedRegistry)


@pytest.fixture
def alone(database: Database, tmp_path: Path) -> World:
    """An instance without a shared registry, which sees itself only."""
    return World(database, tmp_path, MemoryRegistry)


# What this instance holds, against the rows.


def test_our_own_sessions_stay(world: World) -> None:
    session = world.held()
    world.reconciler.look()
    assert session.is_live
    assert (world.row(session.id).owner, world.row(session.id).epoch) == ("me", 1)


def test_a_session_that_was_ended_elsewhere_ends_here_with_the_same_reason(world: World) -> None:
    ended, other = world.held(), world.held()
    with world.database.transaction() as tx:
        sessions.end(tx, ended.id, 1, "by another")
    world.reconciler.look()
    assert (ended.state, ended.end_reason) == (State.ENDED, "by another")
    assert other.is_live


def test_a_session_that_moved_on_is_fenced_here(world: World) -> None:
    session = world.held()
    with world.database.transaction() as tx:
        sessions.release(tx, session.id, 1)
    world.reconciler.look()
    assert session.state is State.FENCED


def test_a_session_whose_end_is_requested_is_ended_by_its_owner_and_not_over_its_head(world: World) -> None:
    session = world.held()
    with world.database.transaction() as tx:
        assert sessions.end_all_of(tx, session.facts.user_id, "access was withdrawn") == ([], [session.id])
    assert (world.row(session.id).state, world.row(session.id).epoch) == ("active", 1)
    world.reconciler.look()
    assert (session.state, session.end_reason) == (State.ENDED, "access was withdrawn")


def test_a_row_that_calls_an_attached_session_detached_is_corrected(world: World) -> None:
    session = world.held()
    with world.database.transaction() as tx:
        sessions.mark_detached(tx, session.id, 1)
    world.reconciler.look()
    until(lambda: world.deferred_writes.flush(0.1) and world.row(session.id).state == "active", "the correction")
    assert world.row(session.id).detached_at is None


def test_a_session_whose_row_is_gone_is_fenced_here(world: World) -> None:
    session = world.held()
    with world.database.transaction() as tx:
        tx.execute("DELETE FROM sessions WHERE id = %s", (session.id,))
    world.reconciler.look()
    assert session.state is State.FENCED


def test_a_row_that_names_another_owner_at_the_same_epoch_changes_nothing(world: World) -> None:
    session = world.held()
    with world.database.transaction() as tx:
        tx.execute("UPDATE sessions SET owner = 'another' WHERE id = %s", (session.id,))
    world.around.witnesses["another"] = "held"
    world.reconciler.look()
    assert session.is_live


@pytest.mark.parametrize("page", [1, 2, 3, 7])
def test_pages_leave_out_no_session_and_no_row(world: World, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(reconciler, "_PAGE_SESSIONS", page)
    held = [world.held() for _ in range(6)]
    forsaken = [world.orphan("me") for _ in range(6)]
    with world.database.transaction() as tx:
        for session in held[::2]:
            sessions.end(tx, session.id, 1, "by another")
    world.reconciler.look()
    assert [session.is_live for session in held] == [False, True] * 3
    assert {world.row(session_id).owner for session_id in forsaken} == {None}
    assert {world.row(session.id).owner for session in held[1::2]} == {"me"}


def test_rows_that_agree_are_not_read(world: World) -> None:
    agreeing, differing = world.held(), world.held()
    with world.database.transaction() as tx:
        sessions.mark_detached(tx, differing.id, 1)
        page = Page([Held(each.id, 1, "active") for each in (agreeing, differing)])
        found = differences(tx, "me", page)
    assert ([row.id for row in found.rows], found.missing) == ([differing.id], [])


def test_without_a_database_every_session_goes_on(world: World) -> None:
    session = world.held()
    away = Database("postgresql://nobody@127.0.0.1:1/x")
    away.open()
    world.of(away).look()
    away.close()
    assert session.is_live


# The rows that name this instance, against what it holds.


def test_a_row_of_a_session_that_is_not_held_is_released_so_that_its_user_may_claim_it(world: World) -> None:
    session_id = world.orphan("me")
    world.reconciler.look()
    row = world.row(session_id)
    assert (row.owner, row.epoch, row.state) == (None, 2, "detached")


def test_a_session_that_is_being_created_is_not_released(world: World) -> None:
    session_id = world.orphan("me")
    with world.holdings.creating(session_id):
        world.reconciler.look()
    assert world.row(session_id).owner == "me"


def test_a_session_whose_end_is_still_being_stored_is_not_released(world: World) -> None:
    session = world.held()
    session.end("the device closed the connection")
    world.reconciler.look()
    assert (world.row(session.id).owner, world.row(session.id).epoch) == ("me", 1)


# What other instances have left.


def test_a_new_orphan_waits_to_be_claimed(world: World) -> None:
    orphan = world.orphan()
    world.reconciler.look()
    row = world.row(orphan)
    assert (row.state, row.epoch, row.owner) == ("detached", 1, "gone")


def test_an_orphan_whose_user_does_not_come_ends_and_its_recording_says_what_is_missing(world: World) -> None:
    overdue, early = world.orphan(detached_secs=DETACH_TTL_SECS + 1), world.orphan(detached_secs=DETACH_TTL_SECS - 60)
    world.reconciler.look()
    assert (world.row(overdue).state, world.row(early).state) == ("ended", "detached")
    assert "what it had not stored is missing here" in world.notes(overdue)
    with world.database.transaction() as tx:
        assert [each["resource"] for each in audit.list_page(tx, event="session.closed")] == [f"session:{overdue}"]


def test_an_orphan_whose_end_was_requested_ends_at_once(world: World) -> None:
    orphan = world.orphan()
    with world.database.transaction() as tx:
        sessions.end_all_of(tx, world.row(orphan).user_id, "access was withdrawn")
    world.reconciler.look()
    assert (world.row(orphan).state, world.row(orphan).end_reason) == ("ended", "access was withdrawn")


def test_a_released_session_ends_when_its_user_does_not_come(world: World) -> None:
    session_id = world.orphan(detached_secs=DETACH_TTL_SECS + 1)
    with world.database.transaction() as tx:
        sessions.release(tx, session_id, 1)
    world.reconciler.look()
    assert world.row(session_id).state == "ended"


def test_chunks_that_its_owner_left_on_disk_are_stored_before_it_ends(world: World, tmp_path: Path) -> None:
    session_id = world.orphan(detached_secs=DETACH_TTL_SECS + 1)
    chunk = make_chunk(b"", session_id, 1, 0, 0, [Event(1000.0, EventKind.OUTPUT, b"late")])
    world.spool.keep([Leftover(Batch(session_id, 1, 0, [chunk]), None)])
    world.reconciler.look()
    assert world.row(session_id).state == "ended"
    assert "stored late" in world.notes(session_id)
    assert list(tmp_path.glob("refused/*")) == []


@pytest.mark.parametrize("outcome", ["refused", "other_id", "timed_out"])
def test_nothing_of_an_owner_whose_witness_is_held_is_touched(world: World, outcome: Outcome) -> None:
    """It lost Valkey alone, or lives on the other side of a split: no dial reaches it, and PostgreSQL hears from it."""
    session_id, overdue = world.orphan(), world.orphan(detached_secs=DETACH_TTL_SECS + 1)
    world.around.witnesses["gone"], world.around.outcomes["gone"] = "held", outcome
    world.reconciler.look()
    assert (world.row(session_id).state, world.row(overdue).state) == ("active", "detached")


@pytest.mark.parametrize("outcome", ["confirmed", "declined"])
def test_nothing_of_an_owner_that_answers_is_touched(world: World, outcome: Outcome) -> None:
    session_id, overdue = world.orphan(), world.orphan(detached_secs=DETACH_TTL_SECS + 1)
    world.around.outcomes["gone"] = outcome
    world.reconciler.look()
    assert (world.row(session_id).state, world.row(overdue).state) == ("active", "detached")


def test_an_instance_younger_than_the_snapshot_keeps_its_sessions(world: World) -> None:
    session_id = world.orphan("new")
    world.registry.register(instance("new"))
    world.reconciler.look()
    assert world.row(session_id).state == "active"
    assert world.around.dialled == []


def test_nothing_ends_while_the_registry_proves_nothing(world: World) -> None:
    session_id = world.orphan(detached_secs=DETACH_TTL_SECS + 1)
    world.around.outcomes["gone"] = "timed_out"
    world.clock.now -= TTL_SECS
    world.reconciler.look()
    assert world.row(session_id).state == "detached"


def test_nothing_ends_when_the_registry_comes_back_empty_at_the_moment_it_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat must follow the read: a heartbeat before it would still find the former registry."""
    session_id = world.orphan(detached_secs=DETACH_TTL_SECS + 1)
    world.around.outcomes["gone"] = "timed_out"
    monkeypatch.setattr(world.registry, "instance", lambda _: world.registry.deregister("me"))
    world.reconciler.look()
    assert world.row(session_id).state == "detached"


def test_nothing_ends_while_the_registry_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats still succeed: they use connections of their own."""

    def fail(_: str) -> None:
        raise RegistryUnavailable("it hangs")

    session_id = world.orphan(detached_secs=DETACH_TTL_SECS + 1)
    world.around.outcomes["gone"] = "timed_out"
    monkeypatch.setattr(world.registry, "instance", fail)
    world.reconciler.look()
    assert world.row(session_id).state == "detached"


def test_an_instance_that_sees_only_itself_ends_no_sessions(alone: World) -> None:
    """It was started without VALKEY_URL, or its licence has lapsed, beside a cluster on the same database."""
    living, unreachable = alone.orphan("a", detached_secs=DETACH_TTL_SECS + 1), alone.orphan("b", detached_secs=1e6)
    alone.around.witnesses |= {"a": "held", "b": "free"}
    alone.around.outcomes |= {"a": "timed_out", "b": "timed_out"}
    alone.reconciler.look()
    assert (alone.row(living).state, alone.row(unreachable).state) == ("detached", "detached")


def test_a_lone_instance_ends_what_it_left_before_its_restart(alone: World) -> None:
    session_id = alone.orphan("before", address=None, detached_secs=DETACH_TTL_SECS + 1)
    alone.reconciler.look()
    assert alone.row(session_id).state == "ended"


def test_a_frozen_owner_loses_its_connections_and_with_them_its_locks(world: World, database_url: str) -> None:
    session_id = world.orphan("frozen", detached_secs=DETACH_TTL_SECS + 1)
    world.around.witnesses["frozen"], world.around.outcomes["frozen"] = "silent", "timed_out"
    with psycopg.connect(database_url, application_name="frozen") as frozen:
        frozen.execute("SELECT FROM sessions WHERE id = %s FOR UPDATE", (session_id,))
        world.reconciler.look()
        assert world.row(session_id).state == "ended"
        with pytest.raises(psycopg.OperationalError):
            frozen.execute("SELECT 1")
