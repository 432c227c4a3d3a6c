"""The broker on real rows, a real registry and real rules; peers, witness and device are scripted."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Outcome, Witness
from netstacks.errors import (
    DeviceUnreachable,
    PeerFailed,
    RegistryUnavailable,
    RetryLater,
    SessionGone,
    StoreUnavailable,
)
from netstacks.instance.agent import Agent
from netstacks.instance.broker import Broker
from netstacks.instance.claims import Claims
from netstacks.instance.finder import Held
from netstacks.instance.holdings import Holdings
from netstacks.instance.lookup import FIND_PATH, Lookup
from netstacks.instance.pending_claims import PendingClaim
from netstacks.peer.client import NoAnswer, Reply, Upgrade, Upstream
from netstacks.peer.token import PeerPrincipal
from netstacks.store import sessions
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.sessions import SessionRow
from netstacks.terminal.hub import Hub
from netstacks.terminal.session_facts import State
from tests.cluster.facts import SharedRegistry, instance, record
from tests.rows import make_session, make_user
from tests.waits import until

TTL_SECS = 30.0
ANA = Actor("ana", uuid.uuid4(), "192.0.2.9")
UPGRADE = Upgrade("a key")
VIEWER = PeerPrincipal("viewer", "read-only", None, "a guest", None)
CONFIRMED = Upstream(Peer("a", ""), Any, b"101")  # type: ignore[arg-type]

Answer = Upstream | NoAnswer | Reply | Callable[[], Upstream | NoAnswer]


class World:
    """One instance `me` with its broker, and a session of `a` that ana resumes."""

    def __init__(self, database: Database, *, in_contact_secs: float = TTL_SECS + 1) -> None:
        self.database = database
        make_user(database, ANA.id)
        self.now = 1000.0
        self.answers: list[Answer] = []
        self.dialled: list[Peer] = []
        self.paths: list[str] = []
        self.witness: Witness = "unknown"
        self.unstored: set[UUID] = set()
        self.restore: Callable[[], bool] = lambda: False
        self.device: Callable[[], Any] = lambda: SimpleNamespace(is_live=True)
        self.registry = SharedRegistry(lambda: self.now)
        self.deferred_writes = DeferredWrites(database)
        self.hub = Hub(self.deferred_writes, detach_ttl_secs=60, close_grace_secs=10)
        self.token = uuid.uuid4()
        self.session_id = make_session(
            database, owner="a", owner_address="10.0.0.7:7000", user_id=ANA.id, token=self.token
        )
        self.agent = Agent(
            instance("me"), self.registry, self.hub, interval_secs=5, ttl_secs=TTL_SECS, clock=lambda: self.now
        )
        self.agent.heartbeat()
        self.now += in_contact_secs
        self.registry.register(instance("a"))
        self.agent.heartbeat()
        self.broker = self._broker()

    def _broker(self) -> Broker:
        anything: Any = self
        recorder: Any = SimpleNamespace(has_unstored=self.unstored.__contains__)
        holdings = self.holdings = Holdings(self.hub, recorder)
        common: dict[str, Any] = {"agent": self.agent}
        opener: Any = SimpleNamespace(
            prepare=lambda tx, row, actor, reach: None,
            reopen=lambda row, prepared, token, actor, dialogue: self.device(),
        )
        stores: dict[str, Any] = {"registry": self.registry, "database": self.database}
        spool: Any = SimpleNamespace(restore=lambda database, session_id: self.restore())
        asked: dict[str, Any] = {"witness": SimpleNamespace(of=lambda instance_id: self.witness), "peers": anything}
        return Broker(
            **common,
            **asked,
            ttl_secs=TTL_SECS,
            lookup=Lookup(**common, **stores, **asked, holdings=holdings),
            claims=Claims(
                **common,
                **stores,
                pending_claims=holdings.pending_claims,
                opener=opener,
                deferred_writes=self.deferred_writes,
                spool=spool,
            ),
            holdings=holdings,
            recorder=recorder,
        )

    def upgrade(self, peer: Peer, path: str, claims: Any, upgrade: Upgrade) -> Upstream | NoAnswer:
        self.dialled.append(peer)
        self.paths.append(path)
        answer = self.answers.pop(0)
        return answer() if callable(answer) else answer

    def call(self, peer: Peer, path: str, **claims: Any) -> Any:
        return self.upgrade(peer, path, claims, UPGRADE)

    def row(self) -> SessionRow:
        with self.database.transaction() as tx:
            row = sessions.find(tx, self.session_id)
        assert row is not None
        return row

    def resume(self) -> Any:
        return self.broker.resume(self.token, ANA, UPGRADE)

    def takes(self, by: str) -> Upstream | NoAnswer:
        """Another instance claims while the former owner is being dialled."""
        with self.database.transaction() as tx:
            assert sessions.claim(tx, self.row(), owner=by, owner_address="10.0.0.8:7000")
        return NoAnswer("refused")

    def lets_go(self) -> NoAnswer:
        with self.database.transaction() as tx:
            assert sessions.release(tx, self.session_id, self.row().epoch)
        return NoAnswer("denied")


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    return World(database)


def test_a_living_owner_is_proxied_to(world: World) -> None:
    world.answers = [CONFIRMED]
    assert world.resume() is CONFIRMED
    assert world.dialled == [Peer("a", instance("a").peer_address)]
    assert (world.row().owner, world.row().epoch) == ("a", 1)


def test_an_owner_that_the_registry_has_lost_is_dialled_at_its_rows_address(world: World) -> None:
    world.registry.deregister("a")
    world.agent.heartbeat()
    world.answers = [CONFIRMED]
    assert world.resume() is CONFIRMED
    assert world.dialled == [Peer("a", "10.0.0.7:7000")]


@pytest.mark.parametrize("outcome", ["refused", "other_id"])
def test_a_proven_death_is_claimed_at_once_and_announced(world: World, outcome: Outcome) -> None:
    world.answers, world.witness = [NoAnswer(outcome)], "free"
    opening = world.resume()
    assert isinstance(opening, PendingClaim)
    assert opening.wait().is_live
    assert (world.row().owner, world.row().epoch) == ("me", 2)
    assert world.registry.instance("a") is None
    world.agent.heartbeat()  # Returns when the events are kept.
    assert sorted(event.kind for event in world.registry.events()) == ["claimed", "joined", "reaped"]


@pytest.mark.parametrize(("outcome", "witness"), [
    ("refused", "held"), ("refused", "unknown"), ("timed_out", "free"), ("other_id", "held"), ("denied", "free"),
])  # fmt: skip
def test_a_failed_dial_alone_claims_nothing(world: World, outcome: Outcome, witness: Witness) -> None:
    world.answers, world.witness = [NoAnswer(outcome)] * 5, witness
    with pytest.raises(RetryLater):
        world.resume()
    assert (world.row().owner, world.row().epoch) == ("a", 1)


def test_a_silent_owner_is_claimed_when_its_heartbeat_is_stale(world: World) -> None:
    world.now += TTL_SECS + 1
    world.agent.heartbeat()
    world.answers = [NoAnswer("timed_out")]
    assert world.resume().wait().is_live
    assert world.row().epoch == 2


def test_an_owner_that_is_not_registered_may_live_just_after_the_registry_came_back(database: Database) -> None:
    world = World(database, in_contact_secs=TTL_SECS / 2)
    world.registry.deregister("a")
    world.answers = [NoAnswer("timed_out")]
    with pytest.raises(RetryLater):
        world.resume()
    assert world.row().epoch == 1


def test_a_registry_that_comes_back_empty_at_the_moment_it_is_read_proves_no_death(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat must follow the read: a heartbeat before it would still find the former registry."""

    def restart(_: str) -> None:
        for each in ("me", "a"):
            world.registry.deregister(each)

    monkeypatch.setattr(world.registry, "instance", restart)
    world.answers = [NoAnswer("timed_out")]
    with pytest.raises(RetryLater):
        world.resume()
    assert (world.row().owner, world.row().epoch) == ("a", 1)


