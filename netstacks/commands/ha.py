"""`netstacks ha`: the cluster from the command line, read from Valkey; needs no running controller."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from netstacks import settings
from netstacks.cluster.overview import check_drain, overview
from netstacks.errors import Conflict, NotFound
from netstacks.registry.base import Registry
from netstacks.registry.valkey import open_registry
from netstacks.settings import Settings

_as_json = click.option("--json", "as_json", is_flag=True, help="Prints JSON.")


@click.group("ha")
def ha_group() -> None:
    """The cluster: instances, sessions and events."""


def _opened() -> tuple[Settings, Registry]:
    loaded = settings.load(os.environ)
    if loaded.valkey_url is None and loaded.valkey_sentinel_url is None:
        raise Conflict("neither VALKEY_URL nor VALKEY_SENTINEL_URL is set: a single instance has no cluster")
    registry = open_registry(loaded.valkey_url, loaded.valkey_sentinel_url, loaded.valkey_sentinel_master_name)
    return loaded, registry


@ha_group.command("status")
@_as_json
def status_command(as_json: bool) -> None:
    """Prints every instance with its state; exit code 1 unless all are healthy."""
    loaded, registry = _opened()
    snapshot = registry.snapshot()
    unreadable = _print_unreadable(registry)
    statuses = overview(snapshot, loaded.ha_heartbeat_interval_secs, loaded.ha_stale_instance_ttl_secs)
    healthy = sum(each.condition == "healthy" for each in statuses)
    total = sum(each.instance.sessions for each in statuses)
    status = registry.status()
    if as_json:
        _print_json(
            {
                "totals": {
                    "registered_instances": len(statuses),
                    "healthy_instances": healthy,
                    "total_sessions": total,
                },
                "valkey": dict(status.details),
                "unreadable": dict(unreadable),
                "instances": [asdict(each) for each in statuses],
            }
        )
    else:
        details = ", ".join(f"{name} {value}" for name, value in status.details.items())
        click.echo(f"Valkey {status.connection}: {details}")
        click.echo(f"{healthy} of {len(statuses)} instances are healthy, {total} sessions\n")
        _print_table(
            ("INSTANCE", "HOST", "STATE", "HEARTBEAT", "SESSIONS", "VERSION", "PROBLEM"),
            [
                (
                    each.instance.id,
                    each.instance.host,
                    each.condition,
                    f"{each.heartbeat_age_secs:.0f} s ago",
                    str(each.instance.sessions),
                    each.instance.version,
                    each.problem or "",
                )
                for each in statuses
            ],
        )
    if unreadable or not statuses or any(each.condition != "healthy" for each in statuses):
        raise SystemExit(1)


@ha_group.command("sessions")
@click.option("--instance", "instance_id", help="Only the sessions of this instance.")
@_as_json
def sessions_command(instance_id: str | None, as_json: bool) -> None:
    """Prints every session with its owner."""
    _, registry = _opened()
    owners = [instance_id] if instance_id else sorted(registry.snapshot().instances)
    found = [record for owner in owners for record in registry.sessions_of(owner)]
    _print_unreadable(registry)
    if as_json:
        _print_json([asdict(record) for record in found])
        return
    _print_table(
        ("SESSION", "OWNER", "EPOCH", "DEVICE", "USER", "STATE", "STARTED"),
        [
            (
                str(record.id),
                str(record.owner),
                str(record.epoch),
                record.device,
                record.user,
                record.state,
                _clock(record.started_at),
            )
            for record in sorted(found, key=lambda record: record.started_at)
        ],
    )


@ha_group.command("drain")
@click.argument("instance_id")
@click.option("--force", is_flag=True, help="Drains even the last healthy instance.")
def drain_command(instance_id: str, force: bool) -> None:
    """Requests a drain: the instance hands over its sessions and stops, from its next heartbeat on."""
    loaded, registry = _opened()
    statuses = overview(registry.snapshot(), loaded.ha_heartbeat_interval_secs, loaded.ha_stale_instance_ttl_secs)
    check_drain(statuses, instance_id, force=force)
    if not registry.set_state(instance_id, "draining"):
        raise NotFound(f"there is no instance {instance_id}: it has just left")
    registry.record_event("draining", instance_id, by=f"the command line ({os.environ.get('USER') or 'unknown'})")
    click.echo(
        f"requested the drain of {instance_id}: it begins within {loaded.ha_heartbeat_interval_secs:g} s and takes"
        f" up to {loaded.drain_timeout_secs:g} s"
    )


@ha_group.command("events")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@_as_json
def events_command(limit: int, as_json: bool) -> None:
    """Prints the latest events, newest first."""
    _, registry = _opened()
    found = registry.events(limit)
    _print_unreadable(registry)
    if as_json:
        _print_json([asdict(event) for event in found])
        return
    _print_table(
        ("WHEN", "EVENT", "INSTANCE", "DETAILS"),
        [
            (
                _clock(event.at),
                event.kind,
                event.instance_id,
                ", ".join(f"{name} {value}" for name, value in event.details.items()),
            )
            for event in found
        ],
    )


def _print_unreadable(registry: Registry) -> Mapping[str, str]:
    """Prints the records that are left out of the output to stderr, and returns them."""
    found = registry.unreadable()
    for key, problem in found.items():
        click.echo(f"{key} cannot be read and is left out: {problem}", err=True)
    return found


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def _print_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [heading, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
