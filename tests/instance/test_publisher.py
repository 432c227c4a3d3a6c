"""The publisher: after failures and events in any order, the registry names the sessions that are held."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstacks import greenlets
from netstacks.cluster.model import SessionRecord, SessionState
from netstacks.errors import RegistryUnavailable
from netstacks.instance.publisher import Publisher
from netstacks.registry.memory import MemoryRegistry
from tests.cluster.facts import SESSION, instance, record


class Registry(MemoryRegistry):
    """A registry whose calls yield. A failed call may have had its effect all the same, or have it later."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.trouble: str | None = None
        self._late: list[Callable[[], Any]] = []
        for name in "ab":
            self.register(instance(name))

    def publish(self, *records: SessionRecord) -> Any:
        return self._ask("publish", lambda: MemoryRegistry.publish(self, *records))

    def remove(self, owner: str, epochs: Any) -> Any:
        return self._ask("remove", lambda: MemoryRegistry.remove(self, owner, epochs))

    def sessions_of(self, instance_id: str) -> Any:
        return self._ask("sessions_of", lambda: MemoryRegistry.sessions_of(self, instance_id))

    def _ask(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        trouble = self.trouble
        greenlets.sleep(0)
        if trouble == "done all the same":
            call()
        if trouble == "done later":
            self._late.append(call)
        if trouble is not None:
            raise RegistryUnavailable(trouble)
        return call()

    def thaw(self) -> None:
        """Ends the fault, after all late calls have had their effect."""
        self.trouble = None
        while self._late:
            self._late.pop()()


class Held:
    def __init__(self) -> None:
        self.by_id: dict[UUID, SessionRecord] = {}
        self.fenced: list[UUID] = []

    def records(self) -> list[SessionRecord]:
        return list(self.by_id.values())

    def fence(self, session_ids: Sequence[UUID]) -> None:
        self.fenced += session_ids
        for session_id in session_ids:
            self.by_id.pop(session_id)


class Lab:
    """An instance `a` whose sessions come and go."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.held = Held()
        self.publisher = Publisher("a", self.registry, self.held)
        self._spawned: list[greenlets.Greenlet] = []

    def open(self, session_id: UUID, epoch: int) -> None:
        opened = self.held.by_id[session_id] = record("a", epoch, session_id=session_id)
        self.publisher.publish(opened)

    def change(self, session_id: UUID) -> None:
        if held := self.held.by_id.get(session_id):
            state: SessionState = "detached" if held.state == "active" else "active"
            changed = self.held.by_id[session_id] = replace(held, state=state)
            self.publisher.republish(changed)

    def close(self, session_id: UUID) -> None:
        if closed := self.held.by_id.pop(session_id, None):
            self.publisher.withdraw(session_id, closed.epoch)

    def meanwhile(self, action: Callable[..., None], *arguments: Any) -> None:
        self._spawned.append(greenlets.spawn("meanwhile", action, *arguments))

    def settle(self) -> None:
        greenlets.joinall(self._spawned, timeout=30, raise_error=True)
        self.publisher.flush()

    def heartbeat(self) -> None:
        """The publisher's steps after a successful heartbeat."""
        self.publisher.catch_up()
        self.publisher.flush()

    def published(self) -> dict[UUID, SessionRecord]:
        return {each.id: each for each in MemoryRegistry.sessions_of(self.registry, "a")}


@pytest.fixture
def lab() -> Lab:
    return Lab()


TROUBLES = ["not done", "done all the same", "done later", None]
STEPS = st.one_of(
    st.tuples(st.just("open"), st.integers(1, 3)),
    st.tuples(st.just("change"), st.integers(1, 3)),
    st.tuples(st.just("close"), st.integers(1, 3)),
    st.tuples(st.just("pass"), st.integers(1, 4)),
    st.tuples(st.just("trouble"), st.sampled_from(TROUBLES)),
    st.tuples(st.just("heartbeat"), st.none()),
)


def play(lab: Lab, steps: list[tuple[str, Any]]) -> None:
    epochs = dict.fromkeys((1, 2, 3), 0)
    for step, what in steps:
        match step:
            case "open":
                epochs[what] += 1
                lab.meanwhile(lab.open, UUID(int=what), epochs[what])
            case "change":
                lab.meanwhile(lab.change, UUID(int=what))
            case "close":
                lab.meanwhile(lab.close, UUID(int=what))
            case "pass":
                for _ in range(what):
                    greenlets.sleep(0)
            case "trouble":
                lab.registry.trouble = what
            case "heartbeat" if lab.registry.trouble is None:
                lab.registry.thaw()
                lab.publisher.catch_up()


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_the_registry_has_what_is_held_after_the_first_heartbeat_without_trouble(steps: list[tuple[str, Any]]) -> None:
    lab = Lab()
    play(lab, steps)
    lab.settle()
    lab.registry.thaw()
    lab.heartbeat()
    assert lab.published() == lab.held.by_id
    assert not lab.held.fenced


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS.filter(lambda step: step[0] not in ("trouble", "heartbeat")), max_size=30))
def test_without_trouble_it_needs_no_heartbeat_and_compares_nothing(steps: list[tuple[str, Any]]) -> None:
    lab = Lab()
    play(lab, steps)
    lab.settle()
    assert lab.published() == lab.held.by_id
    assert "sessions_of" not in lab.registry.calls


