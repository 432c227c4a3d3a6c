"""Moves of single sessions: who may take them over, and how long this instance leaves them alone."""

import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netstacks.cluster.model import Instance, Snapshot
from netstacks.errors import Conflict
from netstacks.instance import moves as module
from netstacks.instance.moves import Moves
from netstacks.recording.recorder import Recorder
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.terminal.hub import Hub
from tests.cluster.facts import instance
from tests.terminal.test_hub import add

NOWHERE = Database("postgresql://nobody@127.0.0.1:1/x")


@pytest.fixture
def told() -> list[tuple[str, str, dict[str, str]]]:
    return []


@pytest.fixture
def hub() -> Hub:
    return Hub(DeferredWrites(NOWHERE), detach_ttl_secs=60, close_grace_secs=10)


def moves(told: list[tuple[str, str, dict[str, str]]], *others: Instance) -> Moves:
    me = instance("me", last_heartbeat_at=1000.0)
    agent = SimpleNamespace(
        me=me,
        snapshot=Snapshot(1000.0, {each.id: each for each in (me, *others)}),
        record_event=lambda kind, instance_id, **details: told.append((kind, instance_id, details)),
    )
    return Moves(cast(Any, agent), ttl_secs=30.0)


def test_a_moved_session_is_handed_over_and_not_taken_back(
    hub: Hub, told: list[tuple[str, str, dict[str, str]]]
) -> None:
    session = add(hub, "r1", attached=True, silent_secs=0, recorder=Recorder(NOWHERE))
    own = moves(told, instance("b", last_heartbeat_at=1000.0))
    assert not own.is_away(session.facts.token)
    own.move(session, "ana")
    assert not session.is_live
    assert (len(hub), session.end_reason) == (0, "moved to another instance by ana")
    assert own.is_away(session.facts.token)
    assert not own.is_away(uuid.uuid4())
    assert not own.is_away(None)
    assert told == [("moved", "me", {"session": str(session.id), "device": "r1", "by": "ana"})]
    own.forget(session.facts.token)
    assert not own.is_away(session.facts.token)
    with pytest.raises(Conflict, match="just moved or ended"):
        own.move(session, "ana")


def test_it_is_taken_back_after_a_minute(
    hub: Hub, told: list[tuple[str, str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECS", 0.0)
    session = add(hub, "r1", attached=False, silent_secs=0)
    own = moves(told, instance("b", last_heartbeat_at=1000.0))
    own.move(session, "ana")
    assert not own.is_away(session.facts.token)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [instance("b", last_heartbeat_at=1000.0, state="draining")],
        [instance("b", last_heartbeat_at=900.0)],
        [instance("b", last_heartbeat_at=1000.0, state="refused")],
    ],
)
def test_a_session_stays_where_no_other_instance_could_take_it(
    hub: Hub, told: list[tuple[str, str, dict[str, str]]], others: list[Instance]
) -> None:
    session = add(hub, "r1", attached=True, silent_secs=0)
    with pytest.raises(Conflict, match="the only healthy instance"):
        moves(told, *others).move(session, "ana")
    assert session.is_live
    assert told == []
