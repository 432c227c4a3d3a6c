"""An instance uses another database when it has no row here and says that its own database answers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netstacks.cluster.model import Peer, Snapshot
from netstacks.errors import PeerFailed, RegistryUnavailable
from netstacks.instance.other_databases import OtherDatabases
from netstacks.peer.client import NoAnswer, Reply
from tests.cluster.facts import instance

NOW = 1000.0


class World:
    """This instance and another one in a registry; `answer` is what the other one says."""

    def __init__(self) -> None:
        other = replace(instance("ctrl-b"), started_at=0.0, last_heartbeat_at=NOW)
        self.agent = SimpleNamespace(snapshot=Snapshot(NOW, {"ctrl-b": other}))
        self.is_away = False
        self.now_registered = dict(self.agent.snapshot.instances)
        self.answer: Any = Reply({"has_database": True})
        self.calls: list[str] = []
        self.others = OtherDatabases(*cast(Any, (self.agent, self, self)), heartbeat_secs=5)

    def snapshot(self) -> Snapshot:
        if self.is_away:
            raise RegistryUnavailable("away")
        return Snapshot(NOW, self.now_registered)

    def call(self, peer: Peer, path: str) -> Any:
        self.calls.append(peer.id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def found(self, *known: str) -> list[str]:
        return [each.id for each in self.others.look(known)]


def test_without_a_row_and_with_a_database_it_uses_another_one() -> None:
    assert World().found("ctrl-a") == ["ctrl-b"]


def test_an_instance_with_a_row_is_not_asked() -> None:
    world = World()
    assert world.found("ctrl-a", "ctrl-b") == []
    assert world.calls == []


@pytest.mark.parametrize(
    "answer",
    [Reply({"has_database": False}), Reply(None), Reply([]), NoAnswer("timed_out"), PeerFailed("503")],
    ids=["has none", "of an older version", "no object", "silent", "an error"],
)
def test_one_that_does_not_confirm_its_database_is_not_reported(answer: Any) -> None:
    world = World()
    world.answer = answer
    assert world.found("ctrl-a") == []


def test_one_that_has_left_since_the_last_heartbeat_is_not_reported() -> None:
    world = World()
    world.now_registered = {}
    assert world.found("ctrl-a") == []


def test_while_the_registry_is_away_what_was_found_stays() -> None:
    world = World()
    world.is_away = True
    assert world.found("ctrl-a") == []
    world.is_away = False
    assert world.found("ctrl-a") == ["ctrl-b"]
    world.is_away = True
    assert world.found("ctrl-a") == ["ctrl-b"]
    assert world.found("ctrl-a", "ctrl-b") == []
