"""Checks that all instances on this database, and this environment, agree: by the rows that instances write there."""

import socket
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError

from netstacks import membership
from netstacks.cluster.consistency import inconsistencies
from netstacks.cluster.instance_rows import NO_REGISTRY, UNKNOWN_REGISTRY, InstanceRow
from netstacks.commands.examine.findings import Finding, Findings, Level
from netstacks.commands.store_facts import living_rows
from netstacks.errors import RegistryUnavailable
from netstacks.registry import keys
from netstacks.settings import Settings
from netstacks.store.pool import Database

_TOPIC = "Consistency"
_WHY = "users get different answers, depending on the instance that the load balancer chooses"


def examine_consistency(loaded: Settings, database: Database, client: Redis | None) -> Findings:
    """Findings about the instances on this database; `client` is None where the settings name no Valkey."""
    rows = living_rows(database)
    compared = [*rows]
    # Without Valkey the running instance may be the one of this environment: two rows would look like two instances.
    if client is not None or any(each.registry != NO_REGISTRY for each in rows):
        compared.append(_this_environment(loaded, client))
    found = inconsistencies(compared)
    for each in found:
        level: Level = "warning" if each.kind == "setting" else "error"
        yield Finding(_TOPIC, level, each.problem, _WHY, each.remedy)
    if not found:
        yield Finding(_TOPIC, "ok", f"running instances on this database: {len(rows)}; they and this environment agree")


def _this_environment(loaded: Settings, client: Redis | None) -> InstanceRow:
    try:
        # Only read: instances store the id. A Valkey without one is none of theirs.
        registry_id = (str(client.get(keys.CLUSTER) or "") or uuid4().hex) if client is not None else NO_REGISTRY
    except (RedisError, RegistryUnavailable):
        registry_id = UNKNOWN_REGISTRY
    return InstanceRow(
        id="this environment",
        host=socket.gethostname(),
        peer_address="",
        version="",
        registry=registry_id,
        settings=membership.agreeing_settings(loaded),
    )
