"""Withdrawals of access: the sessions that they end at once, and those that the comparison with PostgreSQL finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Peer, Snapshot
from netstacks.errors import AccessWithdrawn
from netstacks.instance.holdings import Holdings
from netstacks.instance.withdrawals import Scope, Withdrawal, Withdrawals
from netstacks.peer.client import Reply
from netstacks.permissions import Reach
from netstacks.permissions import Role as Permits
from netstacks.store import devices, logins, roles, users
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session
from tests.terminal.test_hub import Client, add


class World:
    """An instance that knows of no other one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.hub = Hub(DeferredWrites(database), detach_ttl_secs=60, close_grace_secs=10)
        self.holdings = Holdings(self.hub, cast(Any, None))
        self.forgotten: list[Withdrawal] = []
        self.forgotten_roles: list[str] = []
        alone = SimpleNamespace(me=SimpleNamespace(id="here"), snapshot=Snapshot(0.0, {}))
        self.withdrawals = Withdrawals(
            agent=cast(Any, alone),
            peers=cast(Any, None),
            holdings=self.holdings,
            database=database,
            forget=self.forgotten.append,
            forget_role=self.forgotten_roles.append,
        )

    def view(self, session: Session, user_id: UUID, login_id: UUID | None = None) -> Client:
        client = Client()
        session.attach(Attachment(client, Kind.VIEWER, user_id=user_id, username="ana", login_id=login_id), 0)
        return client

    def user(self, role: str = "operator") -> User:
        with self.database.transaction() as tx:
            return users.create(tx, username=f"u-{uuid4().hex[:8]}", password_hash="-", role=role)

    def login(self, user: User) -> UUID:
        with self.database.transaction() as tx:
            return logins.begin(tx, user.id, "page", max_days=30)


def closed(client: Client) -> tuple[CloseCode, str]:
    while client.closed is None:
        greenlets.sleep(0.01)
    return client.closed


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_a_user_loses_own_terminals_openings_and_views_of_others(world: World) -> None:
    own = add(world.hub, "own", attached=True, silent_secs=0)
    other = add(world.hub, "other", attached=True, silent_secs=0)
    user_id = own.facts.user_id
    view, foreign_view = world.view(other, user_id), world.view(other, uuid4())
    mine, foreign = Dialogue(), Dialogue()
    with (
        world.holdings.dialling(Actor("ana", user_id), mine),
        world.holdings.dialling(Actor("bob", uuid4()), foreign),
    ):
        world.withdrawals.here([Withdrawal(user_id, Scope.ACCESS)])
    assert closed(view) == (CloseCode.REFUSED, "access was withdrawn")
    assert own.end_reason == "access was withdrawn"
    assert other.is_live
    assert foreign_view.closed is None
    with pytest.raises(AccessWithdrawn):
        mine.check()
    foreign.check()
    assert world.forgotten


def test_a_log_in_that_ends_takes_its_connections_and_leaves_the_session(world: World) -> None:
    session = add(world.hub, "r1", attached=False, silent_secs=0)
    user_id, ended, other = session.facts.user_id, uuid4(), uuid4()
    first, second = world.view(session, user_id, ended), world.view(session, user_id, other)
    by_ended, by_other = Dialogue(), Dialogue()
    with (
        world.holdings.dialling(Actor("ana", user_id, None, ended), by_ended),
        world.holdings.dialling(Actor("ana", user_id, None, other), by_other),
    ):
        world.withdrawals.here([Withdrawal(user_id, Scope.LOGINS, (ended,))])
    assert closed(first) == (CloseCode.REFUSED, "access was withdrawn")
    assert second.closed is None
    assert session.is_live
    with pytest.raises(AccessWithdrawn):
        by_ended.check()
    by_other.check()


def test_another_role_closes_nothing_and_is_read_anew(world: World) -> None:
    session = add(world.hub, "r1", attached=True, silent_secs=0)
    world.withdrawals.here([Withdrawal(session.facts.user_id, Scope.NOTHING)])
    assert session.control is not None
    assert world.forgotten


@pytest.mark.parametrize("way", ["deleted", "deactivated", "viewer"])
def test_a_session_whose_user_may_not_have_it_any_more_is_found_and_ended(world: World, way: str) -> None:
    user = world.user()
    session = add(world.hub, "r1", attached=True, silent_secs=0, user_id=user.id)
    world.withdrawals.compare()
    assert session.is_live
    with world.database.transaction() as tx:
        if way == "deleted":
            users.delete(tx, user.id)
        else:
            role: str = "viewer" if way == "viewer" else "operator"
            users.update(tx, user.id, email=None, display_name=None, role=role, is_active=way == "viewer", by="ann")
    world.withdrawals.compare()
    assert session.end_reason == "access was withdrawn"


def give(world: World, *permissions: str, tags: tuple[str, ...] = (), version: int = 0) -> None:
    """Makes the role noc one with these permissions, for the devices with these tags."""
    role = Permits("noc", frozenset(permissions), Reach(frozenset(tags)))
    with world.database.transaction() as tx:
        if version:
            roles.update(tx, role, description="", by="a test", version=version)
        else:
            roles.create(tx, role, description="", by="a test")