def test_an_old_snapshot_proves_no_death_while_the_registry_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.now += TTL_SECS + 1
    world.agent.heartbeat()

    def fail(_: str) -> None:
        raise RegistryUnavailable("it hangs")

    monkeypatch.setattr(world.registry, "instance", fail)
    world.answers = [NoAnswer("timed_out")]
    with pytest.raises(RetryLater):
        world.resume()
    assert (world.row().owner, world.row().epoch) == ("a", 1)


def test_a_client_that_waits_for_a_lost_claim_comes_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[PendingClaim] = []

    def lose(*_: object) -> None:
        waiting.append(world.resume())
        world.takes("c")

    monkeypatch.setattr(Claims, "_take", lose)
    world.answers, world.witness = [NoAnswer("refused"), CONFIRMED], "free"
    assert world.resume() is CONFIRMED
    assert len(waiting) == 1
    with pytest.raises(RetryLater):
        waiting[0].wait()


def test_an_owner_that_gives_the_session_up_is_succeeded(world: World) -> None:
    world.answers = [world.lets_go]
    assert world.resume().wait().is_live
    assert (world.row().owner, world.row().epoch) == ("me", 3)


def test_a_lost_race_leads_to_the_winner(world: World) -> None:
    world.witness = "free"
    world.answers = [lambda: world.takes("c"), CONFIRMED]
    assert world.resume() is CONFIRMED
    assert [peer.id for peer in world.dialled] == ["a", "c"]
    assert (world.row().owner, world.row().epoch) == ("c", 2)


