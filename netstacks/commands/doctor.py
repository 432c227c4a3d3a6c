"""`netstacks doctor`: diagnoses a deployment, from the settings of its environment."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict

import click
from redis import Redis
from redis.exceptions import RedisError

from netstacks import settings
from netstacks.commands.examine.balancer import examine_balancer
from netstacks.commands.examine.cluster import examine_peers, judge_cluster
from netstacks.commands.examine.findings import Finding, Findings, Level
from netstacks.commands.examine.postgres import examine_database, examine_license
from netstacks.commands.examine.sentinels import examine_sentinels
from netstacks.commands.examine.valkey import examine_valkey
from netstacks.errors import NetstacksError
from netstacks.peer.tls import PeerTls
from netstacks.registry import addresses
from netstacks.registry.connection import connect, connect_through
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey import ValkeyRegistry
from netstacks.settings import Settings, SettingsError
from netstacks.store.pool import Database

_MARKS: dict[Level, str] = {"ok": "  ok    ", "warning": "  WARN  ", "error": "  FAIL  "}
_EXIT_CODES: dict[Level, int] = {"ok": 0, "warning": 1, "error": 2}


@click.command("doctor")
@click.option("--load-balancer", metavar="URL", help="The address that users open, such as https://netstacks.example.")
@click.option("--json", "as_json", is_flag=True, help="Prints JSON.")
def doctor_command(load_balancer: str | None, as_json: bool) -> None:
    """Diagnoses this deployment; exit code 0 without findings, 1 with warnings, 2 with errors."""
    found = list(examine(load_balancer))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _print(found)
    raise SystemExit(max(_EXIT_CODES[each.level] for each in found))


def examine(load_balancer: str | None = None) -> Findings:
    """All findings; a check that fails does not prevent the others."""
    try:
        loaded = settings.load(os.environ)
    except SettingsError as error:
        do = "correct the settings, see docs/settings.md"
        yield Finding("Settings", "error", str(error), "no instance starts with them", do)
        return
    yield Finding("Settings", "ok", "complete and well-formed")
    database = Database(loaded.database_url, max_size=1)
    database.open()
    try:
        yield from _guarded("PostgreSQL", lambda: examine_database(loaded, database))
        if loaded.valkey_url or loaded.valkey_sentinel_url:
            yield from _guarded("Licence", lambda: examine_license(loaded, database))
            yield from _cluster(loaded)
        else:
            yield Finding("Valkey", "ok", "not configured: this is a single instance")
    finally:
        database.close()
    if load_balancer:
        yield from _guarded("Load balancer", lambda: examine_balancer(load_balancer.rstrip("/")))


def _cluster(loaded: Settings) -> Findings:
    if loaded.valkey_sentinel_url:
        endpoints, name = addresses.parse(loaded.valkey_sentinel_url), loaded.valkey_sentinel_master_name
        yield from _guarded("Sentinels", lambda: examine_sentinels(endpoints, name))
        client = connect_through(Sentinels(endpoints, name), loaded.valkey_url)
    else:
        assert loaded.valkey_url is not None
        client = connect(loaded.valkey_url)
    found = list(_guarded("Valkey", lambda: examine_valkey(client)))
    yield from found
    # The checks of the cluster read from Valkey: with an error there, they would only repeat it.
    if not any(each.level == "error" for each in found):
        yield from _guarded("Cluster", lambda: _instances(loaded, client))


def _instances(loaded: Settings, client: Redis) -> Findings:
    snapshot = ValkeyRegistry(client).snapshot()
    yield from judge_cluster(loaded, snapshot)
    tls = PeerTls.of(loaded.ha_peer_tls_cert, loaded.ha_peer_tls_key, loaded.ha_peer_tls_ca)
    yield from examine_peers(snapshot, tls.for_dialling() if tls else None)


def _guarded(topic: str, look: Callable[[], Findings]) -> Findings:
    try:
        yield from look()
    except (NetstacksError, RedisError, OSError) as error:
        yield Finding(topic, "error", str(error))


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