def test_a_changed_role_ends_the_terminals_and_openings_of_its_users(world: World) -> None:
    give(world, "sessions.*")
    user, other = world.user("noc"), world.user()
    session = add(world.hub, "r1", attached=True, silent_secs=0, user_id=user.id)
    foreign = add(world.hub, "r2", attached=True, silent_secs=0, user_id=other.id)
    view, opening = world.view(foreign, user.id), Dialogue()
    with world.holdings.dialling(Actor("ana", user.id), opening):
        world.withdrawals.role_changed("noc")
        assert session.is_live
        opening.check()
        give(world, "devices.access", version=1)
        world.withdrawals.role_changed("noc")
    assert session.end_reason == "access was withdrawn"
    with pytest.raises(AccessWithdrawn):
        opening.check()
    assert foreign.is_live
    assert view.closed is None
    assert world.forgotten_roles == ["noc", "noc"]


def test_a_session_whose_device_leaves_the_scope_ends(world: World) -> None:
    give(world, "sessions.connect", tags=("core",))
    user, free = world.user("noc"), world.user()
    with world.database.transaction() as tx:
        kept, moved, deleted = (devices.create(tx, name=f"r{i}", host="192.0.2.1", tags=["core"]) for i in range(3))
    here = [
        add(world.hub, each.name, attached=True, silent_secs=0, user_id=user.id, device_id=each.id)
        for each in (kept, moved, deleted)
    ]
    unlimited = add(world.hub, "r1", attached=True, silent_secs=0, user_id=free.id, device_id=moved.id)
    world.withdrawals.compare()
    assert [each.is_live for each in here] == [True] * 3
    with world.database.transaction() as tx:
        devices.update(tx, moved, {"tags": ("edge",)}, by="ann")
        devices.delete(tx, deleted)
    # A client that comes back before the comparison is refused.
    actor = Actor(user.username, user.id)
    world.withdrawals.confirm(actor, "sessions.connect", here[0].id)
    with pytest.raises(AccessWithdrawn):
        world.withdrawals.confirm(actor, "sessions.connect", here[1].id)
    world.withdrawals.compare()
    assert [each.end_reason for each in here] == ["", *["your role may not use this device any more"] * 2]
    assert unlimited.is_live


def test_a_viewer_needs_no_permission_to_connect(world: World) -> None:
    session = add(world.hub, "r1", attached=True, silent_secs=0, user_id=world.user().id)
    view = world.view(session, world.user("viewer").id)
    world.withdrawals.compare()
    assert view.closed is None


def test_a_connection_by_a_revoked_log_in_is_found_and_closed(world: World) -> None:
    user = world.user()
    session = add(world.hub, "r1", attached=False, silent_secs=0, user_id=user.id)
    revoked, kept = world.login(user), world.login(user)
    first, second = world.view(session, user.id, revoked), world.view(session, user.id, kept)
    with world.database.transaction() as tx:
        logins.revoke(tx, revoked)
    world.withdrawals.compare()
    assert closed(first)[0] == CloseCode.REFUSED
    assert second.closed is None
    assert session.is_live


def test_without_the_right_to_connect_a_user_may_still_watch(world: World) -> None:
    own = add(world.hub, "own", attached=True, silent_secs=0)
    other = add(world.hub, "other", attached=True, silent_secs=0)
    view = world.view(other, own.facts.user_id)
    world.withdrawals.here([Withdrawal(own.facts.user_id, Scope.TERMINALS)])
    assert own.end_reason == "access was withdrawn"
    assert view.closed is None


def test_a_confirmation_during_a_withdrawal_is_repeated(world: World) -> None:
    user = world.user()
    actor = Actor(user.username, user.id, None, world.login(user))
    transaction, asked = world.database.transaction, []

    @contextmanager
    def slow() -> Iterator[Any]:
        with transaction() as tx:
            yield tx
        asked.append(True)
        if len(asked) == 1:
            with transaction() as tx:
                logins.revoke_all(tx, user.id)
            world.withdrawals.here([Withdrawal(user.id, Scope.ACCESS)])

    world.database.transaction = slow  # type: ignore[method-assign, assignment]
    with pytest.raises(AccessWithdrawn):
        world.withdrawals.confirm(actor, "sessions.connect")
    assert len(asked) == 1


def test_many_log_ins_are_told_in_requests_that_peers_take() -> None:
    ids = tuple(uuid4() for _ in range(250))
    told: list[dict[str, Any]] = []

    def call(peer: Peer, path: str, **claims: Any) -> Reply:
        told.append(claims)
        return Reply(None)

    there = SimpleNamespace(id="there", peer_address="192.0.2.1:7000")
    agent = SimpleNamespace(me=SimpleNamespace(id="here"), snapshot=Snapshot(0.0, {"there": cast(Any, there)}))
    withdrawals = Withdrawals(
        agent=cast(Any, agent),
        peers=cast(Any, SimpleNamespace(call=call)),
        holdings=cast(Any, SimpleNamespace(hub=[], dialled={}, pending_claims={})),
        database=cast(Any, None),
        forget=lambda withdrawal: None,
    )
    withdrawals.everywhere(Withdrawal(uuid4(), Scope.ALL_LOGINS, ids))
    assert [each["what"] for each in told] == ["all log-ins", "logins", "logins"]
    assert [each for claims in told for each in claims["login_ids"]] == [str(each) for each in ids]
    assert max(len(str(claims)) for claims in told) < 6000
