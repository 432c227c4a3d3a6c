"""Checks that all instances on this database, and this environment, agree: by the rows that instances write there."""

import socket
from http.client import HTTPException
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError

from netstacks import membership
from netstacks.cluster.consistency import inconsistencies
from netstacks.cluster.databases import different_databases, without_row
from netstacks.cluster.instance_rows import NO_REGISTRY, UNKNOWN_REGISTRY, Inconsistency, InstanceRow
from netstacks.cluster.model import Instance
from netstacks.commands.examine.cluster import peer_health
from netstacks.commands.examine.findings import Finding, Findings, Level
from netstacks.commands.store_facts import living_rows
from netstacks.errors import RegistryUnavailable
from netstacks.peer.tls import PeerTls
from netstacks.registry import keys
from netstacks.registry.base import Registry
from netstacks.settings import Settings
from netstacks.store import instance_settings
from netstacks.store.pool import Database

_TOPIC = "Consistency"
_WHY = "users get different answers, depending on the instance that the load balancer chooses"


def examine_consistency(
    loaded: Settings, database: Database, client: Redis | None, registry: Registry | None
) -> Findings:
    """Findings about the instances on this database; `client` and `registry` are None without Valkey."""
    rows = living_rows(database)
    here = _this_environment(loaded, client)
    compared = [*rows]
    # Without Valkey the running instance may be the one of this environment: two rows would look like two instances.
    if client is not None or any(each.registry != NO_REGISTRY for each in rows):
        compared.append(here)
    found = inconsistencies(compared)
    if registry is not None:
        found = [*_databases(loaded, database, registry, [*rows, here]), *found]
    for each in found:
        level: Level = "warning" if each.kind == "setting" else "error"
        yield Finding(_TOPIC, level, each.problem, _WHY, each.remedy)
    if not found:
        yield Finding(_TOPIC, "ok", f"running instances on this database: {len(rows)}; they and this environment agree")


def _databases(
    loaded: Settings, database: Database, registry: Registry, rows: list[InstanceRow]
) -> list[Inconsistency]:
    """The inconsistency with instances in the registry that use another database than `rows`."""
    with database.transaction() as tx:
        known = {each.id for each in instance_settings.read_all(tx)}
    try:
        suspects = without_row(registry.snapshot(), known, loaded.ha_heartbeat_interval_secs)
    except RegistryUnavailable:
        return []
    others = [each for each in suspects if _has_database(loaded, each)]
    return [different_databases(rows, others)] if others else []


def _has_database(loaded: Settings, instance: Instance) -> bool:
    """Whether the instance says that its database answers."""
    tls = PeerTls.of(loaded.ha_peer_tls_cert, loaded.ha_peer_tls_key, loaded.ha_peer_tls_ca)
    try:
        health, _ = peer_health(instance.peer_address, tls.for_dialling() if tls else None)
    except (OSError, HTTPException, ValueError):
        return False
    return health.get("instance_id") == instance.id and health.get("database") == "connected"


def _this_environment(loaded: Settings, client: Redis | None) -> InstanceRow:
    try:
        # Only read: instances store the id. A Valkey without an id is not used by any of them.
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
