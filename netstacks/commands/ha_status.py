"""`netstacks ha status`: the facts of the page HA status as text and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from netstacks.cluster.instance_rows import InstanceRow
from netstacks.cluster.model import LostInstance
from netstacks.cluster.overview import InstanceStatus, loss_in_words
from netstacks.commands.circuits import ModelState
from netstacks.commands.cluster_facts import ClusterFacts
from netstacks.commands.printing import clock, mib, print_line, print_table
from netstacks.registry.base import RegistryStatus
from netstacks.registry.figures import Replica, ValkeyFigures, failover_problem
from netstacks.store.database_figures import DatabaseFigures
from netstacks.store.rehearsals import Proof

_HEADING = ("INSTANCE", "HOST", "ADDRESS", "STATE", "HEARTBEAT", "SESSIONS", "VERSION", "PROBLEM")


def as_json(facts: ClusterFacts) -> dict[str, Any]:
    """Times are in seconds since 1970; what is not known is null."""
    failover, figures = facts.failover, facts.store.figures
    return {
        "cluster": asdict(facts.condition),
        "totals": _totals(facts),
        "valkey": {
            **asdict(facts.registry),
            "last_failover": {"at": failover.at, **failover.details} if failover else None,
        },
        "database": {
            "connection": "disconnected" if facts.store.problem else "connected",
            "error": facts.store.problem,
            **(asdict(figures) if figures else dict.fromkeys(each.name for each in fields(DatabaseFigures))),
            "backup": _backup(facts.store.backup),
        },
        "unreadable": dict(facts.unreadable),
        "inconsistencies": [
            {"kind": each.kind, "problem": each.problem, "remedy": each.remedy, "instances": list(each.instances)}
            for each in facts.inconsistencies
        ],
        "instances": [asdict(each) for each in facts.instances],
        "lost": [{**asdict(each), "problem": _loss(each, facts)} for each in facts.lost],
        # What living instances say of themselves in PostgreSQL, which answers also while Valkey does not.
        "known_by_database": [_known(each) for each in facts.store.rows],
        "providers": [asdict(each) for each in facts.providers],
    }


def print_text(facts: ClusterFacts) -> None:
    condition = facts.condition
    print_line(f"The cluster is {condition.state}{f': {condition.reason}' if condition.reason else ''}")
    print_line(_counts(facts))
    figures = facts.registry.figures
    print_line(f"Valkey {facts.registry.connection}{f', {_valkey(figures)}' if figures else ''}")
    for line in (*_sentinels(facts.registry), *_others(facts)):
        print_line(line)
    print_line()
    if facts.error is not None:
        print_table(_HEADING, map(_alive, facts.store.rows))
    else:
        print_table(_HEADING, [*map(_row, facts.instances), *(_lost(each, facts) for each in facts.lost)])


def _totals(facts: ClusterFacts) -> dict[str, int | None]:
    if facts.error is not None:
        names = ("registered_instances", "healthy_instances", "lost_instances", "total_sessions")
        return dict.fromkeys((*names, "sessions_without_owner"))
    return {
        "registered_instances": len(facts.instances),
        "healthy_instances": facts.healthy,
        "lost_instances": len(facts.lost),
        "total_sessions": sum(each.instance.sessions for each in facts.instances) + (facts.unowned or 0),
        "sessions_without_owner": facts.unowned,
    }


def _counts(facts: ClusterFacts) -> str:
    totals, expected = _totals(facts), facts.condition.expected_instances
    if facts.error is not None:
        known = len(facts.store.rows)
        return f"How many instances are healthy is not known; alive on this database: {known} of {expected}"
    healthy, waiting = ("an unknown number" if each is None else str(each) for each in (facts.healthy, facts.unowned))
    return (
        f"{healthy[:1].upper()}{healthy[1:]} of {expected} instances are healthy,"
        f" {totals['total_sessions']} sessions, {waiting} of them without an owner"
    )


def _valkey(figures: ValkeyFigures) -> str:
    limit = mib(figures.memory_limit_bytes) if figures.memory_limit_bytes else "unlimited"
    state = figures.persistence_problem or figures.persistence_state
    persistence = f"{figures.persistence}{f' ({state})' if state else ''}"
    replicas = ", ".join(map(_replica, figures.replicas))
    upstream = f" of {figures.upstream}" if figures.upstream else ""
    saved = "none since its start" if figures.last_save_at is None else clock(figures.last_save_at)
    return (
        f"version {figures.version}, {figures.role} at {figures.address}{upstream}, up since {clock(figures.up_since)},"
        f" latency {1000 * figures.latency_secs:.1f} ms, {figures.clients} clients,"
        f" memory {mib(figures.memory_used_bytes)} of {limit} ({figures.memory_policy}), persistence: {persistence},"
        f" last snapshot: {saved}, replicas: {replicas or 'none'}"
    )


def _replica(replica: Replica) -> str:
    to_copy = "" if replica.behind_bytes is None else f", {replica.behind_bytes} bytes to copy"
    return f"{replica.address} ({replica.state}, {_lag(replica.lag_secs)}{to_copy})"


def _lag(secs: float | None) -> str:
    return "lag unknown" if secs is None else f"{secs:.3g} s behind"


def _sentinels(registry: RegistryStatus) -> Iterator[str]:
    sentinels = registry.sentinels
    if sentinels is None:
        return
    quorum = "unknown" if sentinels.quorum is None else sentinels.quorum
    problem = failover_problem(registry.figures, sentinels)
    yield f"Sentinels of {sentinels.master_name}: quorum {quorum}, {problem or 'a failover is possible'}"
    for view in sentinels.views:
        yield f"  {view.address}: {view.problem or f'the primary is {view.primary}'}"


def _others(facts: ClusterFacts) -> Iterator[str]:
    if facts.failover is not None:
        details = facts.failover.details
        former, address = details.get("former") or "unknown", details.get("address") or "unknown"
        yield f"Last failover {clock(facts.failover.at)}: from {former} to {address}"
    figures = facts.store.figures
    yield f"PostgreSQL connected, {_database(figures)}" if figures else "PostgreSQL disconnected"
    if figures:
        yield f"Backup last proven: {_proof(facts.store.backup)}"
    for provider in facts.providers:
        yield f"AI provider {provider.title}: {', '.join(map(_circuit, provider.models)) or 'no model'}"
    for each in facts.inconsistencies:
        yield f"Instances do not agree: {each.problem}"
        yield f"  Remedy: {each.remedy}"


def _database(figures: DatabaseFigures) -> str:
    connections = "an unknown number" if figures.connections is None else figures.connections
    recordings = "of unknown size" if figures.recordings_bytes is None else mib(figures.recordings_bytes)
    oldest_secs = figures.oldest_transaction_secs
    oldest = "" if oldest_secs is None else f", oldest transaction {oldest_secs:.0f} s"
    replayed_secs = figures.replay_lag_secs
    replayed = "" if replayed_secs is None else f", {replayed_secs:.0f} s behind its primary"
    position = f", WAL position {figures.wal_position}" if figures.wal_position else ""
    standbys = ", ".join(
        f"{each.name} ({each.state or 'state unknown'}, {_lag(each.lag_secs)})" for each in figures.replicas
    )
    return (
        f"version {figures.version}, {figures.role}{replayed}{position},"
        f" {connections} of {figures.connections_limit} connections,"
        f" recordings {recordings}{oldest}, standbys: {standbys or 'none'}"
    )


def _proof(backup: Proof | None) -> str:
    if backup is None:
        return "never"
    return f"{clock(backup.proven_at.timestamp())}, of {clock(backup.backup_created_at.timestamp())}"


def _backup(backup: Proof | None) -> Mapping[str, Any] | None:
    if backup is None:
        return None
    at = {"proven_at": backup.proven_at.timestamp(), "backup_created_at": backup.backup_created_at.timestamp()}
    return backup.model_dump() | at


def _circuit(model: ModelState) -> str:
    if model.state == "closed":
        return f"{model.model} closed"
    until = f" until {clock(model.open_until)}" if model.open_until else ""
    return f"{model.model} {model.state}{until}{f' ({model.reason})' if model.reason else ''}"


def _row(status: InstanceStatus) -> tuple[str, ...]:
    instance = status.instance
    return (
        instance.id,
        instance.host,
        instance.peer_address,
        status.condition,
        f"{status.heartbeat_age_secs:.0f} s ago",
        str(instance.sessions),
        instance.version,
        status.problem or "",
    )


def _lost(lost: LostInstance, facts: ClusterFacts) -> tuple[str, ...]:
    problem = _loss(lost, facts)
    return lost.id, lost.host, lost.peer_address, "lost", "", str(lost.sessions), lost.version, problem


def _alive(row: InstanceRow) -> tuple[str, ...]:
    state, age = "draining" if row.is_draining else "alive", f"it wrote to PostgreSQL {row.age_secs:.0f} s ago"
    return row.id, row.host, row.peer_address, state, "", "", row.version, f"{age}; its state in Valkey is not known"


def _loss(lost: LostInstance, facts: ClusterFacts) -> str:
    fates = facts.store.of_lost.get(lost.id)
    return loss_in_words(lost, facts.now, asdict(fates) if fates else None)


def _known(row: InstanceRow) -> Mapping[str, Any]:
    return {
        "id": row.id,
        "host": row.host,
        "peer_address": row.peer_address or None,
        "version": row.version,
        "is_draining": row.is_draining,
        "seen_at": row.seen_at,
    }
