"""Health over HTTP; the rules of health are in tests/cluster/test_health.py."""

import time
from types import SimpleNamespace

import pytest
from werkzeug.test import Client

from netstacks.cluster.health import Facts, judge
from netstacks.cluster.model import ClusterSummary
from netstacks.web.health import HealthEndpoint


def serve(**facts: object) -> Client:
    """An instance with these facts; without any, one that has not gathered its first."""
    now = time.monotonic()
    known = Facts(
        instance_id="ctrl-a1b2c3d4",
        version="0",
        started_at=now,
        taken_at=now,
        database=True,
        valkey="connected",
        cluster=ClusterSummary(1, 1, 0),
        local_sessions=0,
        leased=True,
    )
    report = judge(Facts(**{**vars(known), **facts}), now, 2.0) if facts else None

    def application(_environ, start_response):  # type: ignore[no-untyped-def]
        start_response("418 I'm a teapot", [])
        return [b"the application"]

    return Client(HealthEndpoint(application, SimpleNamespace(report=lambda: report)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "live", "health", "ready"),
    [
        ({}, 200, 503, 503),
        ({"database": True}, 200, 200, 200),
        ({"database": False}, 200, 200, 503),
        ({"draining": True}, 200, 503, 503),
    ],
    ids=["starting", "healthy", "degraded", "draining"],
)
def test_each_question_has_its_own_answer(facts: dict[str, object], live: int, health: int, ready: int) -> None:
    client = serve(**facts)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.open("/health", method=method).status_code == live
        assert client.open("/api/v1/health/live", method=method).status_code == live
        assert client.open("/api/v1/health", method=method).status_code == health
        assert client.open("/api/v1/health/ready", method=method).status_code == ready


@pytest.mark.parametrize(
    ("facts", "status"),
    [({}, 503), ({"database": True}, 200), ({"draining": True}, 404), ({"hub_blocked": True}, 503)],
    ids=["starting", "healthy", "draining", "unhealthy"],
)
def test_a_drain_is_told_apart_from_a_failure_on_request(facts: dict[str, object], status: int) -> None:
    client = serve(**facts)
    assert client.get("/api/v1/health?draining=404").status_code == status
    assert client.get("/api/v1/health?draining=503").status_code == (503 if status == 404 else status)


def test_health_is_json_that_no_cache_keeps() -> None:
    answer = serve(database=True).get("/api/v1/health")
    assert answer.json is not None
    assert answer.json["instance_id"] == "ctrl-a1b2c3d4"
    assert answer.headers["Cache-Control"] == "no-store"


def test_health_says_how_busy_the_instance_is() -> None:
    answer = serve(cpu_share=0.25).get("/api/v1/health")
    assert answer.json is not None
    assert answer.json["load"] == 25


def test_a_head_request_has_no_body_but_its_length() -> None:
    client = serve(database=True)
    answer = client.head("/api/v1/health")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(client.get("/api/v1/health").data))


def test_options_names_the_methods() -> None:
    assert serve(database=True).options("/api/v1/health").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_another_method_is_told_what_would_be_right() -> None:
    answer = serve(database=True).post("/api/v1/health")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.json is not None
    assert "GET" in answer.json["error"]


def test_all_other_paths_are_the_applications() -> None:
    assert serve(database=True).get("/api/v1/healthy").data == b"the application"
