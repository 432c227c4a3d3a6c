"""HA status over HTTP: its permission, what is shown while Valkey is away, and which drains are refused."""

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from netstacks.cluster.model import Instance, Snapshot
from netstacks.errors import RegistryUnavailable
from netstacks.instance.observer import Observer
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.base import RegistryStatus
from netstacks.registry.memory import MemoryRegistry
from netstacks.web.context import Services
from tests.web.conftest import Api


class Registry(MemoryRegistry):
    """A registry that can be away, as Valkey can."""

    away = False
    bad: ClassVar[dict[str, str]] = {}

    def unreadable(self) -> dict[str, str]:
        return self.bad

    def snapshot(self) -> Snapshot:
        if self.away:
            raise RegistryUnavailable("Valkey: connection refused")
        return super().snapshot()

    def status(self) -> RegistryStatus:
        return RegistryStatus("disconnected", error="connection refused") if self.away else RegistryStatus("connected")


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
def services(
    services: Services,
    registry: Registry,
    peer_clocks: PeerClocks,
    drained: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Services:
    """The services of the instance ctrl-a."""
    monkeypatch.setattr("netstacks.instance.observer.FRESH_SECS", 0)
    agent = SimpleNamespace(
        me=registry.instance("ctrl-a"), is_draining=False, on_drain=lambda: drained.append("ctrl-a")
    )
    services.agent = cast(Any, agent)
    services.observer = Observer(registry, peer_clocks)
    return services


def test_administrators_only(admin: Api, operator: Api, viewer: Api, anonymous: Api) -> None:
    for path in ("/api/v1/ha/status", "/api/v1/ha/stream"):
        assert [api.get(path).status_code for api in (admin, operator, viewer, anonymous)] == [200, 403, 403, 401]
    drain = "/api/v1/ha/instances/ctrl-b/drain"
    assert [api.post(drain, json={}).status_code for api in (operator, viewer, anonymous)] == [403, 403, 401]


def test_the_status_shows_instances_and_events(admin: Api) -> None:
    status = admin.get("/api/v1/ha/status").json
    assert status["instance_id"] == "ctrl-a"
    assert status["totals"] == {"registered_instances": 2, "healthy_instances": 2, "total_sessions": 0}
    assert [(each["id"], each["status"], each["problem"]) for each in status["instances"]] == [
        ("ctrl-a", "healthy", None),
        ("ctrl-b", "healthy", None),
    ]
    assert [(each["kind"], each["instance_id"]) for each in status["events"]] == [("joined", "ctrl-b")]
    assert status["valkey"]["connection"] == "connected"


def test_without_valkey_the_last_view_is_shown_with_its_time(admin: Api, registry: Registry) -> None:
    before = admin.get("/api/v1/ha/status").json
    registry.away = True
    after = admin.get("/api/v1/ha/status").json
    assert after["valkey"] == {"connection": "disconnected", "error": "connection refused"}
    assert after["instances"] == before["instances"]
    assert after["seen_at"] == before["seen_at"] is not None


def test_the_page_says_what_is_wrong_with_valkey(page: Api, registry: Registry) -> None:
    page.get("/ha")
    registry.away = True
    text = page.get("/ha").text
    assert "Valkey does not answer: connection refused" in text
    assert "The state below is from" in text
    assert "ctrl-b" in text


def test_records_that_cannot_be_read_are_named(admin: Api, page: Api, registry: Registry) -> None:
    assert admin.get("/api/v1/ha/status").json["unreadable"] == []
    assert "cannot be read" not in page.get("/ha").text
    registry.bad = {"netstacks:instance:ctrl-x": "it has no <b>host</b>"}
    [told] = admin.get("/api/v1/ha/status").json["unreadable"]
    assert told == {"key": "netstacks:instance:ctrl-x", "problem": "it has no <b>host</b>"}
    text = page.get("/ha").text
    assert "1 record in Valkey cannot be read" in text
    assert "netstacks:instance:ctrl-x" in text
    assert "<b>host" not in text


def test_no_detail_of_an_event_hides_what_it_is_about(admin: Api, registry: Registry) -> None:
    registry._events[0] = replace(registry._events[0], details={"at": "never", "kind": "none", "instance_id": "none"})
    [event] = admin.get("/api/v1/ha/status").json["events"]
    assert (event["kind"], event["instance_id"]) == ("joined", "ctrl-b")
    assert event["at"] != "never"


def clock_of_b(clocks: PeerClocks, ahead_secs: float) -> None:
    clocks.note("ctrl-b", str(time.time() + ahead_secs), 0.0)


def test_a_clock_that_differs_is_shown_with_what_to_do(admin: Api, page: Api, peer_clocks: PeerClocks) -> None:
    def skews() -> dict[str, float | None]:
        return {each["id"]: each["clock_skew_secs"] for each in admin.get("/api/v1/ha/status").json["instances"]}

    assert skews() == {"ctrl-a": None, "ctrl-b": None}
    clock_of_b(peer_clocks, 40)
    assert skews() == {"ctrl-a": None, "ctrl-b": pytest.approx(40, abs=1)}
    told = admin.get("/api/v1/ha/status").json["clocks"]
    assert "ctrl-b on host-ctrl-b is 40 s ahead" in told["warning"]
    assert told["tolerated_secs"] == 300
    text = page.get("/ha").text
    assert "ctrl-b on host-ctrl-b is 40 s ahead" in text
    assert "Run a time service" in text


def test_clocks_that_agree_well_enough_are_not_warned_of(admin: Api, page: Api, peer_clocks: PeerClocks) -> None:
    clock_of_b(peer_clocks, -3)
    assert admin.get("/api/v1/ha/status").json["clocks"]["warning"] is None
    text = page.get("/ha").text
    assert "Run a time service" not in text
    assert "agrees" in text


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
    first = next(iter(answer.response))
    assert first.startswith(b'data: {"instance_id": "ctrl-a"')
    assert first.endswith(b"\n\n")
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


def test_the_page_tells_in_words_what_became_of_a_provider(page: Api, registry: Registry) -> None:
    details = {"provider": "claude", "model": "sonnet", "reason": "answered 500"}
    for circuit in ("open", "half-open", "closed"):
        registry.record_event("breaker", "ctrl-a", circuit=circuit, **details)
    text = page.get("/ha").text
    assert "no calls to AI provider claude (sonnet): answered 500" in text
    assert "probes AI provider claude (sonnet)" in text
    assert "calls to AI provider claude (sonnet) have resumed" in text