def test_changes_during_a_call_are_sent_by_the_next_at_once(lab: Lab) -> None:
    many = [UUID(int=number) for number in range(1, 1501)]
    for session_id in many:
        lab.meanwhile(lab.open, session_id, 1)
    lab.settle()
    assert len(lab.published()) == 1500
    lab.registry.calls.clear()
    for session_id in many:
        lab.close(session_id)
    lab.settle()
    assert lab.published() == {}
    assert lab.registry.calls == ["remove"]


def test_a_withdrawal_does_not_undo_a_later_publication(lab: Lab) -> None:
    lab.open(SESSION, 1)
    lab.held.by_id[SESSION] = record("a", 2)
    lab.meanwhile(lab.publisher.publish, record("a", 2))
    lab.meanwhile(lab.publisher.withdraw, SESSION, 1)
    lab.settle()
    assert lab.published() == {SESSION: record("a", 2)}


def test_the_later_epoch_of_two_waiting_publications_wins(lab: Lab) -> None:
    lab.held.by_id[SESSION] = record("a", 2)
    lab.meanwhile(lab.publisher.publish, record("a", 2))
    lab.meanwhile(lab.publisher.publish, record("a", 1))
    lab.settle()
    assert lab.registry.calls == ["publish"]
    assert lab.published() == {SESSION: record("a", 2)}


def test_a_session_that_ends_while_its_publication_waits_leaves_nothing_of_its_former_owner(lab: Lab) -> None:
    lab.registry.publish(record("b", 1))
    lab.meanwhile(lab.open, SESSION, 2)
    lab.meanwhile(lab.close, SESSION)
    lab.settle()
    assert lab.registry.session(SESSION) is None


def test_a_fenced_copy_is_closed_when_its_publication_returns(lab: Lab) -> None:
    lab.registry.publish(record("b", 2))
    lab.open(SESSION, 1)
    assert lab.held.fenced == [SESSION]
    lab.settle()
    assert [(each.kind, each.details) for each in lab.registry.events()] == [("fenced", {"session": str(SESSION)})]


def test_a_copy_that_came_back_while_the_registry_was_asked_is_not_closed(lab: Lab) -> None:
    lab.registry.publish(record("b", 2))
    lab.meanwhile(lab.open, SESSION, 1)
    greenlets.sleep(0)
    # Fenced by its row, and claimed again, before the registry has answered.
    lab.meanwhile(lab.open, SESSION, 3)
    lab.settle()
    assert not lab.held.fenced
    assert lab.published() == {SESSION: record("a", 3)}


def test_a_comparison_publishes_only_what_differs(lab: Lab) -> None:
    lab.open(SESSION, 1)
    lab.registry.calls.clear()
    lab.publisher.mark_incomplete()
    lab.heartbeat()
    assert lab.registry.calls == ["sessions_of"]
    lab.open(SESSION, 2)
    lab.heartbeat()
    assert lab.registry.calls == ["sessions_of", "publish"]


def test_an_error_of_ours_ends_nothing_either(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lab.registry, "publish", lambda *records: 1 / 0)
        lab.open(SESSION, 1)
    lab.heartbeat()
    assert lab.published() == {SESSION: record("a")}
