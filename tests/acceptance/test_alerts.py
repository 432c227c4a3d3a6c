"""The alerts and the dashboard of deploy/, with a real Prometheus: real faults of a real cluster fire, and go out."""

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.acceptance import ai
from tests.acceptance.cluster import Cluster
from tests.acceptance.test_clocks import needs_faketime, off_by
from tests.controller import ROOT, until
from tests.llm.scripted_provider import ScriptedProvider, status
from tests.postgres import Postgres
from tests.prometheus import Prometheus, needs_prometheus
from tests.sshd import Sshd

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))

pytestmark = [needs_prometheus, needs_faketime, pytest.mark.timeout(300 + SOAK_SECONDS)]

TOKEN = "a-token-of-the-tests-for-metrics"
# They tell how busy the host is, and look back for five minutes; the tests keep theirs as busy as they like.
OF_THE_HOST = {"NetStacksLoopSlow", "NetStacksDatabaseSlow"}
# The third instance has a clock of its own and a full disk, for as long as the cluster lives.
STANDING = {"NetStacksClockDiffers", "NetStacksDiskLow"}


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    cluster = Cluster(postgres, 3, METRICS_TOKEN=TOKEN, LLM_BREAKER_FAILURES="2", LLM_BREAKER_COOLDOWN_SECS="60")
    cluster.controllers[2].environ |= {**off_by(90), "DISK_FREE_MIN_BYTES": str(10**15)}
    try:
        cluster.valkey.start()
        for controller in cluster.controllers:
            controller.launch()
        for controller, health in zip(cluster.controllers, ("healthy", "healthy", "degraded"), strict=True):
            controller.started(health)
        cluster.gathered(3)
        yield cluster
    finally:
        cluster.__exit__()


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster) -> Iterator[Prometheus]:
    with Prometheus([each.port for each in cluster.controllers], TOKEN) as prometheus:
        until(lambda: len(prometheus.query("netstacks_build_info")) == 3, "a scrape of all three", 60)
        until(lambda: faults(prometheus) == STANDING, "the two faults of the third instance, and nothing else", 120)
        yield prometheus


def faults(prometheus: Prometheus) -> set[str]:
    """The alerts that fire, without those of the host."""
    return prometheus.firing() - OF_THE_HOST


def fires(prometheus: Prometheus, *names: str) -> None:
    for name in names:
        until(lambda name=name: name in prometheus.firing(), name, 90)


def calms_down(prometheus: Prometheus) -> None:
    until(lambda: faults(prometheus) == STANDING, f"the end of {faults(prometheus) - STANDING}", 120)


def test_every_query_of_the_dashboard_is_answered(cluster: Cluster, prometheus: Prometheus, sshd: Sshd) -> None:
    lab = cluster.lab(sshd)
    terminal = lab.open()
    terminal.type("echo a-key\n")
    terminal.expect("a-key")
    dashboard = json.loads((ROOT / "deploy/grafana/netstacks.json").read_text())
    queries = [
        target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(queries) > 30
    # Nothing was asked of a language model, and there are no Sentinels.
    absent = ("netstacks_llm_", "netstacks_valkey_failover_possible")
    expected = [query for query in queries if not any(name in query for name in absent)]
    for query in queries:
        prometheus.query(query)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()

            def has_all(metric: str = metric, label: str = label) -> bool:
                return len({series["metric"][label] for series in prometheus.query(metric)}) == 3

            # A scrape that is late removes an instance until the next one.
            until(has_all, variable["name"])
    until(lambda: all(prometheus.query(query) for query in expected), "an answer of each query", 60)
    terminal.leave()


def test_a_provider_that_fails(cluster: Cluster, prometheus: Prometheus) -> None:
    apis = [cluster.controllers[0].login().at(each) for each in cluster.controllers]
    with ScriptedProvider() as server:
        server.always(status(500))
        ai.add_provider(apis[0], server, name="first")
        ai.known_to(apis, "first")
        for _ in range(3):
            ai.ask(apis[0])
        fires(prometheus, "NetStacksProviderPaused")
        ai.remove_providers(apis[0])
        ai.known_to(apis)
    calms_down(prometheus)


def test_an_instance_that_freezes_then_one_that_is_killed(cluster: Cluster, prometheus: Prometheus) -> None:
    frozen = cluster.controllers[1]
    frozen.freeze()
    fires(prometheus, "NetStacksInstanceDown", "NetStacksInstanceLost", "NetStacksClusterTooSmall")
    frozen.thaw()
    calms_down(prometheus)

    killed = cluster.controllers[1]
    killed.kill()
    fires(prometheus, "NetStacksInstanceDown", "NetStacksInstanceLost", "NetStacksClusterTooSmall")
    killed.start()
    calms_down(prometheus)


def test_valkey_that_is_gone(cluster: Cluster, prometheus: Prometheus) -> None:
    cluster.valkey.kill()
    fires(prometheus, "NetStacksValkeyDown")
    cluster.valkey.start()
    calms_down(prometheus)


def test_valkey_that_is_nearly_full(cluster: Cluster, prometheus: Prometheus) -> None:
    api = cluster.controllers[0].login()
    with redis.Redis(port=cluster.valkey.port) as client:
        # So much that what the instances write makes no difference; in parts, whose buffers are small.
        ballast = [f"ballast-of-the-tests-{number}" for number in range(320)]
        for name in ballast:
            client.set(name, b"x" * 100_000)
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.95))
        fires(prometheus, "NetStacksValkeyAtRisk")
        # Any instance raises the alarm; this one may look later.
        nearly_full = "Valkey uses more than 90 % of its memory limit"
        until(lambda: nearly_full in (api.get("/api/v1/ha/status")["cluster"]["reason"] or ""), "the reason")
        client.config_set("maxmemory", 0)
        client.delete(*ballast)
    calms_down(prometheus)


@pytest.mark.soak
def test_a_quiet_cluster_raises_no_alarm(cluster: Cluster, prometheus: Prometheus) -> None:
    """For SOAK_SECONDS, as seen by every instance: the alerts, the HA status and health."""
    apis = [cluster.controllers[0].login().at(each) for each in cluster.controllers]
    degraded = cluster.controllers[2].health()["instance_id"]
    healths = {each.health()["instance_id"]: each.health()["status"] for each in cluster.controllers}
    assert [each for each, health in healths.items() if health != "healthy"] == [degraded]

    def rows(status: dict[str, Any]) -> dict[str, str]:
        return {each["id"]: each["status"] for each in status["instances"]}

    until(lambda: all(rows(api.get("/api/v1/ha/status")) == healths for api in apis), "rest")
    ends_at = time.monotonic() + SOAK_SECONDS
    while time.monotonic() < ends_at:
        assert prometheus.firing() == STANDING
        for api in apis:
            status = api.get("/api/v1/ha/status")
            assert rows(status) == healths, status["instances"]
            assert status["totals"]["healthy_instances"] == 3
            assert status["cluster"]["condition"] == "degraded"
            # Nothing but its full disk.
            assert re.fullmatch(f"{degraded} on [^,;]* is degraded", status["cluster"]["reason"]), status["cluster"]
            assert (status["lost"], status["inconsistencies"]) == ([], [])
        assert [each.health()["status"] for each in cluster.controllers] == ["healthy", "healthy", "degraded"]
        time.sleep(0.5)
