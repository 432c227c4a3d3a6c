"""`netstacks doctor`: the troubleshooting of a deployment as a program, from the settings of this environment."""

import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from netstacks import settings
from netstacks.cluster.model import Snapshot
from netstacks.cluster.overview import overview
from netstacks.errors import NetstacksError
from netstacks.instance.identity import differing_secrets, secrets_fingerprint
from netstacks.registry import addresses
from netstacks.registry.connection import connect, connect_through
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey import ValkeyRegistry
from netstacks.settings import Settings, SettingsError
from netstacks.store import schema
from netstacks.store.license import TIER_NAMES
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.web.licensing import Licensing

Level = Literal["ok", "warning", "error"]

_DIAL_SECS = 2.0
_HTTP_SECS = 5.0
# Heartbeats are timed by Valkey's clock; log-ins and shares by this host's.
_CLOCK_SECS = 5.0
# With its answer a route tells whether the Upgrade header has reached it: 401 that it has, 426 that it has not.
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
_MARKS: dict[Level, str] = {"ok": "  ok    ", "warning": "  WARN  ", "error": "  FAIL  "}
_EXIT_CODES: dict[Level, int] = {"ok": 0, "warning": 1, "error": 2}


@dataclass(frozen=True)
class Finding:
    """What was found about a topic; `why` it matters and what to `do`, unless all is well."""

    topic: str
    level: Level
    what: str
    why: str = ""
    do: str = ""


Findings = Iterator[Finding]


@click.command("doctor")
@click.option("--load-balancer", metavar="URL", help="Its address as users have it, such as https://netstacks.example.")
@click.option("--json", "as_json", is_flag=True, help="For programs rather than people.")
def doctor_command(load_balancer: str | None, as_json: bool) -> None:
    """Looks for what is wrong with this deployment; exit code 0 when nothing is, 1 with warnings, 2 with errors."""
    found = list(examine(load_balancer))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _print(found)
    raise SystemExit(max(_EXIT_CODES[each.level] for each in found))


def examine(load_balancer: str | None = None) -> Findings:
    """Everything that can be found out from here; what cannot be asked stops nothing else."""
    try:
        loaded = settings.load(os.environ)
    except SettingsError as error:
        yield Finding(
            "Settings", "error", str(error), "no instance starts with them", "correct them, see docs/settings.md"
        )
        return
    yield Finding("Settings", "ok", "complete and well-formed")
    database = Database(loaded.database_url, max_size=1)
    database.open()
    try:
        yield from _guarded("PostgreSQL", lambda: _database(loaded, database))
        if loaded.valkey_url or loaded.valkey_sentinel_url:
            yield from _guarded("Licence", lambda: _license(loaded, database))
            yield from _guarded("Valkey", lambda: _valkey(loaded))
        else:
            yield Finding("Valkey", "ok", "not configured: this is a single instance")
    finally:
        database.close()
    if load_balancer:
        yield from _guarded("Load balancer", lambda: _balancer(load_balancer.rstrip("/")))


def _guarded(topic: str, look: Callable[[], Findings]) -> Findings:
    try:
        yield from look()
    except (NetstacksError, RedisError, OSError) as error:
        yield Finding(topic, "error", str(error))


# PostgreSQL


def _database(loaded: Settings, database: Database) -> Findings:
    try:
        with psycopg.connect(loaded.database_url, connect_timeout=int(_DIAL_SECS)) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.OperationalError as error:
        why = "terminals that are open go on; nobody can log in or open one"
        yield Finding(
            "PostgreSQL", "error", str(error).strip().splitlines()[0], why, "see that it runs; check DATABASE_URL"
        )
        return
    yield Finding("PostgreSQL", "ok", f"version {version} answers")
    schema.require(database)
    yield Finding("PostgreSQL", "ok", "its schema is that of this program")
    Vault(database, loaded.vault_master_key, loaded.vault_master_key_previous).unlock()
    yield Finding("PostgreSQL", "ok", "VAULT_MASTER_KEY opens its vault")