def test_the_proven_death_of_a_former_owner_is_not_held_against_its_successor(world: World) -> None:
    world.witness = "free"
    world.answers = [lambda: world.takes("c"), CONFIRMED, CONFIRMED]
    assert world.resume() is CONFIRMED
    assert world.resume() is CONFIRMED
    assert [peer.id for peer in world.dialled] == ["a", "c", "c"]
    assert (world.row().owner, world.row().epoch) == ("c", 2)


def test_a_client_that_comes_during_the_device_log_in_waits_for_the_same_log_in(world: World) -> None:
    world.answers, world.witness = [NoAnswer("refused")], "free"
    may_open = greenlets.Event()
    world.device = lambda: may_open.wait() and SimpleNamespace(is_live=True)
    opening = world.resume()
    greenlets.sleep(0)
    assert world.resume() is opening
    assert world.broker.admit(world.session_id, 2) is opening
    may_open.set()
    assert opening.wait().is_live
    assert world.row().epoch == 2


def test_a_session_whose_device_refuses_can_be_claimed_again(world: World) -> None:
    def unreachable() -> Any:
        raise DeviceUnreachable("no route to r1")

    world.answers, world.witness, world.device = [NoAnswer("refused")], "free", unreachable
    world.deferred_writes.start()
    with pytest.raises(DeviceUnreachable):
        world.resume().wait()
    assert world.deferred_writes.flush(30)
    assert (world.row().owner, world.row().epoch, world.row().state) == (None, 3, "detached")


def test_a_draining_instance_proxies_but_claims_nothing(world: World) -> None:
    world.agent.me = replace(world.agent.me, state="draining")
    world.answers = [CONFIRMED, NoAnswer("refused")]
    assert world.resume() is CONFIRMED
    world.witness = "free"
    with pytest.raises(RetryLater):
        world.resume()
    assert world.row().epoch == 1


def test_nothing_is_claimed_while_its_end_is_still_being_stored_here(world: World) -> None:
    world.lets_go()
    world.unstored.add(world.session_id)
    with pytest.raises(RetryLater):
        world.resume()
    assert world.row().epoch == 2


def test_a_viewer_never_claims(world: World) -> None:
    world.answers, world.witness = [NoAnswer("refused")], "free"
    with pytest.raises(RetryLater):
        world.broker.locate(world.session_id)
    assert world.row().epoch == 1


def test_viewers_are_told_which_peer_has_confirmed_the_session_and_are_brought_to_it(world: World) -> None:
    owner = Peer("a", instance("a").peer_address)
    world.answers = [CONFIRMED, CONFIRMED, NoAnswer("denied")]
    held = world.broker.locate(world.session_id)
    assert held == Held(world.session_id, owner, 1)
    assert world.broker.proxy_viewer(held, VIEWER, UPGRADE) is CONFIRMED
    with pytest.raises(RetryLater):
        world.broker.proxy_viewer(held, VIEWER, UPGRADE)
    assert world.dialled == [owner] * 3


