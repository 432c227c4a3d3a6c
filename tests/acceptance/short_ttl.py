"""A cluster in which few seconds without a heartbeat are a death, and what its instances and its Valkey say."""

import redis

from tests.acceptance.cluster import Cluster
from tests.controller import Controller, Terminal

# Most tests wait for a time to live to pass: a short one, and above what a busy machine needs for a heartbeat.
HEARTBEAT_SECS, TTL_SECS = 1, 5
TIMES = {"HA_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_SECS), "HA_STALE_INSTANCE_TTL_SECS": str(TTL_SECS)}
# With these, an orphan whose user does not return ends soon.
DETACH_TTL_SECS = 6
ENDING_TIMES = {**TIMES, "SESSION_DETACH_TTL_SECS": str(DETACH_TTL_SECS)}


def registered_epochs(cluster: Cluster, terminals: list[Terminal]) -> list[str | None]:
    with redis.Redis(port=cluster.valkey.port, decode_responses=True) as client:
        return [client.hget(f"netstacks:session:{each.info['session_id']}", "epoch") for each in terminals]


def kinds(controller: Controller) -> list[str]:
    return [each["kind"] for each in controller.login().get("/api/v1/ha/status")["events"]]


def statuses(cluster: Cluster) -> set[str]:
    return {each.health().get("status", "none") for each in cluster.controllers}