def _license(loaded: Settings, database: Database) -> Findings:
    grant = Licensing(database, loaded.license_key).current()
    name = f"{TIER_NAMES[grant.tier]}, {grant.status}"
    if grant.tier == "enterprise":
        yield Finding("Licence", "ok", name)
    else:
        why = "Valkey is not used, and every instance is a single one"
        yield Finding("Licence", "error", name, why, "activate an Enterprise licence and restart the instances")


# Valkey


def _valkey(loaded: Settings) -> Findings:
    if loaded.valkey_sentinel_url:
        endpoints = addresses.parse(loaded.valkey_sentinel_url)
        yield from _sentinels(endpoints, loaded.valkey_sentinel_master_name)
        sentinels = Sentinels(endpoints, loaded.valkey_sentinel_master_name)
        client = connect_through(sentinels, loaded.valkey_url)
    else:
        assert loaded.valkey_url is not None
        client = connect(loaded.valkey_url)
    try:
        info = client.info()
    except (RedisError, NetstacksError) as error:
        why = "instances cannot join; those that run go on, and nothing is taken over but what is proven dead"
        yield Finding(
            "Valkey", "error", str(error), why, "see that it runs and is reached from here; check the password"
        )
        return
    yield Finding("Valkey", "ok", f"{info.get('valkey_version') or info['redis_version']} answers as {info['role']}")
    yield from judge_server(info, _protected_mode(client), _clock_difference_secs(client))
    registry = ValkeyRegistry(client)
    yield from judge_cluster(loaded, registry.snapshot())
    yield from _peers(registry.snapshot())


def _sentinels(endpoints: tuple[addresses.Endpoint, ...], name: str) -> Findings:
    named: list[tuple[str, int]] = []
    for endpoint in endpoints:
        try:
            named.append(Sentinels((endpoint,), name).discover())
        except NetstacksError as error:
            yield Finding(
                "Sentinels", "warning", str(error), "a failover needs a majority of them", "start or correct it"
            )
    if len(named) * 2 <= len(endpoints):
        what = f"only {len(named)} of {len(endpoints)} answer"
        yield Finding("Sentinels", "error", what, "without a majority there is no failover", "start the others")
    elif len(set(named)) > 1:
        what = f"they name different primaries: {sorted(set(named))}"
        yield Finding(
            "Sentinels", "warning", what, "a failover is under way, or one of them is cut off", "look again in a minute"
        )
    else:
        yield Finding("Sentinels", "ok", f"{len(named)} of {len(endpoints)} name {named[0][0]}:{named[0][1]}")


def _protected_mode(client: Redis) -> str | None:
    """None where it may not be asked for."""
    try:
        found: Any = client.config_get("protected-mode")
        return str(found.get("protected-mode"))
    except RedisError:
        return None


def _clock_difference_secs(client: Redis) -> float:
    secs, microsecs = client.time()
    return abs(time.time() - secs - microsecs / 1e6)


def judge_server(info: dict[str, Any], protected_mode: str | None, clock_difference_secs: float) -> Findings:
    """What there is to say of a node by its INFO."""
    if info["role"] != "master":
        what, do = f"it is a {info['role']}, which takes no writes", "name the primary in VALKEY_URL, or use Sentinels"
        yield Finding("Valkey", "error", what, "no instance can register", do)
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        what, why = f"maxmemory-policy is {policy}", "under pressure it would forget instances and sessions"
        yield Finding("Valkey", "warning", what, why, "set it to noeviction")
    if not info.get("aof_enabled") and not info.get("connected_slaves"):
        what, why = "neither persistence nor replicas", "a restart comes back empty, and every instance registers anew"
        yield Finding("Valkey", "ok", f"{what}: {why}")
    if protected_mode == "yes":
        what, why = "protected-mode is on", "without a password it refuses connections from other hosts"
        yield Finding("Valkey", "ok", f"{what}: {why}")
    if clock_difference_secs > _CLOCK_SECS:
        what = f"its clock and this host's differ by {clock_difference_secs:.0f} s"
        yield Finding(
            "Valkey", "warning", what, "times in logs and in HA status do not fit", "run a time service on both"
        )