def test_viewers_are_told_that_a_session_has_ended_or_never_was(world: World) -> None:
    with world.database.transaction() as tx:
        sessions.end(tx, world.session_id, 1, "the device hung up")
    with pytest.raises(SessionGone, match="the device hung up"):
        world.broker.locate(world.session_id)
    with pytest.raises(SessionGone):
        world.broker.locate(uuid.uuid4())


def test_without_postgresql_the_owner_in_the_registry_is_asked_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.registry.register(replace(instance("b"), peer_address="10.0.0.8:7000"))
    world.registry.publish(record("b", session_id=world.session_id))
    world.agent.heartbeat()
    answer = asdict(record("b", session_id=world.session_id)) | {"id": str(world.session_id)}
    world.answers = [Reply({"record": answer, "user_id": str(ANA.id)}), CONFIRMED]
    monkeypatch.setattr(world.database, "transaction", _away)
    assert world.broker.locate(world.session_id) == Held(world.session_id, Peer("b", "10.0.0.8:7000"), 1)
    assert {peer.id for peer in world.dialled} == {"b"}


@pytest.mark.parametrize(
    "spoilt", [{"id": "no id"}, {"epoch": "x"}, {"started_at": []}, {"state": "asleep"}, None], ids=str
)
def test_a_peer_that_is_not_understood_has_not_said_where_a_session_is(
    world: World, monkeypatch: pytest.MonkeyPatch, spoilt: dict[str, Any] | None
) -> None:
    """While the database is away, peers are asked."""
    whole = asdict(record("a", session_id=world.session_id)) | {"id": str(world.session_id)}
    world.answers = [Reply({"record": whole | spoilt if spoilt else [], "user_id": str(ANA.id)})]
    monkeypatch.setattr(world.database, "transaction", _away)
    with pytest.raises(RetryLater, match="cannot be looked up"):
        world.resume()
    assert world.paths == [FIND_PATH]


def _away(**_: object) -> None:
    raise StoreUnavailable("the database is away")


def test_another_users_token_leads_nowhere(world: World) -> None:
    with pytest.raises(SessionGone, match="another user"):
        world.broker.resume(world.token, Actor("eve", uuid.uuid4()), UPGRADE)
    assert world.dialled == []


def test_an_unknown_token_is_told_from_an_ended_session(world: World) -> None:
    assert world.broker.resume(uuid.uuid4(), ANA, UPGRADE) is None
    with world.database.transaction() as tx:
        sessions.end(tx, world.session_id, 1, "the device hung up")
    with pytest.raises(SessionGone, match="the device hung up"):
        world.resume()


def test_ending_a_dead_owners_session_is_a_compare_and_set(world: World) -> None:
    world.answers, world.witness = [NoAnswer("refused")], "free"
    world.broker.end(world.session_id, "ended by ana")
    assert (world.row().state, world.row().end_reason, world.row().epoch) == ("ended", "ended by ana", 2)


def test_a_silent_owners_session_is_not_ended_behind_its_back(world: World) -> None:
    world.answers = [NoAnswer("timed_out")]
    with pytest.raises(RetryLater):
        world.broker.end(world.session_id, "ended by ana")
    assert world.row().state == "active"


def test_an_owner_that_answers_with_an_error_has_ended_nothing(world: World) -> None:
    def refuse() -> NoAnswer:
        raise PeerFailed("instance a answered 503: no room here")

    world.answers = [refuse]
    with pytest.raises(PeerFailed, match="no room here"):
        world.broker.end(world.session_id, "ended by ana")
    assert world.row().state == "active"


def test_an_owner_that_does_not_know_of_attached_sessions_is_not_asked_to_end_any(world: World) -> None:
    def refuse() -> NoAnswer:
        raise PeerFailed("instance a answered 404: not found")

    world.answers = [refuse]
    with pytest.raises(PeerFailed, match="404"):
        world.broker.end(world.session_id, "a colleague needs the line", only_detached=True)
    assert world.paths == [f"/peer/sessions/{world.session_id}/end-detached"]
    assert world.row().state == "active"


