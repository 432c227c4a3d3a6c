"""What a support bundle holds: facts of this environment, PostgreSQL, Valkey and every instance.

No content of users: no output of devices, no recordings, no names of users or devices.
"""

import platform
import ssl
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from http.client import HTTPException
from importlib import metadata
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from netstacks import __version__, bundled, settings
from netstacks.cluster.model import Event
from netstacks.commands.examine.cluster import peer_health
from netstacks.commands.judging import judged
from netstacks.errors import NetstacksError
from netstacks.peer.tls import PeerTls
from netstacks.registry.valkey import ValkeyRegistry
from netstacks.settings import Settings
from netstacks.store import schema, support
from netstacks.store.pool import Database

_EVENTS = 500
# The actor of an event is an instance or a user; details of other kinds than reaped name users and devices.
_PERSONAL = ("by", "device", "username")

# The name of a file in the bundle, what it holds, and its content.
Part = tuple[str, str, Any]


def of_program(loaded: Settings | None) -> Iterator[Part]:
    """The facts that need no other server."""
    packages = sorted(
        f"{each.metadata['Name']} {each.version}" for each in metadata.distributions() if each.metadata["Name"]
    )
    versions = {
        "netstacks": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "schema_of_program": schema.migrations()[-1][0],
        "bundled_libraries": [asdict(each) for each in bundled.components()],
        "packages": packages,
    }
    yield "versions.json", "versions of the program, of Python and of all libraries", versions
    effective = settings.effective(loaded) if loaded else {"problem": "the settings are invalid: see doctor.json"}
    if effective.get("BOOTSTRAP_ADMIN_USERNAME"):
        effective["BOOTSTRAP_ADMIN_USERNAME"] = "***"
    yield "settings.json", "the effective settings, secrets masked", effective


def of_database(database: Database) -> Iterator[Part]:
    what = "PostgreSQL: version, schema, settings, sizes of tables, counts of sessions and of audit events by kind"
    yield "postgres.json", what, _guarded(lambda: _database_facts(database))


def _database_facts(database: Database) -> dict[str, Any]:
    """Raises StoreUnavailable when PostgreSQL does not answer; a topic that fails does not prevent the others."""
    server = support.rows(database, "server")
    others = [topic for topic in support.TOPICS if topic != "server"]
    return {"server": server, **{topic: _guarded(partial(support.rows, database, topic)) for topic in others}}


def of_cluster(loaded: Settings, client: Redis, registry: ValkeyRegistry) -> Iterator[Part]:
    """The registry, the server behind it, and the health of each registered instance."""
    status = registry.status()
    yield "valkey-status.json", "Valkey and its Sentinels, as HA status shows them", asdict(status)
    yield "valkey-info.json", "the INFO of the Valkey server", _guarded(lambda: dict(client.info()))
    instances = _guarded(lambda: [asdict(each) for each in judged(loaded, registry.snapshot(), status.figures)])
    yield "instances.json", "registered instances with their state", instances
    lost = _guarded(lambda: [asdict(each) for each in registry.lost()])
    yield "lost.json", "instances that died and were not replaced", lost
    events = _guarded(lambda: [_impersonal(each) for each in registry.events(_EVENTS)])
    yield "events.json", "the latest events of the cluster, without users and devices", events
    yield "unreadable.json", "records in Valkey that cannot be read", dict(registry.unreadable())
    yield (
        "health.json",
        "the health of each instance, asked at its private address",
        _guarded(lambda: _health(loaded, registry)),
    )


def _health(loaded: Settings, registry: ValkeyRegistry) -> dict[str, Any]:
    tls = PeerTls.of(loaded.ha_peer_tls_cert, loaded.ha_peer_tls_key, loaded.ha_peer_tls_ca)
    context = tls.for_dialling() if tls else None
    instances = registry.snapshot().instances.values()
    return {each.id: _guarded(partial(_health_at, each.peer_address, context)) for each in instances}


def _health_at(address: str, tls: ssl.SSLContext | None) -> dict[str, Any]:
    health, _ = peer_health(address, tls)
    return health


def _impersonal(event: Event) -> dict[str, Any]:
    details = {
        name: value
        for name, value in event.details.items()
        if name not in _PERSONAL or (name == "by" and event.kind == "reaped")
    }
    return asdict(event) | {"details": details}


def _guarded(look: Callable[[], Any]) -> Any:
    """The facts, or the problem with reading them: a bundle is wanted most when something is away."""
    try:
        return look()
    except (NetstacksError, RedisError, psycopg.Error, OSError, HTTPException, ValueError) as error:
        return {"problem": str(error)}
