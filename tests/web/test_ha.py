"""HA status over HTTP: its permission, what is shown while Valkey is away, lost instances, and refused drains."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

import pytest

from netstacks import greenlets
from netstacks.cluster.instance_rows import Inconsistency
from netstacks.cluster.model import Event, Instance, LostInstance, Sample, Snapshot
from netstacks.errors import RegistryUnavailable, StoreUnavailable
from netstacks.instance.history import History
from netstacks.instance.observer import Observer
from netstacks.instance.session_survey import SessionSurvey
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.base import RegistryStatus
from netstacks.registry.figures import SentinelFigures, ValkeyFigures
from netstacks.registry.memory import MemoryRegistry
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.web.api.ha_status_json import rendered
from netstacks.web.context import Services
from tests.web.conftest import Api

FIGURES = ValkeyFigures(
    version="9.0.1",
    role="primary",
    address="valkey:6379",
    up_since=1_700_000_000.0,
    latency_secs=0.0012,
    memory_used_bytes=1024,
    memory_limit_bytes=0,
    memory_policy="noeviction",
    clients=3,
    persistence="append-only file",
    persistence_problem=None,
    last_save_at=None,
    replicas=(),
    upstream=None,
)


class Registry(MemoryRegistry):
    """A registry that can be away, as Valkey can."""

    is_shared = True
    away = False
    bad: ClassVar[dict[str, str]] = {}
    gone: ClassVar[list[LostInstance]] = []

    def unreadable(self) -> dict[str, str]:
        return self.bad

    def snapshot(self) -> Snapshot:
        if self.away:
            raise RegistryUnavailable("Valkey: connection refused")
        return super().snapshot()

    def events(self, limit: int = 50) -> list[Event]:
        if self.away:
            raise RegistryUnavailable("Valkey: connection refused")
        return super().events(limit)

    def status(self) -> RegistryStatus:
        if self.away:
            return RegistryStatus("disconnected", "plain", error="Valkey: connection refused.")
        return RegistryStatus("connected", "plain", FIGURES)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for name in ("ctrl-a", "ctrl-b"):
        registry.register(
            Instance(name, f"host-{name}", "127.0.0.1:1", 0.0, "1.2.3", "active", "fingerprint", pid=1, sessions=0)
        )
    registry.record_event("joined", "ctrl-b")
    return registry


@pytest.fixture
def peer_clocks() -> PeerClocks:
    return PeerClocks()


@pytest.fixture
def drained() -> list[str]:
    return []


@pytest.fixture
def inconsistencies() -> list[Inconsistency]:
    return []


@pytest.fixture
def services(
    services: Services,
    registry: Registry,
    inconsistencies: list[Inconsistency],
    peer_clocks: PeerClocks,
    drained: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Services:
    """The services of the instance ctrl-a."""
    monkeypatch.setattr("netstacks.instance.observer.FRESH_SECS", 0)
    monkeypatch.setattr("netstacks.instance.database_look.FRESH_SECS", 0)
    monkeypatch.setattr("netstacks.instance.history.FRESH_SECS", 0)
    agent = SimpleNamespace(
        me=registry.instance("ctrl-a"),
        is_draining=False,
        is_blind=False,
        contact=SimpleNamespace(problem=None),
        on_drain=lambda: drained.append("ctrl-a"),
    )
    services.agent = cast(Any, agent)
    services.observer = Observer(registry, peer_clocks, services.database)
    services.history = History(registry, services.observer.instance_ids)
    services.session_survey = SessionSurvey(services.database, services.peers, services.hub, "ctrl-a")
    services.consistency = cast(Any, SimpleNamespace(problems=lambda: tuple(inconsistencies)))
    return services


def status_of(api: Api) -> dict[str, Any]:
    return cast(dict[str, Any], api.get("/api/v1/ha/status").json)


def test_operators_may_look_and_only_administrators_may_act(
    admin: Api, operator: Api, viewer: Api, anonymous: Api
) -> None:
    for name in ("status", "stream", "history", "events", "sessions"):
        path = f"/api/v1/ha/{name}"
        assert [api.get(path).status_code for api in (admin, operator, viewer, anonymous)] == [200, 200, 403, 401]
    drain = "/api/v1/ha/instances/ctrl-b/drain"
    assert [api.post(drain, json={}).status_code for api in (operator, viewer, anonymous)] == [403, 403, 401]
    lost = "/api/v1/ha/lost/ctrl-b"
    assert [api.delete(lost).status_code for api in (operator, viewer, anonymous)] == [403, 403, 401]


def test_the_status_shows_instances_and_events(admin: Api) -> None:
    status = status_of(admin)
    assert status["instance_id"] == "ctrl-a"
    assert status["totals"] == {
        "registered_instances": 2,
        "healthy_instances": 2,
        "lost_instances": 0,
        "total_sessions": 0,
        "sessions_without_owner": 0,
    }
    assert status["cluster"] == {
        "condition": "healthy",
        "reason": None,
        "expected_instances": 2,
        "expected_by": "learned",
    }
    assert [(each["id"], each["status"], each["problem"]) for each in status["instances"]] == [
        ("ctrl-a", "healthy", None),
        ("ctrl-b", "healthy", None),
    ]
    assert [(each["kind"], each["instance_id"], each["text"]) for each in status["events"]] == [
        ("joined", "ctrl-b", "ctrl-b joined")
    ]
    assert status["valkey"]["connection"] == "connected"


def test_the_status_shows_figures_of_valkey_and_postgresql(admin: Api) -> None:
    status = status_of(admin)
    valkey, database = status["valkey"], status["database"]
    assert (valkey["version"], valkey["address"], valkey["latency_ms"]) == ("9.0.1", "valkey:6379", 1.2)
    assert valkey["up_since"] == "2023-11-14T22:13:20Z"
    assert (valkey["sentinel"], valkey["last_failover"], valkey["replicas"]) == (None, None, [])
    assert (database["connection"], database["error"], database["role"]) == ("connected", None, "primary")
    assert database["version"][0].isdigit()
    assert 0 < database["connections"] <= database["connections_limit"]
    assert database["recordings_bytes"] > 0
    assert "/" in database["wal_position"]
    assert database["replay_lag_secs"] is None
    assert database["seen_at"] is not None


def test_without_valkey_the_last_view_is_shown_with_its_time(admin: Api, registry: Registry) -> None:
    before = status_of(admin)
    registry.away = True
    after = status_of(admin)
    now = {"connection": "disconnected", "error": "Valkey: connection refused."}
    assert after["valkey"] == before["valkey"] | now
    assert after["instances"] == before["instances"]
    assert after["seen_at"] == before["seen_at"] is not None
    assert after["cluster"]["condition"] == "degraded"
    assert after["cluster"]["reason"] == "Valkey does not answer (connection refused)"
    assert after["totals"]["sessions_without_owner"] is None


def test_a_valkey_that_answers_and_is_at_risk_degrades_the_cluster(
    admin: Api, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = replace(FIGURES, persistence_problem="the disk is full", memory_used_bytes=99, memory_limit_bytes=100)
    sentinels = SentinelFigures("mymaster", 2, "NOQUORUM 1 usable Sentinels", ())
    monkeypatch.setattr(registry, "status", lambda: RegistryStatus("connected", "sentinel", failing, sentinels))
    status = status_of(admin)
    assert status["cluster"]["condition"] == "degraded"
    assert status["cluster"]["reason"] == (
        "Sentinel cannot replace Valkey's primary: NOQUORUM 1 usable Sentinels; "
        f"{status['valkey']['memory_problem']}; Valkey's persistence fails: the disk is full"
    )


def test_the_primary_since_a_failover_is_told_until_it_restarts(
    admin: Api, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def primary_since(**changed: Any) -> str | None:
        figures = replace(FIGURES, **changed)
        monkeypatch.setattr(registry, "status", lambda: RegistryStatus("connected", "sentinel", figures))
        return cast(str | None, status_of(admin)["valkey"]["primary_since"])

    assert primary_since() is None
    registry.record_event("failover", "ctrl-a", former="other:6379", address="valkey:6379", sessions="0")
    at = status_of(admin)["valkey"]["last_failover"]["at"]
    assert primary_since() == at
    assert primary_since(address="third:6379") is None
    assert primary_since(up_since=time.time() + 60) is None


def test_without_postgresql_its_last_figures_are_shown_with_their_time(
    admin: Api, services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = status_of(admin)["database"]

    def away(**_: Any) -> None:
        raise StoreUnavailable("the database is not reachable")

    monkeypatch.setattr(database, "transaction", away)
    after = services.observer.look() and rendered(services, services.observer.look()).status
    gone = {"connection": "disconnected", "error": "the database is not reachable"}
    assert after["database"] == before | gone
    assert "PostgreSQL does not answer" in after["cluster"]["reason"]


def stored_session(database: Database, owner: str | None, *, lost_owner: str | None = None) -> UUID:
    session_id = uuid4()
    with database.transaction() as tx:
        row = sessions.create(
            tx,
            session_id=session_id,
            user_id=uuid4(),
            username="lee",
            device_id=None,
            device_name="core-1",
            host="192.0.2.1",
            port=22,
            credential_id=None,
            term="xterm",
            cols=80,
            rows=24,
            owner=lost_owner or owner or "ctrl-z",
            owner_address="127.0.0.1:1",
            token=uuid4(),
        )
        if lost_owner is not None and owner is not None:
            sessions.claim(tx, row, owner=owner, owner_address="127.0.0.1:1")
        elif owner is None:
            sessions.release(tx, session_id, row.epoch)
    return session_id


LOST = LostInstance(
    id="ctrl-x",
    host="host-x",
    peer_address="127.0.0.1:1",
    version="1.2.3",
    started_at=0.0,
    last_heartbeat_at=0.0,
    lost_at=0.0,
    sessions=3,
    reaped_by="ctrl-a",
    proof="refused",
)


def lose(registry: Registry, ago_secs: float) -> None:
    """Makes ctrl-x an instance that was lost."""
    registry._lost["ctrl-x"] = replace(LOST, lost_at=registry.now() - ago_secs)


def test_a_lost_instance_is_shown_with_what_became_of_its_sessions(
    admin: Api, registry: Registry, database: Database
) -> None:
    lose(registry, 250)
    for _ in range(2):
        stored_session(database, "ctrl-b", lost_owner="ctrl-x")
    stored_session(database, "ctrl-x")
    status = status_of(admin)
    [lost] = status["lost"]
    assert (lost["id"], lost["host"], lost["proof"], lost["reaped_by"]) == ("ctrl-x", "host-x", "refused", "ctrl-a")
    assert lost["sessions"] == {"total": 3, "taken_over": 2, "waiting": 1, "ended": 0}
    assert lost["problem"] == "lost 4 min ago, its 3 sessions: 2 taken over, 1 waiting for its user"
    assert status["totals"]["lost_instances"] == 1
    assert status["totals"]["sessions_without_owner"] == 1
    assert status["cluster"] == {
        "condition": "degraded",
        "reason": "2 of 3 instances are healthy: ctrl-x on host-x was lost 4 min ago",
        "expected_instances": 3,
        "expected_by": "learned",
    }


def test_a_lost_instance_is_dismissed_once_and_audited(
    admin: Api, registry: Registry, services: Services, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    lose(registry, 20)
    assert len(status_of(admin)["lost"]) == 1
    assert admin.delete("/api/v1/ha/lost/ctrl-x").status_code == 204
    status = status_of(admin)
    assert (status["lost"], status["cluster"]["condition"]) == ([], "healthy")
    assert status["events"][0]["text"] == "admin removed the lost instance ctrl-x from the list"
    again = admin.delete("/api/v1/ha/lost/ctrl-x")
    assert again.status_code == 404
    assert "is not in the list of lost instances" in again.json["error"]
    services.deferred_writes.start()
    services.deferred_writes.flush(30)
    [row] = audited("instance.dismissed")
    assert (row["actor"], row["resource"]) == ("admin", "instance:ctrl-x")


def test_the_total_includes_sessions_that_wait_without_an_owner(admin: Api, database: Database) -> None:
    stored_session(database, None)
    totals = status_of(admin)["totals"]
    assert (totals["total_sessions"], totals["sessions_without_owner"]) == (1, 1)


def test_right_after_an_outage_no_instance_is_stale(admin: Api, services: Services, registry: Registry) -> None:
    services.settings = replace_ttl(services, 0.0)
    assert {each["status"] for each in status_of(admin)["instances"]} == {"stale"}
    services.agent.is_blind = True  # type: ignore[misc]
    late = status_of(admin)
    assert {each["status"] for each in late["instances"]} == {"late"}
    assert "heartbeats are not judged until Valkey has been back" in late["instances"][0]["problem"]
    assert late["totals"]["sessions_without_owner"] is None


def test_inconsistencies_degrade_the_cluster_and_say_what_to_do(
    admin: Api, inconsistencies: list[Inconsistency]
) -> None:
    problem = Inconsistency("setting", "they differ", "set the same value", ("ctrl-a", "ctrl-b"))
    inconsistencies.append(problem)
    status = status_of(admin)
    assert status["inconsistencies"] == [
        {
            "kind": "setting",
            "problem": "they differ",
            "remedy": "set the same value",
            "instances": ["ctrl-a", "ctrl-b"],
        }
    ]
    assert (status["cluster"]["condition"], status["cluster"]["reason"]) == ("degraded", "they differ")


def test_too_few_instances_are_missed_by_the_setting(admin: Api, services: Services) -> None:
    services.settings = services.settings.model_copy(update={"ha_expected_instances": 3})
    cluster = status_of(admin)["cluster"]
    assert (cluster["condition"], cluster["expected_instances"], cluster["expected_by"]) == ("degraded", 3, "setting")
    assert cluster["reason"] == "2 of 3 instances are healthy: 1 of the 3 in HA_EXPECTED_INSTANCES is not known"


def test_the_last_failover_is_shown(admin: Api, registry: Registry) -> None:
    registry.record_event("failover", "ctrl-a", sessions="2", former="a:6379", address="b:6379")
    status = status_of(admin)
    failover = status["valkey"]["last_failover"]
    assert (failover["former"], failover["address"]) == ("a:6379", "b:6379")
    assert failover["at"] == status["events"][0]["at"]


def test_many_viewers_share_one_look_and_one_rendering(
    admin: Api, services: Services, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netstacks.instance.observer.FRESH_SECS", 60)
    monkeypatch.setattr("netstacks.instance.database_look.FRESH_SECS", 60)
    monkeypatch.setattr("netstacks.web.api.ha_status_json.FRESH_SECS", 60)
    snapshots = []
    take = registry.snapshot
    monkeypatch.setattr(registry, "snapshot", lambda: snapshots.append(1) or take())
    first = rendered(services, services.observer.look())
    assert all(rendered(services, services.observer.look()) is first for _ in range(20))
    assert admin.get("/api/v1/ha/status").text == first.body
    assert len(snapshots) == 1


def test_ages_alone_are_no_news(services: Services) -> None:
    first = rendered(services, services.observer.look())
    greenlets.sleep(1.1)
    second = rendered(services, services.observer.look())
    assert first.body != second.body
    assert first.news == second.news


def test_events_are_filtered_by_kind_and_instance(admin: Api, registry: Registry) -> None:
    registry.record_event("reaped", "ctrl-x", by="ctrl-a", proof="silence", sessions="2")
    registry.record_event("left", "ctrl-y")

    def found(query: str) -> list[str]:
        return [each["kind"] for each in admin.get(f"/api/v1/ha/events?{query}").json["items"]]

    assert found("") == ["left", "reaped", "joined"]
    assert found("kind=left,joined") == ["left", "joined"]
    assert found("instance=ctrl-a") == ["reaped"]
    assert found("kind=left&instance=ctrl-a") == []
    assert found("limit=1") == ["left"]
    wrong = admin.get("/api/v1/ha/events?kind=lefft")
    assert wrong.status_code == 422
    assert "'lefft' is not a kind of event: use one of joined, " in wrong.json["error"]


def test_events_stay_while_valkey_is_away(admin: Api, registry: Registry) -> None:
    registry.away = True
    assert admin.get("/api/v1/ha/events").status_code == 503
    registry.away = False
    before = admin.get("/api/v1/ha/events").json
    registry.away = True
    assert admin.get("/api/v1/ha/events").json == before


def test_the_history_has_one_point_a_minute(admin: Api, registry: Registry) -> None:
    now = registry.now() // 60 * 60
    registry.add_samples(
        "ctrl-a",
        [
            Sample(now - 120 + 10 * number, number, 1.0 + number, 0.5, 0.001 * number, number << 20)
            for number in range(6)
        ],
    )
    admin.get("/api/v1/ha/status")
    history = admin.get("/api/v1/ha/history").json
    assert history["step_secs"] == 60
    series = history["instances"]["ctrl-a"]
    assert set(series) == {
        "from",
        "sessions",
        "heartbeat_age_secs",
        "loop_lag_ms",
        "valkey_latency_ms",
        "memory_mib",
    }
    assert {len(values) for name, values in series.items() if name != "from"} == {60}
    [point] = [each for each in series["sessions"] if each is not None]
    assert (point, max(filter(None, series["heartbeat_age_secs"]))) == (5, 6.0)
    assert (max(filter(None, series["loop_lag_ms"])), max(filter(None, series["valkey_latency_ms"]))) == (500.0, 5.0)
    assert [each for each in history["instances"]["ctrl-b"]["sessions"] if each is not None] == []


def test_live_sessions_are_listed_in_pages(admin: Api, database: Database) -> None:
    ids = [str(stored_session(database, "ctrl-b")) for _ in range(3)]
    waiting = str(stored_session(database, None))
    page = admin.get("/api/v1/ha/sessions?limit=2").json
    assert [each["id"] for each in page["items"]] == [waiting, ids[2]]
    rest = admin.get("/api/v1/ha/sessions", query_string={"limit": 2, "before": page["next"]}).json
    assert [each["id"] for each in rest["items"]] == [ids[1], ids[0]]
    of_b = admin.get("/api/v1/ha/sessions?instance=ctrl-b").json
    assert ([each["id"] for each in of_b["items"]], of_b["next"]) == (ids[::-1], None)
    first = of_b["items"][0]
    assert (first["username"], first["device_name"], first["owner"], first["epoch"]) == ("lee", "core-1", "ctrl-b", 1)
    # No owner answers in this test: what only an owner knows is unknown.
    assert (first["viewers"], first["bytes"]) == (None, None)
    assert page["items"][0]["bytes"] == 0


def test_a_session_whose_owner_is_gone_has_none(
    admin: Api, services: Services, registry: Registry, database: Database
) -> None:
    owned, orphan = (str(stored_session(database, owner)) for owner in ("ctrl-b", "ctrl-x"))

    def owners() -> dict[str, tuple[str | None, str | None]]:
        items = admin.get("/api/v1/ha/sessions").json["items"]
        return {each["id"]: (each["owner"], each["former_owner"]) for each in items}

    assert owners() == {owned: ("ctrl-b", None), orphan: (None, "ctrl-x")}
    assert status_of(admin)["totals"]["sessions_without_owner"] == 1
    [row] = admin.get("/api/v1/ha/sessions?instance=ctrl-x").json["items"]
    # What the dead instance had recorded.
    assert (row["owner"], row["bytes"]) == (None, 0)

    # An absence proves nothing right after an outage, and nothing during one.
    cast(Any, services.agent).is_blind = True
    assert owners()[orphan] == ("ctrl-x", None)
    cast(Any, services.agent).is_blind = False
    registry.away = True
    assert owners()[orphan] == ("ctrl-x", None)


def test_records_that_cannot_be_read_are_named(admin: Api, registry: Registry) -> None:
    assert status_of(admin)["unreadable"] == []
    registry.bad = {"netstacks:instance:ctrl-x": "it has no <b>host</b>"}
    status = status_of(admin)
    assert status["unreadable"] == [{"key": "netstacks:instance:ctrl-x", "problem": "it has no <b>host</b>"}]
    # The instances that are left out are not counted: "2 of 2 are healthy" would hide them.
    assert status["cluster"]["condition"] == "degraded"
    assert "1 record in Valkey cannot be read" in status["cluster"]["reason"]


def test_no_detail_of_an_event_hides_what_it_is_about(admin: Api, registry: Registry) -> None:
    registry._events[0] = replace(registry._events[0], details={"at": "never", "kind": "none", "instance_id": "none"})
    [event] = admin.get("/api/v1/ha/status").json["events"]
    assert (event["kind"], event["instance_id"]) == ("joined", "ctrl-b")
    assert event["at"] != "never"


def clock_of_b(clocks: PeerClocks, ahead_secs: float) -> None:
    clocks.note("ctrl-b", str(time.time() + ahead_secs), 0.0)


def test_a_clock_that_differs_is_shown(admin: Api, peer_clocks: PeerClocks) -> None:
    def skews() -> dict[str, float | None]:
        return {each["id"]: each["clock_skew_secs"] for each in admin.get("/api/v1/ha/status").json["instances"]}

    assert skews() == {"ctrl-a": None, "ctrl-b": None}
    clock_of_b(peer_clocks, 40)
    assert skews() == {"ctrl-a": None, "ctrl-b": pytest.approx(40, abs=1)}
    told = admin.get("/api/v1/ha/status").json["clocks"]
    assert "ctrl-b on host-ctrl-b is 40 s ahead" in told["warning"]
    assert told["tolerated_secs"] == 300


def test_clocks_that_agree_well_enough_are_not_warned_of(admin: Api, peer_clocks: PeerClocks) -> None:
    clock_of_b(peer_clocks, -3)
    assert admin.get("/api/v1/ha/status").json["clocks"]["warning"] is None


def test_the_instance_itself_is_named_when_it_differs_from_all_others(
    admin: Api, registry: Registry, peer_clocks: PeerClocks
) -> None:
    registry.register(
        Instance("ctrl-c", "host-ctrl-c", "127.0.0.1:1", 0.0, "1.2.3", "active", "fingerprint", pid=1, sessions=0)
    )
    clock_of_b(peer_clocks, 40)
    peer_clocks.note("ctrl-c", str(time.time() + 40), 0.0)
    told = admin.get("/api/v1/ha/status").json["clocks"]["warning"]
    assert told.startswith("The clock of ctrl-a, which serves this page, differs from that of every other instance")


def test_the_stream_is_the_status_as_events(admin: Api) -> None:
    answer = admin.get("/api/v1/ha/stream", buffered=False)
    assert answer.mimetype == "text/event-stream"
    events = iter(answer.response)
    assert next(events) == b"retry: 1000\n\n"
    first = next(events)
    assert first.startswith(b"data: ")
    assert first.endswith(b"\n\n")
    assert json.loads(first.removeprefix(b"data: "))["instance_id"] == "ctrl-a"
    answer.close()


def test_the_stream_ends_at_a_drain(admin: Api, services: Services) -> None:
    events = iter(admin.get("/api/v1/ha/stream", buffered=False).response)
    assert next(events).startswith(b"retry:")
    assert next(events).startswith(b"data:")
    services.agent.is_draining = True  # type: ignore[misc]
    assert list(events) == []
    assert len(services.ha_streams) == 0


def test_the_stream_ends_when_its_time_is_over(admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netstacks.web.api.ha._STREAM_SECS", 0)
    assert list(admin.get("/api/v1/ha/stream", buffered=False).response) == [b"retry: 1000\n\n"]


def test_a_stream_without_news_sends_ages_seldom_and_comments_in_between(
    admin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netstacks.web.api.ha._LOOK_SECS", 0.01)
    monkeypatch.setattr("netstacks.web.api.ha._AGES_SECS", 3600)
    monkeypatch.setattr("netstacks.web.api.ha._SILENCE_SECS", 0.2)
    answer = admin.get("/api/v1/ha/stream", buffered=False)
    events = iter(answer.response)
    assert [next(events)[:5] for _ in range(5)] == [b"retry", b"data:", b":\n\n", b":\n\n", b":\n\n"]
    answer.close()


def test_a_change_is_sent_at_once(admin: Api, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netstacks.web.api.ha._LOOK_SECS", 0.01)
    monkeypatch.setattr("netstacks.web.api.ha._AGES_SECS", 3600)
    answer = admin.get("/api/v1/ha/stream", buffered=False)
    events = iter(answer.response)
    next(events), next(events)
    registry.record_event("left", "ctrl-b")
    assert b"ctrl-b shut down cleanly" in next(events)
    answer.close()


def test_another_instance_is_drained_through_the_registry(
    admin: Api, registry: Registry, drained: list[str], services: Services
) -> None:
    answer = admin.post("/api/v1/ha/instances/ctrl-b/drain", json={})
    assert (answer.status_code, answer.json) == (202, {"instance_id": "ctrl-b", "state": "draining"})
    assert registry.heartbeat("ctrl-b").state == "draining"
    assert [(each.kind, each.details) for each in registry.events(1)] == [("draining", {"by": "admin"})]
    assert drained == []
    again = admin.post("/api/v1/ha/instances/ctrl-b/drain", json={})
    assert (again.status_code, again.json) == (409, {"error": "ctrl-b is draining already."})


def test_its_own_drain_begins_at_once(admin: Api, drained: list[str]) -> None:
    assert admin.post("/api/v1/ha/instances/ctrl-a/drain", json={}).status_code == 202
    assert drained == ["ctrl-a"]


def test_the_last_healthy_instance_is_drained_only_by_force(admin: Api, registry: Registry) -> None:
    registry.set_state("ctrl-b", "draining")
    refused = admin.post("/api/v1/ha/instances/ctrl-a/drain", json={})
    assert refused.status_code == 409
    assert "the last healthy instance" in refused.json["error"]
    assert registry.heartbeat("ctrl-a").state == "active"
    assert admin.post("/api/v1/ha/instances/ctrl-a/drain", json={"force": True}).status_code == 202


def test_unknown_and_dead_instances_cannot_be_drained(admin: Api, registry: Registry, services: Services) -> None:
    assert admin.post("/api/v1/ha/instances/ctrl-z/drain", json={}).status_code == 404
    services.settings = replace_ttl(services, 0.0)
    dead = admin.post("/api/v1/ha/instances/ctrl-b/drain", json={})
    assert dead.status_code == 409
    assert "sends no heartbeats" in dead.json["error"]


def replace_ttl(services: Services, ttl_secs: float) -> Any:
    return services.settings.model_copy(
        update={"ha_stale_instance_ttl_secs": ttl_secs, "ha_heartbeat_interval_secs": 0.0}
    )


def test_events_tell_in_words_what_became_of_a_provider(admin: Api, registry: Registry) -> None:
    details = {"provider": "claude", "model": "sonnet", "reason": "answered 500"}
    for circuit in ("open", "half-open", "closed"):
        registry.record_event("breaker", "ctrl-a", circuit=circuit, **details)
    assert [each["text"] for each in status_of(admin)["events"][:3]] == [
        "Calls to AI provider claude (sonnet) have resumed",
        "ctrl-a probes AI provider claude (sonnet)",
        "No calls to AI provider claude (sonnet): answered 500",
    ]