def test_an_owner_that_declines_lives_however_stale_its_heartbeat(world: World) -> None:
    world.now += TTL_SECS + 1
    world.agent.heartbeat()
    world.answers = [NoAnswer("declined")]
    with pytest.raises(RetryLater):
        world.resume()
    assert world.row().epoch == 1


@pytest.mark.parametrize("outcome", ["refused", "other_id", "timed_out"])
def test_an_owner_that_postgresql_hears_from_is_not_claimed_from_however_stale_or_absent(
    world: World, outcome: Outcome
) -> None:
    """It lost Valkey alone, and was slow to answer a single dial."""
    world.now += TTL_SECS + 1
    world.registry.deregister("a")
    world.agent.heartbeat()
    world.answers, world.witness = [NoAnswer(outcome)] * 2, "held"
    with pytest.raises(RetryLater):
        world.resume()
    with pytest.raises(RetryLater):
        world.broker.end(world.session_id, "ended by ana")
    assert (world.row().owner, world.row().epoch, world.row().state) == ("a", 1, "active")


def test_a_session_whose_end_is_requested_between_look_up_and_claim_is_not_claimed(world: World) -> None:
    def request() -> NoAnswer:
        with world.database.transaction() as tx:
            sessions.end_all_of(tx, world.row().user_id, "access was withdrawn")
        return NoAnswer("refused")

    world.answers, world.witness = [request], "free"
    with pytest.raises(SessionGone, match="access was withdrawn"):
        world.resume()
    assert world.row().epoch == 1


def test_a_session_whose_end_is_requested_is_not_resumed(world: World) -> None:
    with world.database.transaction() as tx:
        sessions.end_all_of(tx, world.row().user_id, "access was withdrawn")
    with pytest.raises(SessionGone, match="access was withdrawn"):
        world.resume()


def test_a_session_that_ends_while_it_is_looked_up_is_no_failure(world: World) -> None:
    """It was here when the look-up began, and its row says at the next look what became of it."""
    world.takes("me")
    held = iter([2, None])
    world.holdings.held_epoch = lambda session_id: next(held, None)  # type: ignore[method-assign]
    opening = world.resume()
    assert opening.wait().is_live
    assert world.row().epoch == 3


def test_two_claims_in_one_process_are_one_while_the_spool_is_being_restored(world: World) -> None:
    restored = greenlets.Event()
    world.restore = lambda: restored.wait() and False
    world.answers, world.witness = [NoAnswer("refused")] * 2, "free"
    both = [greenlets.spawn("claim", world.resume) for _ in range(2)]
    until(lambda: world.dialled, "the dial")
    # Turns enough for both to reach the claim.
    for _ in range(20):
        greenlets.sleep(0)
    restored.set()
    greenlets.joinall(both, timeout=30)
    first, second = (each.value for each in both)
    assert first is second
    assert first.wait().is_live
    assert world.row().epoch == 2


def test_only_a_row_of_ours_is_given_up_and_not_before_all_is_stored(world: World) -> None:
    with pytest.raises(SessionGone):
        world.broker.admit(world.session_id, 1)
    assert (world.row().owner, world.row().epoch) == ("a", 1)
    world.takes("me")
    world.unstored.add(world.session_id)
    with pytest.raises(RetryLater):
        world.broker.admit(world.session_id, 2)
    world.unstored.clear()
    with pytest.raises(SessionGone):
        world.broker.admit(world.session_id, 2)
    assert (world.row().owner, world.row().epoch) == (None, 3)


def test_only_its_own_user_learns_why_a_session_of_this_instance_has_ended(world: World) -> None:
    facts = SimpleNamespace(id=world.session_id, token=world.token, user_id=ANA.id)
    ended: Any = SimpleNamespace(
        id=world.session_id, facts=facts, state=State.ENDED, recording=SimpleNamespace(fenced=True)
    )
    world.hub.hooks.on_close(ended, "exit status 7")
    with pytest.raises(SessionGone, match="exit status 7"):
        world.resume()
    with pytest.raises(SessionGone, match="another user") as refused:
        world.broker.resume(world.token, Actor("bob", uuid.uuid4()), UPGRADE)
    assert "exit status 7" not in str(refused.value)
