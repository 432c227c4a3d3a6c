"""The opener on real rows; the device is a stand-in that records the dials."""

import uuid
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from netstacks.errors import InvalidInput, NotFound, RetryLater
from netstacks.instance.current_settings import CurrentSettings
from netstacks.instance.holdings import Holdings
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.opener import Opener
from netstacks.instance.recording_quota import RecordingQuota
from netstacks.instance.session_limits import SessionLimits
from netstacks.instance.targets import ConnectRequest, Target
from netstacks.permissions import EVERYWHERE
from netstacks.recording import storage
from netstacks.recording.chunks import Event, EventKind, make_chunk
from netstacks.recording.recorder import Recorder
from netstacks.recording.storage import Batch
from netstacks.store import credentials, devices, session_lists, sessions
from netstacks.store.audit import Actor
from netstacks.store.credentials import Secrets
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.sessions import SessionRow
from netstacks.store.vault import Vault
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.hub import Hub
from netstacks.terminal.resume import Resume, start
from netstacks.terminal.session import Session
from tests.cluster.facts import instance
from tests.rows import make_session, make_user
from tests.terminal.test_session import Device

ANA = Actor("ana", uuid.uuid4(), "192.0.2.9")


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        make_user(database, ANA.id)
        self.dialled: list[Target] = []
        self.transports: list[Device] = []
        deferred_writes = DeferredWrites(database)
        self.hub = Hub(deferred_writes, detach_ttl_secs=60, close_grace_secs=10)
        recorder = Recorder(database)
        vault = Vault(database, "5e" * 32)
        vault.unlock()
        with database.transaction() as tx:
            self.credential = credentials.create(
                tx, vault, Secrets("secret"), name="shared", credential_type="ssh_password", username="ana"
            )
        agent: Any = SimpleNamespace(me=instance("me"), publish=lambda record: None, withdraw=lambda *_: None)
        dialer: Any = SimpleNamespace(dial=self._dial)
        self.holdings = Holdings(self.hub, recorder)
        self.opener = Opener(
            agent=agent,
            database=database,
            vault=vault,
            dialer=dialer,
            holdings=self.holdings,
            recorder=recorder,
            loop=LoopWatch(60),
            limits=SessionLimits(deferred_writes, of_user=lambda: 0, of_device=0, openings_of_user=24),
            recording_quota=RecordingQuota(
                database, deferred_writes, session_bytes=0, user_daily_bytes=0, ends_session=True
            ),
            settings=CurrentSettings(database),
            log_bytes=1000,
        )

    def _dial(self, _actor: Actor, target: Target, *_: Any, **__: Any) -> Device:
        self.dialled.append(target)
        self.transports.append(Device())
        return self.transports[-1]

    def device(self, name: str, host: str = "192.0.2.1", **facts: Any) -> devices.Device:
        with self.database.transaction() as tx:
            return devices.create(tx, name=name, host=host, **facts)

    def claimed(self, device_id: UUID | None) -> SessionRow:
        """A session to the device, which this instance has claimed."""
        session_id = make_session(
            self.database, device_id=device_id, credential_id=self.credential.id, owner="me", user_id=ANA.id
        )
        with self.database.transaction() as tx:
            row = sessions.find(tx, session_id)
        assert row is not None
        return row

    def reopen(self, device_id: UUID | None) -> Session:
        """Continues such a session."""
        row = self.claimed(device_id)
        with self.database.transaction() as tx:
            prepared = self.opener.prepare(tx, row, ANA, EVERYWHERE)
        return self.opener.reopen(row, prepared, uuid.uuid4(), ANA, Dialogue())

    def connect_request(self, device: devices.Device) -> ConnectRequest:
        return ConnectRequest(ANA, self.credential.id, f"device-{device.id}", None, None, "xterm", 80, 24)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_a_claimed_session_goes_on_at_its_own_device_and_not_at_another_with_the_same_address(world: World) -> None:
    world.device("first")
    mine = world.device("second", algorithms="legacy", encoding="gbk", lines=5, patience_secs=90)
    world.device("third")
    session = world.reopen(mine.id)
    assert session.is_live
    (target,) = world.dialled
    assert (target.device_id, target.changed_at) == (mine.id, mine.updated_at)
    assert (target.algorithms, target.encoding, target.lines, target.patience_secs) == ("legacy", "gbk", 5, 90)


def test_a_claimed_session_whose_device_was_removed_is_not_opened_at_a_neighbour(world: World) -> None:
    world.device("same address")
    with pytest.raises(NotFound):
        world.reopen(uuid.uuid4())
    assert world.dialled == []


def test_a_claimed_session_follows_its_device_to_a_new_address(world: World) -> None:
    moved = world.device("moved", host="192.0.2.77")
    world.reopen(moved.id)
    assert [each.host for each in world.dialled] == ["192.0.2.77"]


def test_a_claimed_session_takes_its_credential_to_no_address_that_it_is_not_for(world: World) -> None:
    moved = world.device("moved", host="192.0.2.77")
    with world.database.transaction() as tx:
        tx.execute("UPDATE credentials SET host = '192.0.2.1'")
    with pytest.raises(InvalidInput, match=r"only for 192\.0\.2\.1, and the device is at 192\.0\.2\.77:22"):
        world.reopen(moved.id)
    assert world.dialled == []


def test_a_log_in_that_ends_in_a_drain_leaves_neither_a_session_nor_a_connection(world: World) -> None:
    device = world.device("r1")
    dial = world._dial

    def slow_dial(*args: Any, **kwargs: Any) -> Device:
        transport = dial(*args, **kwargs)
        world.hub.hand_over_all("the controller is restarting", 1.0, 20.0)
        return transport

    world.opener._dialer.dial = slow_dial  # type: ignore[assignment,method-assign]
    with pytest.raises(RetryLater, match="restarting"):
        world.opener.open(world.connect_request(device))
    with pytest.raises(RetryLater, match="restarting"):
        world.reopen(device.id)
    assert [transport.read(1) for transport in world.transports] == [b"", b""]
    with world.database.transaction() as tx:
        live = session_lists.page(tx, live=True).rows
    assert [row["owner"] for row in live] == ["me"]  # The claimed one, for its claimer to give back.


def test_a_claimed_session_starts_at_the_offset_that_its_client_acknowledged_to_the_former_owner(world: World) -> None:
    row = world.claimed(world.device("mine").id)
    with world.database.transaction() as tx:
        chunk = make_chunk(b"", row.id, 1, 0, 0, [Event(1000.0, EventKind.OUTPUT, b"x" * 100)])
        assert storage.save(tx, [Batch(row.id, 1, 40, [chunk])]) == []
        claimed = sessions.claim(tx, row, owner="me", owner_address="")
        assert claimed is not None
        prepared = world.opener.prepare(tx, claimed, ANA, EVERYWHERE)
    session = world.opener.reopen(claimed, prepared, uuid.uuid4(), ANA, Dialogue())
    assert session.first_offset == 100
    begin = start(session, Resume(None, None, tail=False), (80, 24))
    assert (begin.cursor, begin.between_at) == (40, 100)
