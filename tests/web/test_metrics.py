"""`/metrics` in process: its token, its formats, and parts that fail; tests/acceptance has real controllers."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog.testing
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from werkzeug.exceptions import TooManyRequests, Unauthorized
from werkzeug.test import Client

from netstacks import greenlets
from netstacks.cluster.health import Facts, judge
from netstacks.cluster.model import ClusterSummary, Snapshot
from netstacks.errors import (
    AccessWithdrawn,
    DeviceLoginRefused,
    DeviceUnreachable,
    InvalidInput,
    LimitReached,
    OpeningAbandoned,
    RetryLater,
    StoreBusy,
    StoreUnavailable,
    VaultLocked,
)
from netstacks.instance import metrics as instance_metrics
from netstacks.instance.database_look import NOT_ASKED, DatabaseView
from netstacks.instance.observer import View
from netstacks.registry.base import RegistryStatus
from netstacks.registry.figures import Replica, SentinelFigures
from netstacks.registry.valkey import open_registry
from netstacks.settings import SettingsError, load
from netstacks.store.rehearsals import Proof
from netstacks.terminal.attachment import Kind
from netstacks.terminal.session_facts import State
from netstacks.web.auth import metrics as login_metrics
from netstacks.web.auth.licensing import SeatLimitReached
from netstacks.web.context import Services
from netstacks.web.metrics.collector import InstanceCollector
from netstacks.web.metrics.endpoint import MetricsEndpoint
from netstacks.web.metrics.families import gauge
from tests.llm import scripted_provider
from tests.llm.scripted_provider import ScriptedProvider
from tests.waits import until
from tests.web.test_ha import FIGURES

TOKEN = "a-token-of-the-tests"


class One(Collector):
    def collect(self) -> Iterator[Metric]:
        yield gauge("one", "text", 1)


def serve(token: str | None = TOKEN, collector: Collector | None = None) -> Client:
    def application(_environ, start_response):  # type: ignore[no-untyped-def]
        start_response("418 I'm a teapot", [])
        return [b"the application"]

    return Client(MetricsEndpoint(application, collector or One(), token))


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {token}"}


def test_only_the_path_itself_is_taken() -> None:
    for path in ("/", "/metrics/", "/metrics/x", "/api/metrics"):
        assert serve().get(path, headers=bearer(TOKEN)).status_code == 418


def test_without_a_setting_the_application_answers() -> None:
    for headers in ({}, bearer(""), bearer("None"), bearer(TOKEN)):
        assert serve(None).get("/metrics", headers=headers).status_code == 418


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer(TOKEN[:-1]),
        bearer(f"{TOKEN}a"),
        bearer(TOKEN.upper()),
        bearer(TOKEN, "Basic"),
        bearer("ä"),
    ],
    ids=["none", "empty", "shorter", "longer", "case", "scheme", "not ASCII"],
)
def test_a_wrong_token_is_refused_for_every_method(headers: dict[str, str]) -> None:
    for method in ("GET", "HEAD", "POST"):
        answer = serve().open("/metrics", method=method, headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert b"netstacks_" not in answer.data


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_right_token_is_served(scheme: str) -> None:
    answer = serve().get("/metrics", headers=bearer(TOKEN, scheme))
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "netstacks_one 1.0\n" in answer.text
    assert answer.headers["Content-Length"] == str(len(answer.data))


def test_head_has_no_body_and_other_methods_are_refused() -> None:
    head = serve().head("/metrics", headers=bearer(TOKEN))
    assert (head.status_code, head.data) == (200, b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = serve().open("/metrics", method=method, headers=bearer(TOKEN))
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_openmetrics_is_served_to_a_client_that_asks_for_it() -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    answer = serve().get("/metrics", headers=bearer(TOKEN) | accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("token", ["a short token", "0123456789abcde", "0123456789abcdef ä", "with a space 0123456789"])
def test_a_token_that_no_client_can_send_or_that_is_short_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"METRICS_TOKEN": token})
    line = next(line for line in str(caught.value).splitlines() if line.startswith("METRICS_TOKEN"))
    assert "must be 16 or more" in line
    assert token not in line


def test_the_applications_own_answer_stays_404_without_the_setting(anonymous: Any) -> None:
    assert anonymous.get("/metrics", headers=bearer(TOKEN)).status_code == 404


def parts(**members: object) -> Services:
    """The parts of an instance that is healthy and has nothing to do."""
    facts = Facts(
        instance_id="here",
        version="0",
        started_at=0.0,
        taken_at=0.0,
        database=True,
        valkey="disabled",
        cluster=ClusterSummary(1, 1, 0),
        local_sessions=0,
    )
    view = View(Snapshot(0.0, {}), (), RegistryStatus("disabled"), seen_at=1.0)
    nothing: dict[str, object] = {
        "agent": SimpleNamespace(me=SimpleNamespace(id="here", state="active"), heartbeat_age_secs=1.5, is_blind=False),
        "health": SimpleNamespace(report=lambda: judge(facts, 0.0, 2.0)),
        "hub": [],
        "database": SimpleNamespace(contact=SimpleNamespace(connection_counts=lambda: [("pages", 1, 2)])),
        "recorder": SimpleNamespace(waiting_bytes=7),
        "disk_watch": SimpleNamespace(free_bytes=8, spool_files=9),
        "admission": [],
        "llm": SimpleNamespace(directory=SimpleNamespace(configured=list)),
        "settings": SimpleNamespace(ha_expected_instances=0, ha_stale_instance_ttl_secs=30),
        "peers": SimpleNamespace(clocks=SimpleNamespace(skews={})),
        "consistency": SimpleNamespace(problems=tuple),
        "observer": SimpleNamespace(look=lambda: view),
    }
    return cast(Services, SimpleNamespace(**nothing | members))


def collected(services: Services) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name.removeprefix("netstacks_"), frozenset(sample.labels.items())): sample.value
        for family in InstanceCollector(services).collect()
        for sample in family.samples
    }


def test_what_the_parts_know_is_shown() -> None:
    attachments = [SimpleNamespace(kind=kind) for kind in (Kind.CONTROL, Kind.VIEWER, Kind.VIEWER)]
    sessions = [
        SimpleNamespace(is_live=True, state=State.ACTIVE, attachments=attachments),
        SimpleNamespace(is_live=True, state=State.DETACHED, attachments=[]),
        SimpleNamespace(is_live=False, state=State.ENDED, attachments=[]),
    ]
    clocks = SimpleNamespace(skews={"a": 0.5, "b": -2.0})
    shown = collected(parts(hub=sessions, peers=SimpleNamespace(clocks=clocks), admission=[1, 2]))
    expected = {
        "sessions": {"state=active": 1, "state=detached": 1},
        "attachments": {"kind=control": 1, "kind=viewer": 2},
        "instance_state": {"state=active": 1, "state=draining": 0, "state=refused": 0},
        "health_status": {"status=healthy": 1, "status=degraded": 0, "status=draining": 0, "status=unhealthy": 0},
        "database_connections": {"pool=pages,state=in_use": 1, "pool=pages,state=idle": 2},
        "recorder_backlog_bytes": {"": 7},
        "disk_free_bytes": {"": 8},
        "spool_files": {"": 9},
        "admission_waiting": {"": 2},
        "clock_skew_seconds": {"": 2},
        "heartbeat_age_seconds": {"": 1.5},
        "stale_instance_ttl_seconds": {"": 30},
        "cluster_inconsistencies": {"": 0},
        "database_up": {"": 1},
    }
    for name, values in expected.items():
        found = {
            ",".join(f"{label}={text}" for label, text in sorted(labels)): value
            for (series, labels), value in shown.items()
            if series == name
        }
        assert found == values, name
    assert not [name for name, _ in shown if name.startswith("valkey_")]


def test_the_figures_of_valkey_and_the_sessions_without_owner_are_shown() -> None:
    figures = replace(FIGURES, memory_used_bytes=95, memory_limit_bytes=100, replicas=(Replica("r:1", "online", 0, 0),))
    sentinels = SentinelFigures("mymaster", 2, None, ())

    def shown(
        database: DatabaseView = NOT_ASKED, unreadable: Mapping[str, str] | None = None, **members: Any
    ) -> dict[str, float]:
        status = replace(RegistryStatus("connected", "sentinel", figures, sentinels), **members)
        view = View(Snapshot(0.0, {}), (), status, seen_at=1.0, unreadable=unreadable or {}, database=database)
        collector = InstanceCollector(parts(observer=SimpleNamespace(look=lambda: view)))
        collector._read_view()
        found = {
            sample.name.removeprefix("netstacks_"): sample.value
            for family in collector.collect()
            for sample in family.samples
        }
        return {
            name: value
            for name, value in found.items()
            if name.startswith(("valkey_", "backup_")) or name == "cluster_sessions_without_owner"
        }

    whole = {
        "valkey_memory_used_bytes": 95,
        "valkey_memory_limit_bytes": 100,
        "valkey_replicas": 1,
        "valkey_persistence_ok": 1,
        "valkey_unreadable_records": 0,
    }
    assert shown() == whole | {"valkey_failover_possible": 1}
    assert shown(sentinels=None) == whole
    failing = replace(figures, persistence_problem="the disk is full", replicas=())
    assert shown(figures=failing) == whole | {
        "valkey_replicas": 0,
        "valkey_persistence_ok": 0,
        "valkey_failover_possible": 0,
    }
    away: dict[str, Any] = {"connection": "disconnected", "figures": None}
    assert shown(**away) == {"valkey_failover_possible": 1}
    assert shown(**away, sentinels=replace(sentinels, quorum_problem="NOQUORUM")) == {"valkey_failover_possible": 0}
    assert shown(unreadable={"netstacks:x": "no host"}, sentinels=None) == whole | {"valkey_unreadable_records": 1}
    at = datetime(2026, 11, 30, 2, tzinfo=UTC)
    proof = Proof(proven_at=at, backup_created_at=at, recordings=3, audit_rows=50, secrets=4)
    proven = DatabaseView("connected", backup=proof)
    assert shown(proven, sentinels=None) == whole | {"backup_proven_timestamp_seconds": at.timestamp()}
    assert shown(DatabaseView("connected", unowned=3), sentinels=None) == whole | {"cluster_sessions_without_owner": 3}


def test_sessions_without_owner_are_not_counted_before_instances_have_registered_again() -> None:
    view = View(
        Snapshot(0.0, {}), (), RegistryStatus("disabled"), seen_at=1.0, database=DatabaseView("connected", unowned=3)
    )
    agent = SimpleNamespace(me=SimpleNamespace(id="here", state="active"), heartbeat_age_secs=1.5, is_blind=True)
    collector = InstanceCollector(parts(observer=SimpleNamespace(look=lambda: view), agent=agent))
    collector._read_view()
    assert "netstacks_cluster_sessions_without_owner" not in {family.name for family in collector.collect()}


def test_a_part_that_fails_hides_no_other() -> None:
    def fail() -> None:
        raise RuntimeError("no")

    for broken in ("agent", "hub", "database", "recorder", "admission", "llm", "peers", "consistency", "observer"):
        with structlog.testing.capture_logs() as logged:
            shown = {name for name, _ in collected(parts(**{broken: fail}))}
        missing = {name for name, _ in collected(parts())} - shown
        assert len(missing) < 8, (broken, missing)
        assert {"process_cpu_seconds_total", "health_status"} <= shown
        if broken != "observer":
            assert [line["event"] for line in logged if line["log_level"] == "error"].count("metrics.failed") >= 1


def test_a_scrape_does_not_wait_for_a_registry_that_hangs() -> None:
    answered = greenlets.Event()

    def look() -> View:
        answered.wait()
        return View(Snapshot(0.0, {}), (), RegistryStatus("disabled"), seen_at=1.0)

    collector = InstanceCollector(parts(observer=SimpleNamespace(look=look)))
    for _ in range(2):
        names = {family.name for family in collector.collect()}
        assert "netstacks_cluster_sessions" in names
        assert "netstacks_cluster_lost_instances" not in names
    answered.set()
    until(lambda: "netstacks_cluster_lost_instances" in {family.name for family in collector.collect()}, "the answer")


def test_an_instance_that_starts_is_unhealthy() -> None:
    shown = collected(parts(health=SimpleNamespace(report=lambda: None)))
    assert shown["health_status", frozenset({("status", "unhealthy")})] == 1


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"netstacks_{name}_total", labels) or 0.0


def test_each_end_of_an_opening_has_its_result() -> None:
    ends: list[tuple[Exception | None, str]] = [
        (None, "opened"),
        (OpeningAbandoned("left"), "abandoned"),
        (DeviceUnreachable("no answer"), "device"),
        (DeviceLoginRefused("no"), "device"),
        (LimitReached("too many"), "refused"),
        (AccessWithdrawn("gone"), "refused"),
        (InvalidInput("what"), "refused"),
        (RetryLater("drain"), "refused"),
        (StoreUnavailable("away"), "error"),
        (StoreBusy("busy"), "error"),
        (VaultLocked("locked"), "error"),
        (ZeroDivisionError(), "error"),
    ]
    for error, result in ends:
        before = counted("opens", result=result)
        with contextlib.suppress(Exception), instance_metrics.counting_open():
            if error is not None:
                raise error
        assert counted("opens", result=result) == before + 1, error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unauthorized("wrong"), "password"),
        (TooManyRequests("wait"), "throttled"),
        (RetryLater("many"), "busy"),
        (SeatLimitReached(5, 5), "seats"),
        (StoreUnavailable("away"), "database"),
    ],
)
def test_each_refusal_of_a_log_in_has_its_reason(error: Exception, reason: str) -> None:
    before = counted("logins_refused", reason=reason)
    with pytest.raises(type(error)), login_metrics.counting_refusals():
        raise error
    assert counted("logins_refused", reason=reason) == before + 1


def test_a_log_in_that_succeeds_is_not_counted(admin: Any, log_in: Callable[..., Any]) -> None:
    names = ("password", "throttled", "busy", "seats", "database")
    before = [counted("logins_refused", reason=name) for name in names]
    log_in("admin")
    assert [counted("logins_refused", reason=name) for name in names] == before
    wrong = {"username": "admin", "password": "not this one at all"}
    assert admin.client.post("/api/auth/login", json=wrong).status_code == 401
    assert counted("logins_refused", reason="password") == before[0] + 1


def test_calls_to_a_provider_and_its_circuit_are_shown(services: Services, admin: Any, operator: Any) -> None:
    with ScriptedProvider() as provider:
        body = {"name": "metered", "type": "custom", "base_url": provider.chat_url, "models": ["m"], "key": "s3cr3t"}
        assert admin.post("/api/v1/llm/providers", json=body).status_code == 201
        provider.next(scripted_provider.answer("pong"))
        question = {"messages": [{"role": "user", "content": "What is up?"}]}
        assert operator.post("/api/ai/agent-chat", json=question).status_code == 200
        provider.next(scripted_provider.status(401))
        assert operator.post("/api/ai/agent-chat", json=question).status_code != 200
    assert counted("llm_requests", provider="metered", outcome="answered") == 1
    assert (
        sum(
            sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name == "netstacks_llm_requests_total" and sample.labels["provider"] == "metered"
        )
        == 2
    )
    assert counted("llm_tokens", provider="metered", kind="input") == 11
    assert counted("llm_tokens", provider="metered", kind="output") == 7
    assert REGISTRY.get_sample_value("netstacks_llm_duration_seconds_count", {"provider": "metered"}) == 2

    def shown() -> float:
        return collected(parts(llm=services.llm))[
            "llm_circuit_open", frozenset({("provider", "metered"), ("model", "m")})
        ]

    assert shown() == 0
    services.llm.circuits.circuit_for(services.llm.directory.configured()[0], "m").trip(60, "a test")
    assert shown() == 1


def test_a_pool_counts_its_connections() -> None:
    registry = open_registry("redis://127.0.0.1:1", None, "")
    pool = registry._client.connection_pool
    assert pool.counts() == (0, 0)
    pool.pool.get_nowait()
    pool.make_connection()
    assert pool.counts() == (1, 0)
