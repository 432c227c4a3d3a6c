"""The stream of the page HA status: what it sends, to whom, and for how long."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
from werkzeug.test import TestResponse

from netstacks.permissions import preset
from netstacks.web.admin import ha, ha_sections
from netstacks.web.context import Services
from tests.web import ha_example as example
from tests.web.conftest import Api
from tests.web.ha_cluster import Cluster, made_up, with_no_agent


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return made_up(monkeypatch)


@pytest.fixture
def services(services: Services, cluster: Cluster) -> Services:
    return with_no_agent(services)


def events_of(answer: TestResponse) -> Iterator[str]:
    """The data of a stream's events, those that are sent at once together."""
    for chunk in answer.response:
        lines = chunk.decode() if isinstance(chunk, bytes) else chunk
        if not lines.startswith("retry:"):
            yield "\n".join(line.removeprefix("data: ") for line in lines.strip().removesuffix("\ndata:").split("\n"))


def test_the_stream_sends_what_has_changed(page: Api, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ha, "_STEP_SECS", 0)
    monkeypatch.setattr(ha_sections, "_VOLATILE_SECS", 3600)
    events = events_of(page.get("/admin/ha/stream", buffered=False))
    first = next(events)
    for section in ("ha-top", "ha-instances", "ha-history", "ha-panels", "ha-sessions", "ha-events", "ha-seen"):
        assert f'id="{section}"' in first
    # Ages alone are no reason to send anything at once.
    cluster.status = {
        **cluster.status,
        "instances": [{**each, "heartbeat_age_secs": 2.9} for each in cluster.status["instances"]],
        "database": example.database(connections=32),
        "valkey": example.valkey(latency_ms=0.7),
    }
    assert next(events) == "event: beat"
    cluster.status = {**cluster.status, "valkey": example.valkey(clients=99, version="8.2.0")}
    second = next(events)
    assert "8.2.0" in second
    assert re.findall(r'id="(ha-\w+)"', second) == ["ha-panels"]


def test_the_stream_ends_when_access_is_withdrawn(
    page: Api, services: Services, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ha, "_STEP_SECS", 0)
    events = events_of(page.get("/admin/ha/stream", buffered=False))
    next(events)
    assert len(services.ha_streams) == 1
    monkeypatch.setattr(type(services.login_states), "role", lambda *_: preset("operator"))
    assert list(events) == []
    assert not services.ha_streams


def test_a_draining_instance_sends_the_state_once(page: Api, services: Services, cluster: Cluster) -> None:
    services.agent.is_draining = True  # type: ignore[misc]
    assert len(list(events_of(page.get("/admin/ha/stream", buffered=False)))) == 1


def test_viewers_share_a_rendering(page: Api, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ha_sections, "FRESH_SECS", 60)
    for _ in range(5):
        next(events_of(page.get("/admin/ha/stream", buffered=False)))
    assert page.get("/admin/ha").status_code == 200
    assert cluster.renderings == 1


def test_there_are_not_more_streams_than_the_limit(page: Api, services: Services, cluster: Cluster) -> None:
    with ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(services.ha_streams.taken(uuid4()))
        answer = page.get("/admin/ha/stream")
    assert answer.status_code == 503
    # The page shows it.
    assert answer.json == {"error": "100 pages receive live updates already. Reload this page instead."}


def test_a_changed_row_is_sent_without_its_table(page: Api, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ha, "_STEP_SECS", 0)
    events = events_of(page.get("/admin/ha/stream", buffered=False))
    next(events)
    first, second, third = cluster.status["instances"]
    cluster.status = {**cluster.status, "instances": [first, {**second, "problem": "is slow"}, third]}
    changed = next(events)
    assert re.findall(r'id="([\w-]+)"', changed) == ["row-ctrl-00000001"]
    assert "is slow" in changed
    # With a row fewer, the table is sent.
    cluster.status = {**cluster.status, "instances": [first, third]}
    changed = next(events)
    assert 'id="ha-instances"' in changed
    assert "row-ctrl-00000001" not in changed
