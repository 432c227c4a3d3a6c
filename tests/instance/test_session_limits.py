"""Limits of sessions, exact across all instances, and of concurrent openings."""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from netstacks import greenlets
from netstacks.errors import LimitReached, OpeningAbandoned
from netstacks.instance.session_limits import SessionLimits
from netstacks.instance.targets import Target
from netstacks.store import audit, quotas
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.terminal.dialogue import Dialogue
from tests.controller import until
from tests.instance.test_opener import ANA, World
from tests.rows import make_session
from tests.terminal.test_session import Device

BOB = Actor("bob", uuid.UUID(int=2))


def target(name: str = "r1", host: str = "192.0.2.1", **facts: Any) -> Target:
    others: dict[str, Any] = {
        "device_id": uuid.UUID(int=9),
        "port": 22,
        "algorithms": "modern",
        "encoding": "utf-8",
        "lines": None,
        "patience_secs": None,
        "default_credential_id": None,
        "changed_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Target(name=name, host=host, **(others | facts))


def limits(database: Database, *, of_user: int = 0, of_device: int = 0, openings: int = 24) -> SessionLimits:
    return SessionLimits(
        DeferredWrites(database), of_user=lambda: of_user, of_device=of_device, openings_of_user=openings
    )


@pytest.fixture
def elsewhere(database_url: str, database: Database) -> Iterator[Database]:
    """The same database, as another instance has it."""
    other = Database(database_url)
    other.open()
    yield other
    other.close()


@pytest.mark.parametrize(
    ("most", "actors", "setting"),
    [({"of_user": 1}, (ANA, ANA), "USER_SESSIONS_MAX"), ({"of_device": 1}, (ANA, BOB), "DEVICE_SESSIONS_MAX")],
    ids=["of a user", "of a device"],
)
def test_two_instances_that_create_the_last_session_at_once_do_not_both_succeed(
    database: Database, elsewhere: Database, most: dict[str, int], actors: tuple[Actor, Actor], setting: str
) -> None:
    refused: list[str] = []

    def create() -> None:
        try:
            with elsewhere.transaction() as tx:
                limits(elsewhere, **most).take(tx, actors[1], target())
        except LimitReached as error:
            refused.append(str(error))

    def waits() -> bool:
        with database.transaction() as tx:
            return tx.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone() is not None

    second = threading.Thread(target=create)
    with database.transaction() as tx:
        limits(database, **most).take(tx, actors[0], target())
        second.start()
        until(waits, "the second instance's wait")
        tx.execute(
            "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, epoch, state,"
            " reconnect_hash) VALUES (gen_random_uuid(), %s, 'ana', 'r1', '192.0.2.1', 22, 'xterm', 80, 24, 1,"
            " 'active', 'x')",
            [actors[0].id],
        )
    second.join(30)
    assert len(refused) == 1
    assert setting in refused[0]


def test_a_limit_counts_its_own_sessions_and_0_is_none(database: Database) -> None:
    for actor, host in ((ANA, "192.0.2.1"), (ANA, "192.0.2.2"), (BOB, "192.0.2.1")):
        make_session(database, user_id=actor.id, host=host)
    with database.transaction() as tx:
        limits(database).take(tx, ANA, target())
        limits(database, of_user=3, of_device=3).take(tx, ANA, target())
        limits(database, of_user=2).take(tx, BOB, target())
        limits(database, of_device=2).take(tx, ANA, target(host="192.0.2.2"))
        with pytest.raises(LimitReached, match="you have 2 sessions, the limit for one user"):
            limits(database, of_user=2).take(tx, ANA, target())
        with pytest.raises(LimitReached, match="r1 has 2 sessions, the limit for one device"):
            limits(database, of_device=2).check(tx, BOB, target())


def test_a_device_with_lines_is_limited_by_these_alone(database: Database) -> None:
    make_session(database)
    with database.transaction() as tx:
        limits(database, of_device=1).check(tx, ANA, target(lines=5))
        limits(database, of_device=1).take(tx, ANA, target(lines=5))


def test_a_refusal_is_audited_once_however_often_it_is_tried(database: Database) -> None:
    make_session(database, user_id=ANA.id)
    deferred_writes = DeferredWrites(database)
    deferred_writes.start()
    by = SessionLimits(deferred_writes, of_user=lambda: 1, of_device=0, openings_of_user=24)
    for _ in range(5):
        with pytest.raises(LimitReached), database.transaction() as tx:
            by.check(tx, ANA, target())
    assert deferred_writes.flush(30)
    with database.transaction() as tx:
        (row,) = audit.list_page(tx, event="session.limit_reached")
    assert (row["actor"], row["resource"]) == ("ana", f"user:{ANA.id}")


def test_an_opening_counts_before_the_device_is_logged_in_to(database: Database) -> None:
    by = limits(database, of_user=2)
    with by.place(ANA, Dialogue()), database.transaction() as tx:
        by.check(tx, ANA, target())
        with by.place(ANA, Dialogue()):
            by.check(tx, BOB, target())
            with pytest.raises(LimitReached):
                by.check(tx, ANA, target())
        by.check(tx, ANA, target())


@pytest.fixture
def world(database: Database) -> World:
    """An instance where ana may have one session."""
    world = World(database)
    world.opener._limits = limits(database, of_user=1)
    return world


def test_a_session_is_taken_over_whatever_the_limits_say_and_no_other_is_opened(world: World) -> None:
    device = world.device("r1")
    assert world.reopen(device.id).is_live
    assert len(world.dialled) == 1
    with pytest.raises(LimitReached):
        world.opener.open(world.connect_request(device))
    assert len(world.dialled) == 1


def test_a_session_that_another_instance_creates_first_leaves_nothing_of_this_one(world: World) -> None:
    device, dial = world.device("r1"), world._dial

    def slow_dial(*args: Any, **kwargs: Any) -> Device:
        make_session(world.database, user_id=ANA.id)
        return dial(*args, **kwargs)

    world.opener._dialer.dial = slow_dial  # type: ignore[assignment,method-assign]
    with pytest.raises(LimitReached):
        world.opener.open(world.connect_request(device))
    assert [transport.read(1) for transport in world.transports] == [b""]
    with world.database.transaction() as tx:
        assert quotas.sessions_of_user(tx, ANA.id or uuid.uuid4()) == 1


class Opening:
    """A terminal that logs in until it is told to end."""

    def __init__(self, by: SessionLimits, actor: Actor) -> None:
        self.dialogue = Dialogue(lambda: self.is_left)
        self.is_left = False
        self.has_begun = greenlets.Event()
        self.ends = greenlets.Event()
        self.greenlet = greenlets.spawn("opening", self._run, by, actor)

    def _run(self, by: SessionLimits, actor: Actor) -> None:
        with by.place(actor, self.dialogue):
            self.has_begun.set()
            self.ends.wait()


def test_a_users_many_slow_devices_keep_that_user_waiting_and_no_other(database: Database) -> None:
    by = limits(database, openings=2)
    first, second, third = (Opening(by, ANA) for _ in range(3))
    other = Opening(by, BOB)
    for begun in (first, second, other):
        assert begun.has_begun.wait(30)
    assert not third.has_begun.is_set()
    first.ends.set()
    assert third.has_begun.wait(30)


def test_a_terminal_that_waits_for_its_place_can_be_given_up(database: Database) -> None:
    by = limits(database, openings=1)
    first = Opening(by, ANA)
    assert first.has_begun.wait(30)
    waiting = Opening(by, ANA)
    greenlets.sleep(0)
    waiting.is_left = True
    waiting.greenlet.join(30)
    assert isinstance(waiting.greenlet.exception, OpeningAbandoned)
    first.ends.set()
    next_one = Opening(by, ANA)
    assert next_one.has_begun.wait(30)
