"""The troubleshooting chapter of the specification: for each of its points the fault is made with real parts, and the
doctor, health, the log or the page names the cause and the remedy."""

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance import faults_of_load_balancers as load_balancer
from tests.acceptance import faults_of_sentinels as sentinel
from tests.acceptance import faults_of_the_registry as registry
from tests.acceptance.bench_of_faults import Bench
from tests.acceptance.cluster import Cluster
from tests.acceptance.diagnosis import doctor, fault, faults
from tests.controller import ROOT, until
from tests.postgres import Postgres
from tests.sshd import Sshd

# The points of the chapter in its words and its order, each with the test that makes its fault.
POINTS: dict[str, Callable[[Bench], None]] = {
    "Verify VALKEY_URL is set correctly and the Valkey server is reachable": registry.valkey_url_unset_or_unreachable,
    "Check Controller logs for Valkey connection errors": registry.connection_errors_in_the_log,
    "Controller and Valkey containers are on the same Docker network": registry.not_on_one_network,
    "Valkey is not running in protected mode": registry.protected_mode,
    "Stale session cleanup runs automatically after HA_STALE_INSTANCE_TTL_SECS": registry.stale_sessions_are_cleaned_up,
    "HA_HEARTBEAT_INTERVAL_SECS is shorter than the stale TTL": registry.heartbeat_too_close_to_the_ttl,
    "Manually inspect Valkey state using redis-cli": registry.keys_by_hand,
    "Verify Sentinel can reach all Valkey nodes": sentinel.sentinels_do_not_reach_a_node,
    "VALKEY_SENTINEL_MASTER_NAME matches the master name exactly": sentinel.wrong_master_name,
    "At least three Sentinel instances": sentinel.too_few_sentinels,
    "Check Sentinel logs for odown and failover events": sentinel.failover_does_not_trigger,
    "After a failover, verify the Controller reconnected": sentinel.after_a_failover,
    "The load balancer must support WebSocket upgrades": load_balancer.headers_are_not_passed,
    "Sticky sessions are not required": load_balancer.no_sticky_sessions,
    "Health checks poll /api/v1/health": load_balancer.health_checks,
    "Idle timeout at least 300 seconds": load_balancer.idle_timeout,
    "All instances share VAULT_MASTER_KEY and JWT_SECRET": registry.different_secrets,
    "The failed instance has been removed from the registry": registry.failed_instance_is_removed,
    "Clients must reconnect through the load balancer": registry.clients_reconnect_through_the_load_balancer,
}


@pytest.fixture(scope="module")
def bench(postgres: Postgres, sshd: Sshd) -> Iterator[Bench]:
    with Cluster(postgres, 2) as cluster:
        yield Bench(postgres, sshd, cluster)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("make_fault", POINTS.values(), ids=POINTS)
def test_cause_and_remedy_are_named(bench: Bench, make_fault: Callable[[Bench], None]) -> None:
    make_fault(bench)


def test_an_instance_that_has_just_started_is_no_fault(bench: Bench) -> None:
    """The others count it from their next heartbeat on, so the doctor waits for that before it says a word."""
    settings = bench.cluster.settings | {"DATABASE_URL": bench.cluster.database_url}
    with bench.started("healthy", **settings) as controller:
        instance_id = controller.health()["instance_id"]
        found = doctor(bench.first)
        assert [each["what"] for each in found if each["topic"] == "Peers" and each["level"] != "ok"] == []
        assert any(f"{instance_id} answers" in each["what"] for each in found)
        controller.terminate()
        until(lambda: not controller.is_running, "its end")


@pytest.mark.timeout(400)
def test_a_wrong_advertised_address_is_named(bench: Bench) -> None:
    """An instance that advertises an address of another machine; what the others found out is in PostgreSQL."""
    settings = bench.cluster.settings | {"DATABASE_URL": bench.cluster.database_url}
    with bench.started("healthy", **settings, HA_ADVERTISE_HOST="192.0.2.1") as controller:
        instance_id = controller.health()["instance_id"]

        def told() -> bool:
            found = faults(doctor(bench.first))
            return any(each["topic"] == "Consistency" and instance_id in each["what"] for each in found)

        until(told, "the finding", 120)
        found = doctor(bench.first)
        fault(found, "Consistency", "advertises the address 192.0.2.1", "set HA_ADVERTISE_HOST on")
        fault(found, "Peers", f"{instance_id} is not reached at '192.0.2.1", "set HA_ADVERTISE_HOST")


GUIDE = {
    "An instance does not appear in HA status": (
        "Connection refused",
        "redis-cli -u",
        "asks for a password",
        "Containers must be on one network",
        "protected mode",
    ),
    "Sessions of a dead instance stay in Valkey": (
        "HA_STALE_INSTANCE_TTL_SECS",
        "HA_HEARTBEAT_INTERVAL_SECS` may be a third",
        "redis-cli zrange netstacks:instances",
    ),
    "Sentinel does not fail over, or controllers do not follow": (
        "Every Sentinel must reach every node",
        "VALKEY_SENTINEL_MASTER_NAME",
        "at least three Sentinels",
        "+odown",
        '"valkey": "connected"',
    ),
    "The load balancer": ("Upgrade", "Sticky sessions are not needed", "/api/v1/health", "300 s"),
    "A session is not taken over": ("JWT_SECRET", "declared dead", "reconnect through the load balancer"),
}


def test_the_guide_answers_every_point_of_the_chapter() -> None:
    assert len(POINTS) == 19
    assert sum(map(len, GUIDE.values())) >= 19
    text = (ROOT / "docs/troubleshooting.md").read_text()
    sections = {part.partition("\n")[0]: " ".join(part.split()) for part in text.split("\n## ")}
    for heading, answers in GUIDE.items():
        for answer in answers:
            assert answer in sections[heading], (heading, answer)
