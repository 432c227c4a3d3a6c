"""Actions on HA status over HTTP: permissions, drains and their cancel, forecasts, moves, watching."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from netstacks import greenlets
from netstacks.cluster.model import Instance, Peer, Snapshot
from netstacks.errors import PeerFailed, RegistryUnavailable, RetryLater, SessionGone
from netstacks.instance.forecasts import Forecasts
from netstacks.instance.moves import Moves
from netstacks.instance.observer import Observer
from netstacks.peer.client import NoAnswer, Reply
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.memory import MemoryRegistry
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session
from netstacks.web.context import Services
from tests.rows import make_session
from tests.terminal.test_hub import add
from tests.web.conftest import Api

OWN, OTHER = "/api/v1/ha/instances/ctrl-a", "/api/v1/ha/instances/ctrl-b"


class Registry(MemoryRegistry):
    away = False

    def set_state(self, instance_id: str, state: Any) -> bool:
        if self.away:
            raise RegistryUnavailable("Valkey: connection refused")
        return super().set_state(instance_id, state)


class Peers:
    """The private listener of ctrl-b: `answer` is what it answers, or raises."""

    def __init__(self) -> None:
        self.answer: Any = NoAnswer("timed_out")
        self.calls: list[tuple[str, str]] = []

    def call(self, peer: Peer, path: str, **claims: Any) -> Any:
        self.calls.append((peer.id, path))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Broker:
    """Finds the session that `found` is, or asks its owner."""

    found: Any = None

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.ended: list[str] = []

    def ask(self, session_id: UUID, operation: str, **claims: Any) -> Any:
        self.asked.append((operation, claims))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def end(self, session_id: UUID, reason: str) -> None:
        self.ended.append(reason)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for name in ("ctrl-a", "ctrl-b"):
        registry.register(Instance(name, f"host-{name}", "127.0.0.1:1", 0.0, "1.2.3", "active", "fingerprint", pid=1))
        registry.heartbeat(name)
    return registry


@pytest.fixture
def told() -> list[tuple[str, str, dict[str, str]]]:
    """The events that this instance records."""
    return []


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def services(
    services: Services,
    registry: Registry,
    told: list[tuple[str, str, dict[str, str]]],
    peers: Peers,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> Services:
    """The services of the instance ctrl-a."""
    monkeypatch.setattr("netstacks.instance.observer.FRESH_SECS", 0)
    me = registry.instance("ctrl-a")
    agent: Any = SimpleNamespace(
        me=me,
        is_blind=False,
        is_draining=False,
        snapshot=registry.snapshot(),
        on_drain=services.drain_control.request,
        record_event=lambda kind, instance_id, **details: told.append((kind, instance_id, details)),
    )
    services.agent = agent
    services.peers = cast(Any, peers)
    services.broker = cast(Any, broker)
    services.observer = Observer(registry, PeerClocks())
    services.moves = Moves(agent, 30.0)
    services.forecasts = Forecasts(services.hub, agent, services.database, drain_timeout_secs=20.0, ttl_secs=30.0)
    services.deferred_writes.start()
    return services


@pytest.fixture
def stored(database: Database, admin: Api) -> Callable[..., UUID]:
    """`stored()`: a live session in PostgreSQL."""

    def store(*, ended: bool = False) -> UUID:
        session_id = make_session(database, user_id=admin.user_id, username="admin")
        if ended:
            with database.transaction() as tx:
                sessions.end(tx, session_id, 1, "its user closed the terminal")
        return session_id

    return store


def until_audited(audited: Callable[[str], list[dict[str, Any]]], event: str) -> list[dict[str, Any]]:
    """Deferred audit rows are stored soon."""
    for _ in range(3000):
        if rows := audited(event):
            return rows
        greenlets.sleep(0.01)
    raise AssertionError(f"no {event} in the audit log")


def test_only_administrators_act(operator: Api, viewer: Api, anonymous: Api) -> None:
    session = f"/api/v1/ha/sessions/{uuid4()}"
    actions = [
        *(("GET", f"{path}/forecast") for path in (OWN, session)),
        *((method, f"{OWN}/drain") for method in ("POST", "DELETE")),
        *(("POST", f"{session}/{action}") for action in ("move", "watch")),
    ]
    for method, path in actions:
        answers = [api.send(method, path, json={}).status_code for api in (operator, viewer, anonymous)]
        assert answers == [403, 403, 401], (method, path)


def test_the_own_drain_is_cancelled_without_valkey(
    admin: Api,
    services: Services,
    registry: Registry,
    told: list[tuple[str, str, dict[str, str]]],
    audited: Callable[[str], list[dict[str, Any]]],
) -> None:
    registry.away = True
    assert admin.post(f"{OWN}/drain", json={}).status_code == 202
    control = services.drain_control

    def drain() -> None:
        while not control.is_cancelled:
            greenlets.sleep(0.01)
        control.resume()

    greenlets.spawn("drain", drain)
    answer = admin.delete(f"{OWN}/drain")
    assert (answer.status_code, answer.json) == (200, {"instance_id": "ctrl-a", "state": "active"})
    assert told == [("drain_cancelled", "ctrl-a", {"by": "admin"})]
    [row] = until_audited(audited, "instance.drain_cancelled")
    assert (row["actor"], row["resource"]) == ("admin", "instance:ctrl-a")


def test_a_late_cancel_is_refused_with_what_to_do(admin: Api, services: Services) -> None:
    nothing = admin.delete(f"{OWN}/drain")
    assert (nothing.status_code, "is not draining" in nothing.json["error"]) == (409, True)
    services.drain_control.request()
    assert services.drain_control.leave()
    late = admin.delete(f"{OWN}/drain")
    assert late.status_code == 409
    assert "too late" in late.json["error"]
    assert "Start it again" in late.json["error"]


def test_another_instance_is_asked_for_the_cancel_directly(
    admin: Api, registry: Registry, peers: Peers, told: list[tuple[str, str, dict[str, str]]]
) -> None:
    registry.set_state("ctrl-b", "draining")
    peers.answer = Reply({"refused": None})
    assert admin.delete(f"{OTHER}/drain").status_code == 200
    assert peers.calls == [("ctrl-b", "/peer/instance/cancel-drain")]
    assert told == [("drain_cancelled", "ctrl-b", {"by": "admin"})]
    peers.answer = Reply({"refused": "it is too late", "is_requested": True})
    refused = admin.delete(f"{OTHER}/drain")
    assert (refused.status_code, refused.json) == (409, {"error": "ctrl-b: it is too late."})
    assert len(told) == 1


def test_a_drain_that_the_instance_has_not_read_yet_is_cancelled_in_the_registry(
    admin: Api, peers: Peers, registry: Registry
) -> None:
    peers.answer = Reply({"refused": "the instance is not draining", "is_requested": False})
    assert admin.delete(f"{OTHER}/drain").status_code == 409
    assert admin.post(f"{OTHER}/drain", json={}).status_code == 202
    assert registry.heartbeat("ctrl-b").state == "draining"
    cancelled = admin.delete(f"{OTHER}/drain")
    assert (cancelled.status_code, cancelled.json["state"]) == (200, "active")
    assert registry.heartbeat("ctrl-b").state == "active"


@pytest.mark.parametrize("answer", [NoAnswer("timed_out"), PeerFailed("instance ctrl-b answered 404")])
def test_an_instance_that_does_not_answer_finds_the_cancel_at_its_heartbeat(
    admin: Api, registry: Registry, peers: Peers, answer: Any
) -> None:
    registry.set_state("ctrl-b", "draining")
    peers.answer = answer
    found = admin.delete(f"{OTHER}/drain")
    assert (found.status_code, found.json) == (202, {"instance_id": "ctrl-b", "state": "draining"})
    assert registry.heartbeat("ctrl-b").state == "active"
    registry.deregister("ctrl-b")
    assert admin.delete(f"{OTHER}/drain").status_code == 404


def test_the_forecast_of_another_instance_is_its_own_answer(admin: Api, peers: Peers) -> None:
    assert admin.get(f"{OWN}/forecast").json["instance_id"] == "ctrl-a"
    theirs = admin.get(f"{OWN}/forecast").json | {"instance_id": "ctrl-b", "sessions": 7}
    peers.answer = Reply(theirs)
    assert admin.get(f"{OTHER}/forecast").json == theirs
    peers.answer = NoAnswer("timed_out")
    silent = admin.get(f"{OTHER}/forecast")
    assert (silent.status_code, "ctrl-b does not answer" in silent.json["error"]) == (503, True)
    assert admin.get("/api/v1/ha/instances/ctrl-z/forecast").status_code == 404


def held(services: Services, hub: Hub) -> Session:
    session = add(hub, "r1", attached=True, silent_secs=60)
    session.take(b"R1(config)#")
    session.recording.printed_at -= 60
    return session


def test_a_session_is_moved_and_the_move_is_audited(
    admin: Api,
    services: Services,
    broker: Broker,
    stored: Callable[..., UUID],
    told: list[tuple[str, str, dict[str, str]]],
    audited: Callable[[str], list[dict[str, Any]]],
) -> None:
    broker.found = session = held(services, services.hub)
    session_id = stored()
    forecast = admin.get(f"/api/v1/ha/sessions/{session_id}/forecast").json
    assert [each["risk"] for each in forecast["at_risk"]] == ["configuration"]
    assert [each["instance_id"] for each in forecast["targets"]] == ["ctrl-b"]
    answer = admin.post(f"/api/v1/ha/sessions/{session_id}/move", json={})
    assert (answer.status_code, answer.json) == (202, {"session_id": str(session_id), "state": "moving"})
    assert session.end_reason == "moved to another instance by admin"
    assert services.moves.is_away(session.facts.token)
    assert [(kind, details["by"]) for kind, _, details in told] == [("moved", "admin")]
    [row] = until_audited(audited, "session.moved")
    assert (row["resource"], row["details"]["owner"]) == (f"session:{session_id}", "admin")


def test_a_move_without_another_instance_is_refused(
    admin: Api, services: Services, broker: Broker, stored: Callable[..., UUID]
) -> None:
    broker.found = session = held(services, services.hub)
    cast(Any, services.agent).snapshot = Snapshot(0.0, {})
    refused = admin.post(f"/api/v1/ha/sessions/{stored()}/move", json={})
    assert (refused.status_code, "the only healthy instance" in refused.json["error"]) == (409, True)
    assert session.is_live


def test_the_owner_may_be_another_instance(
    admin: Api, broker: Broker, stored: Callable[..., UUID], audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    path = f"/api/v1/ha/sessions/{stored()}/move"
    broker.found = Reply({"refused": "ctrl-b is the only healthy instance"})
    assert admin.post(path, json={}).json == {"error": "ctrl-b is the only healthy instance."}
    assert audited("session.moved") == []
    broker.found = Reply({"instance_id": "ctrl-b"})
    assert admin.post(path, json={}).status_code == 202
    assert broker.asked[-1] == ("move", {"by": "admin"})


def test_sessions_that_are_gone_or_have_no_owner_cannot_be_moved(
    admin: Api, broker: Broker, stored: Callable[..., UUID]
) -> None:
    assert admin.post(f"/api/v1/ha/sessions/{uuid4()}/move", json={}).status_code == 404
    ended = admin.post(f"/api/v1/ha/sessions/{stored(ended=True)}/move", json={})
    assert (ended.status_code, "closed the terminal" in ended.json["error"]) == (409, True)
    assert broker.asked == []
    for found, status in ((RetryLater("no instance holds it"), 503), (SessionGone("it has ended"), 409), (None, 404)):
        broker.found = found
        assert admin.post(f"/api/v1/ha/sessions/{stored()}/move", json={}).status_code == status


def test_the_user_is_told_before_anybody_watches(
    admin: Api,
    services: Services,
    broker: Broker,
    stored: Callable[..., UUID],
    audited: Callable[[str], list[dict[str, Any]]],
) -> None:
    session_id = stored()
    path = f"/api/v1/ha/sessions/{session_id}/watch"
    broker.found = RetryLater("the owner does not answer")
    assert admin.post(path, json={}).status_code == 503
    assert admin.get(f"/api/sessions/{session_id}/share").json == []
    broker.found = Reply({})
    answer = admin.post(path, json={})
    assert answer.status_code == 201
    text = "administrator admin may watch this session for the next 60 minutes"
    assert broker.asked[-1] == ("tell", {"text": text})
    [share] = admin.get(f"/api/sessions/{session_id}/share").json
    assert (share["permission"], share["max_viewers"]) == ("read-only", 1)
    assert answer.json == {"share_url": share["share_url"]}
    [row] = audited("session.watched")
    assert row["resource"] == f"session:{session_id}"


def test_no_session_is_watched_while_sharing_is_switched_off(
    admin: Api, broker: Broker, stored: Callable[..., UUID]
) -> None:
    session_id = stored()
    broker.found = Reply({})
    admin.put("/api/v1/settings/features.sharing", json={"value": {"enabled": False, "disabled_roles": []}})
    assert admin.post(f"/api/v1/ha/sessions/{session_id}/watch", json={}).status_code == 403
    # The user must not be told of a view that does not come.
    assert broker.asked == []


def test_the_user_of_an_ended_session_is_told_by_whom(admin: Api, broker: Broker, stored: Callable[..., UUID]) -> None:
    assert admin.delete(f"/api/sessions/{stored()}").status_code == 204
    assert broker.ended == ["ended by admin"]
