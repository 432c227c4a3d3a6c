"""`netstacks doctor`: diagnoses a deployment, from the settings of its environment."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click
from redis import Redis
from redis.exceptions import RedisError

from netstacks import settings
from netstacks.cluster.model import LostInstance
from netstacks.commands import bundle
from netstacks.commands.examine.balancer import examine_balancer
from netstacks.commands.examine.cluster import examine_peers, judge_cluster, judge_lost, judge_unreadable
from netstacks.commands.examine.consistency import examine_consistency
from netstacks.commands.examine.evidence import Part
from netstacks.commands.examine.findings import Finding, Findings, Level
from netstacks.commands.examine.postgres import examine_database, examine_license
from netstacks.commands.examine.providers import examine_circuits
from netstacks.commands.examine.sentinels import examine_sentinels
from netstacks.commands.examine.valkey import connected, examine_valkey
from netstacks.commands.printing import print_line
from netstacks.errors import NetstacksError, StoreUnavailable
from netstacks.peer.tls import PeerTls
from netstacks.registry import addresses
from netstacks.registry.valkey import ValkeyRegistry
from netstacks.registry.valkey_streams import MAX_EVENTS
from netstacks.settings import Settings, SettingsError
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.store.sessions import LostCounts

_MARKS: dict[Level, str] = {"ok": "  ok    ", "warning": "  WARN  ", "error": "  FAIL  "}
_EXIT_CODES: dict[Level, int] = {"ok": 0, "warning": 1, "error": 2}
_UNKNOWN = "this part could not be examined"


@click.command("doctor")
@click.option("--load-balancer", metavar="URL", help="The address that users open, such as https://netstacks.example.")
@click.option("--json", "as_json", is_flag=True, help="Prints JSON.")
@click.option(
    "--bundle",
    "bundle_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also writes a support bundle, a tar.gz without secrets.",
)
def doctor_command(load_balancer: str | None, as_json: bool, bundle_path: Path | None) -> None:
    """Diagnoses this deployment; exit code 0 without findings, 1 with warnings, 2 with errors."""
    if bundle_path is not None:
        bundle.check(bundle_path)
    found = list(examine(load_balancer))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _print(found)
    if bundle_path is not None:
        lines = bundle.write(bundle_path, _evidence(found), os.environ)
        # To stderr: with --json the output is JSON.
        click.echo(f"{bundle_path} holds, without secrets:", err=True)
        for line in lines:
            click.echo(f"  {line}", err=True)
    raise SystemExit(max(_EXIT_CODES[each.level] for each in found))


def _evidence(found: list[Finding]) -> Iterator[Part]:
    yield "doctor.json", "the findings of the doctor", [asdict(each) for each in found]
    try:
        loaded = settings.load(os.environ)
    except SettingsError:
        loaded = None
    yield from bundle.parts(loaded)


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
        found = list(_guarded("PostgreSQL", lambda: examine_database(loaded, database)))
        yield from found
        client = registry = None
        if loaded.valkey_url or loaded.valkey_sentinel_url:
            client, registry = connected(loaded)
            # The licence is in PostgreSQL, and counts as an evaluation while that is away.
            if not _has_error(found):
                yield from _guarded("Licence", lambda: examine_license(loaded, database))
            yield from _cluster(loaded, database, client, registry)
        else:
            yield Finding("Valkey", "ok", "not configured: this is a single instance")
        # Without PostgreSQL, this check would only repeat the error.
        if not _has_error(found):
            yield from _guarded("Consistency", lambda: examine_consistency(loaded, database, client, registry))
    finally:
        database.close()
    if load_balancer:
        yield from _guarded("Load balancer", lambda: examine_balancer(load_balancer.rstrip("/")))


def _cluster(loaded: Settings, database: Database, client: Redis, registry: ValkeyRegistry) -> Findings:
    found: list[Finding] = []
    if loaded.valkey_sentinel_url:
        endpoints, name = addresses.parse(loaded.valkey_sentinel_url), loaded.valkey_sentinel_master_name
        found += _guarded("Sentinels", lambda: examine_sentinels(endpoints, name))
        yield from found
        # The Sentinels name the server: when none does, the next check would only repeat the error.
        if not any(each.level == "ok" for each in found) and _has_error(found):
            return
    found = list(_guarded("Valkey", lambda: examine_valkey(client, registry)))
    yield from found
    # The checks of the cluster read from Valkey: with an error there, they would only repeat it.
    if not _has_error(found):
        yield from _guarded("Cluster", lambda: _instances(loaded, database, registry))
        yield from _guarded("AI providers", lambda: examine_circuits(database, registry))


def _instances(loaded: Settings, database: Database, registry: ValkeyRegistry) -> Findings:
    snapshot, lost = registry.snapshot(), registry.lost()
    yield from judge_cluster(loaded, snapshot, lost, registry.status().figures)
    # Only what has been read is known to be unreadable.
    registry.events(MAX_EVENTS)
    yield from judge_unreadable(registry.unreadable())
    if lost:
        yield from judge_lost(lost, snapshot.taken_at, _fates(database, lost))
    tls = PeerTls.of(loaded.ha_peer_tls_cert, loaded.ha_peer_tls_key, loaded.ha_peer_tls_ca)
    # A heartbeat, and the time until it has an effect.
    settle_secs = loaded.ha_heartbeat_interval_secs + 2
    yield from examine_peers(registry.snapshot, settle_secs, tls.for_dialling() if tls else None)


def _fates(database: Database, lost: Sequence[LostInstance]) -> Mapping[str, LostCounts]:
    """The fates of the sessions of lost instances, by instance id; empty while PostgreSQL cannot be read."""
    with suppress(StoreUnavailable), database.transaction() as tx:
        return sessions.counts_of_lost(tx, [each.id for each in lost])
    return {}


def _has_error(found: list[Finding]) -> bool:
    return any(each.level == "error" for each in found)


def _guarded(topic: str, look: Callable[[], Findings]) -> Findings:
    try:
        yield from look()
    except (NetstacksError, RedisError, OSError) as error:
        yield Finding(topic, "error", str(error), _UNKNOWN, "correct this, and run the doctor again")
    except Exception as error:
        # A failure of one check must not end the others.
        what = f"the check failed with {type(error).__name__}: {error}"
        yield Finding(topic, "error", what, _UNKNOWN, "report this as a fault of the doctor, with a support bundle")


def _print(found: list[Finding]) -> None:
    topic = ""
    for each in found:
        if each.topic != topic:
            topic = each.topic
            print_line(topic)
        print_line(f"{_MARKS[each.level]}{each.what}")
        for text in (each.why, each.do):
            if text:
                print_line(f"          {text}")
