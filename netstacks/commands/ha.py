"""`netstacks ha`: the cluster from the command line, read from Valkey; needs no running controller."""

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, get_args

import click

from netstacks import settings
from netstacks.cluster.event_texts import matching, text_of
from netstacks.cluster.model import EventKind
from netstacks.cluster.overview import check_drain
from netstacks.commands import ha_history, ha_status, unowned_sessions
from netstacks.commands.cluster_facts import gather
from netstacks.commands.judging import is_blind, judged
from netstacks.commands.printing import clock, print_json, print_line, print_table
from netstacks.errors import Conflict, NotFound, StoreUnavailable
from netstacks.registry.base import Registry
from netstacks.registry.valkey import open_registry
from netstacks.registry.valkey_streams import MAX_EVENTS
from netstacks.settings import Settings
from netstacks.store.live_sessions import LiveSession

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
    """Prints the condition of the cluster and every instance; exit code 1 unless the cluster is healthy."""
    loaded, registry = _opened()
    facts = gather(loaded, registry)
    _print_unreadable(facts.unreadable)
    if as_json:
        print_json(ha_status.as_json(facts))
    else:
        ha_status.print_text(facts)
    if facts.error is not None:
        raise facts.error
    if not facts.instances or facts.condition.state == "degraded":
        raise SystemExit(1)


@ha_group.command("history")
@click.option("--instance", "instance_id", help="Only this instance.")
@_as_json
def history_command(instance_id: str | None, as_json: bool) -> None:
    """Prints the last hour of every instance: its figures now, the least and the most."""
    _, registry = _opened()
    known = [*sorted(registry.snapshot().instances), *(each.id for each in registry.lost())]
    if instance_id is not None and instance_id not in known:
        raise NotFound(f"there is no instance {instance_id}: it has left, or its loss was dismissed")
    hours = ha_history.read(registry, known if instance_id is None else [instance_id])
    if as_json:
        print_json(ha_history.as_json(hours))
    else:
        ha_history.print_text(hours)


@ha_group.command("sessions")
@click.option("--instance", "instance_id", help="Only the sessions of this instance.")
@_as_json
def sessions_command(instance_id: str | None, as_json: bool) -> None:
    """Prints every session with its owner, and those that wait without one."""
    loaded, registry = _opened()
    snapshot, figures = registry.snapshot(), registry.status().figures
    registered = snapshot.instances
    # While the registry is blind, an unregistered instance may be alive and about to register again.
    any_may_own = is_blind(snapshot, figures, loaded.ha_stale_instance_ttl_secs)
    owners = [instance_id] if instance_id else sorted(registered)
    found = [asdict(record) for owner in owners for record in registry.sessions_of(owner)]
    _print_unreadable(registry.unreadable())
    try:
        unowned = unowned_sessions.find(loaded.database_url, registered)
    except StoreUnavailable as error:
        print_line(f"sessions without an owner are left out: {error}", err=True)
    else:
        found += [_as_record(each) for each in unowned if instance_id in (None, each.owner)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("SESSION", "OWNER", "EPOCH", "DEVICE", "USER", "STATE", "STARTED"),
        [
            (
                str(each["id"]),
                _owner(each["owner"], None if any_may_own else registered),
                str(each["epoch"]),
                each["device"],
                each["user"],
                each["state"],
                clock(each["started_at"]),
            )
            for each in sorted(found, key=lambda each: each["started_at"])
        ],
    )


def _owner(owner: str | None, registered: Collection[str] | None) -> str:
    if owner is None or registered is None or owner in registered:
        return owner or "none"
    return f"none (was {owner})"


def _as_record(session: LiveSession) -> dict[str, Any]:
    """A session without an owner in the form of the others."""
    return {
        "id": session.id,
        "owner": session.owner,
        "epoch": session.epoch,
        "device": session.device_name,
        "user": session.username,
        "started_at": session.started_at.timestamp(),
        "state": session.state,
    }


@ha_group.command("drain")
@click.argument("instance_id")
@click.option("--force", is_flag=True, help="Drains even the last healthy instance.")
@click.option("--cancel", is_flag=True, help="Cancels a drain, unless it has handed over all sessions.")
def drain_command(instance_id: str, force: bool, cancel: bool) -> None:
    """Requests a drain: the instance hands over its sessions and stops, from its next heartbeat on."""
    loaded, registry = _opened()
    if cancel:
        _cancel_drain(registry, instance_id, loaded.ha_heartbeat_interval_secs)
        return
    figures = registry.status().figures
    check_drain(judged(loaded, registry.snapshot(), figures), instance_id, force=force)
    if not registry.set_state(instance_id, "draining"):
        raise NotFound(f"there is no instance {instance_id}: it has just left")
    registry.record_event("draining", instance_id, by=_by())
    print_line(
        f"requested the drain of {instance_id}: it begins within {loaded.ha_heartbeat_interval_secs:g} s and takes"
        f" up to {loaded.drain_timeout_secs:g} s"
    )


def _cancel_drain(registry: Registry, instance_id: str, interval_secs: float) -> None:
    instance = registry.instance(instance_id)
    if instance is None:
        raise NotFound(f"there is no instance {instance_id}: it has left, or it was reaped")
    if instance.state != "draining":
        raise Conflict(f"{instance_id} is not draining, so there is nothing to cancel")
    if not registry.set_state(instance_id, "active"):
        raise NotFound(f"there is no instance {instance_id}: it has just left")
    registry.record_event("drain_cancelled", instance_id, by=_by())
    print_line(
        f"requested that {instance_id} cancel its drain, within {interval_secs:g} s: `netstacks ha status` shows it as"
        " draining again if that was too late, or if SIGTERM drains it"
    )


def _by() -> str:
    return f"the command line ({os.environ.get('USER') or 'unknown'})"


@ha_group.command("events")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, MAX_EVENTS))
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(get_args(EventKind)),
    help="Only events of this kind; repeatable.",
)
@click.option("--instance", "instance_id", help="Only events that name this instance.")
@_as_json
def events_command(limit: int, kinds: tuple[str, ...], instance_id: str | None, as_json: bool) -> None:
    """Prints the latest events, newest first."""
    _, registry = _opened()
    is_filtered = bool(kinds or instance_id)
    events = registry.events(MAX_EVENTS if is_filtered else limit)
    found = matching(events, kinds=kinds, instance_id=instance_id)[:limit]
    _print_unreadable(registry.unreadable())
    if as_json:
        print_json([{**asdict(event), "text": text_of(event)} for event in found])
        return
    print_table(("WHEN", "EVENT", "TEXT"), [(clock(event.at), event.kind, text_of(event)) for event in found])


def _print_unreadable(found: Mapping[str, str]) -> None:
    """Prints the records that are left out of the output to stderr."""
    for key, problem in found.items():
        print_line(f"{key} cannot be read and is left out: {problem}", err=True)