# The cluster


def judge_cluster(loaded: Settings, snapshot: Snapshot) -> Findings:
    """What there is to say of the registered instances."""
    lines = overview(snapshot, loaded.ha_heartbeat_interval_secs, loaded.ha_stale_instance_ttl_secs)
    if not lines:
        do = "see that the controllers run with this VALKEY_URL, and look for registry.away in their logs"
        yield Finding("Cluster", "warning", "no instance is registered", "nobody serves users by way of it", do)
    for line in lines:
        if line.condition == "healthy":
            what = f"{line.instance.id} on {line.instance.host}: heartbeat {line.heartbeat_age_secs:.0f} s ago"
            yield Finding("Cluster", "ok", what)
        else:
            level: Level = "error" if line.condition in ("stale", "refused") else "warning"
            what = f"{line.instance.id} on {line.instance.host} is {line.condition}: {line.problem}"
            yield Finding("Cluster", level, what, "its users are served by the others", "look at its log")
    keys = [key for key in (loaded.vault_master_key, loaded.vault_master_key_previous) if key]
    mine = secrets_fingerprint([bytes.fromhex(key) for key in keys], loaded.jwt_secret)
    accepted = [line.instance.secrets_fingerprint for line in lines if line.condition in ("healthy", "late")]
    for name in differing_secrets(mine, accepted):
        what, why = f"{name} here differs from the cluster's", "an instance with these settings would take no sessions"
        yield Finding("Cluster", "error", what, why, "give every instance the same")


def _peers(snapshot: Snapshot) -> Findings:
    for instance in snapshot.instances.values():
        host, _, port = instance.peer_address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_DIAL_SECS).close()
            yield Finding("Peers", "ok", f"{instance.id} is reached at {instance.peer_address}")
        except (OSError, ValueError) as error:
            what = f"{instance.id} is not reached at {instance.peer_address!r}: {error}"
            why = "terminals whose session it owns cannot be used by way of this host"
            yield Finding(
                "Peers", "error", what, why, "open the port between instances, or set HA_ADVERTISE_HOST there"
            )


# The load balancer


def _balancer(url: str) -> Findings:
    try:
        status = _status(f"{url}/api/v1/health")
    except OSError as error:
        yield Finding("Load balancer", "error", f"{url} does not answer: {error}", "nobody gets in", "see that it runs")
        return
    if status == 200:
        yield Finding("Load balancer", "ok", f"{url}/api/v1/health is answered by an instance")
    else:
        yield Finding(
            "Load balancer", "error", f"{url}/api/v1/health answers {status}", "it has no instance to give work to"
        )
    status = _status(f"{url}/ws/ssh", _UPGRADE)
    if status == 401:
        yield Finding("Load balancer", "ok", "WebSocket upgrades reach the instances")
    else:
        what, why = f"a WebSocket upgrade is answered with {status} instead of 401", "no terminal can be opened"
        yield Finding("Load balancer", "error", what, why, "pass the headers Upgrade and Connection on, by HTTP/1.1")
    what = "how long it lets a WebSocket be silent cannot be seen from here: at least 300 s are needed"
    yield Finding("Load balancer", "ok", what)


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    if not url.startswith(("http://", "https://")):
        raise OSError("its address must begin with http:// or https://")
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=_HTTP_SECS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _print(found: list[Finding]) -> None:
    topic = ""
    for each in found:
        if each.topic != topic:
            topic = each.topic
            click.echo(topic)
        click.echo(f"{_MARKS[each.level]}{each.what}")
        for text in (each.why, each.do):
            if text:
                click.echo(f"          {text}")
