"""The admission queue of an instance: clients wait for their turn, and nothing is done for one that has gone."""

import time
import uuid
from uuid import UUID

import pytest

from netstacks import greenlets
from netstacks.cluster.admission import Standing
from netstacks.instance import admission as module
from netstacks.instance.admission import Admission, Grant
from netstacks.store import sessions
from netstacks.store.pool import Database
from tests.rows import make_session
from tests.waits import until

ANA = uuid.uuid4()


class Client:
    """Waits; notes what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float]] = []
        self.grant: Grant | None = None
        self.has_left = False
        self.finds_room = False
        self.was_handed_on = False

    def drop_if_gone(self) -> bool:
        return self.has_left

    def show_place(self, place: int, wait_secs: float) -> None:
        self.told.append((place, wait_secs))

    def admit(self, grant: Grant) -> None:
        self.grant = grant

    def hand_on(self) -> bool:
        self.was_handed_on = self.finds_room
        return self.finds_room


@pytest.fixture
def admission(database: Database, monkeypatch: pytest.MonkeyPatch) -> Admission:
    monkeypatch.setattr(module, "_CHECK_SECS", 0.1)
    admission = Admission(database)
    admission.start()
    return admission


def enter(admission: Admission, client: Client, *, user_id: UUID = ANA, token: UUID | None = None) -> None:
    admission.enter(client, user_id, since=time.time(), token=token)


def use_up(admission: Admission) -> list[Grant]:
    """Opens as many terminals as are admitted at once; none of them completes."""
    grants = []
    while (grant := admission.try_now()) is not None:
        grants.append(grant)
    return grants


def test_a_client_that_comes_alone_does_not_wait(admission: Admission) -> None:
    assert admission.try_now() is not None


def test_a_crowd_waits_and_all_of_it_gets_in(admission: Admission) -> None:
    use_up(admission)
    clients = [Client() for _ in range(20)]
    for client in clients:
        enter(admission, client, user_id=uuid.uuid4())
    assert admission.try_now() is None
    until(lambda: all(client.grant for client in clients))
    assert len(admission) == 0


def test_a_client_that_waits_is_told_its_place_and_how_long_it_takes(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "_grant", lambda self: None)
    clients = [Client() for _ in range(3)]
    for client in clients:
        enter(admission, client, user_id=uuid.uuid4())
    until(lambda: all(client.told for client in clients))
    assert [client.told[-1][0] for client in clients] == [1, 2, 3]
    assert clients[2].told[-1][1] > clients[0].told[-1][1] > 0


def test_nothing_is_done_for_a_client_that_has_gone(admission: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    may_enter = False
    grant = Admission._grant
    monkeypatch.setattr(Admission, "_grant", lambda self: grant(self) if may_enter else None)
    gone, waiting = Client(), Client()
    enter(admission, gone)
    enter(admission, waiting)
    gone.has_left = True
    may_enter = True
    until(lambda: waiting.grant is not None)
    assert gone.grant is None
    until(lambda: len(admission) == 0)


def test_no_more_are_opened_at_once_than_the_instance_gets_done(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPUTING_SECS", 3600.0)
    monkeypatch.setattr(module.Pace, "take", lambda self, now: True)
    grants = use_up(admission)
    assert module._MIN_AT_ONCE <= len(grants) <= 100
    client = Client()
    enter(admission, client)
    until(lambda: bool(client.told))
    assert client.grant is None
    grants[0].done()
    until(lambda: client.grant is not None)


def test_an_opening_that_waits_for_its_device_keeps_no_other_out(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPUTING_SECS", 0.3)
    monkeypatch.setattr(module.Pace, "take", lambda self, now: True)
    assert use_up(admission)
    client = Client()
    enter(admission, client)
    until(lambda: client.grant is not None)


def test_a_client_that_lost_its_connection_while_it_waited_has_its_place_again(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "_grant", lambda self: None)
    token, other = uuid.uuid4(), Client()
    admission.leave(admission.enter(Client(), ANA, since=time.time() - 10, token=token))
    enter(admission, other, user_id=uuid.uuid4())
    again = Client()
    enter(admission, again, user_id=uuid.uuid4(), token=token)
    until(lambda: bool(again.told and other.told))
    assert (again.told[-1][0], other.told[-1][0]) == (1, 2)


def lost(database: Database, *, state: str, printed_secs_ago: float) -> UUID:
    """The token of a session that has just lost its owner."""
    token = uuid.uuid4()
    session_id = make_session(database, token=token, owner="gone")
    with database.transaction() as tx:
        tx.execute(
            "UPDATE sessions SET state = %s, recording_ended_at = extract(epoch FROM now()) - %s,"
            " detached_at = CASE WHEN %s = 'detached' THEN now() - interval '200 s' END WHERE id = %s",
            [state, printed_secs_ago, state, session_id],
        )
        sessions.detach_orphans(tx, ["gone"])
    return token


def test_sessions_in_use_come_before_attached_ones_and_these_before_detached_ones(
    database: Database, admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "_grant", lambda self: None)
    tokens = [
        lost(database, state="detached", printed_secs_ago=200),
        lost(database, state="active", printed_secs_ago=1000),
        lost(database, state="active", printed_secs_ago=5),
    ]
    clients = [Client() for _ in tokens]
    for client, token in zip(clients, tokens, strict=True):
        enter(admission, client, user_id=uuid.uuid4(), token=token)
    until(lambda: all(client.told for client in clients) and [c.told[-1][0] for c in clients] == [3, 2, 1])


def test_a_session_that_was_attached_when_it_lost_its_owner_ranks_so_until_it_is_claimed(database: Database) -> None:
    token = lost(database, state="active", printed_secs_ago=1000)
    with database.transaction() as tx:
        row = sessions.find_by_token(tx, token)
        assert row is not None
        assert sessions.standings(tx, [token]) == {token: Standing.ATTACHED}
        claimed = sessions.claim(tx, row, owner="b", owner_address=None)
        assert claimed is not None
        sessions.mark_detached(tx, claimed.id, claimed.epoch)
        assert sessions.standings(tx, [token, uuid.uuid4()]) == {token: Standing.DETACHED}


def test_an_orphan_that_is_waited_for_does_not_end(
    database: Database, admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "_grant", lambda self: None)
    monkeypatch.setattr(module, "_TOUCH_SECS", 0.0)
    waited_for, left = (lost(database, state="detached", printed_secs_ago=500) for _ in range(2))
    enter(admission, Client(), token=waited_for)

    def due() -> set[UUID]:
        with database.transaction() as tx:
            return {row.id for row in sessions.due_orphans(tx, ["gone"], ttl_secs=100)}

    def id_of(token: UUID) -> UUID:
        with database.transaction() as tx:
            row = sessions.find_by_token(tx, token)
        assert row is not None
        return row.id

    assert due() == {id_of(waited_for), id_of(left)}
    until(lambda: due() == {id_of(left)})


def test_clients_that_would_wait_long_are_handed_on_the_first_ones_first(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "_grant", lambda self: None)
    monkeypatch.setattr(Admission, "_speed", lambda self: 1.0)
    clients = [Client() for _ in range(8)]
    for client in clients:
        client.finds_room = True
        enter(admission, client, user_id=uuid.uuid4())
    # Of eight that would wait for 8 s, five wait for no more than is bearable.
    until(lambda: len(admission) == 5)
    assert [client.was_handed_on for client in clients] == [True] * 3 + [False] * 5


def test_without_room_elsewhere_all_wait_here(admission: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admission, "_grant", lambda self: None)
    monkeypatch.setattr(Admission, "_speed", lambda self: 1.0)
    clients = [Client() for _ in range(8)]
    for client in clients:
        enter(admission, client, user_id=uuid.uuid4())
    until(lambda: all(len(client.told) > 3 for client in clients))
    assert len(admission) == 8


def test_a_greenlet_that_waits_gets_its_grant(admission: Admission) -> None:
    use_up(admission)
    waiting = greenlets.spawn("waiting", admission.wait, ANA, lambda place, secs: None, lambda: False)
    waiting.join(30)
    assert isinstance(waiting.value, Grant)


def test_a_greenlet_whose_user_gives_up_gets_none(admission: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admission, "_grant", lambda self: None)
    waiting = greenlets.spawn("waiting", admission.wait, ANA, lambda place, secs: None, lambda: True)
    waiting.join(30)
    assert waiting.successful()
    assert waiting.value is None
