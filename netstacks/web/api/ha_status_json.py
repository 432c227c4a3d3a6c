"""The JSON of HA status, rendered once for each view of the cluster and shared by all its viewers."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast, get_args

from netstacks.cluster import clocks
from netstacks.cluster.event_texts import text_of
from netstacks.cluster.model import Event, EventKind, LostInstance
from netstacks.cluster.overview import (
    ClusterCondition,
    InstanceStatus,
    condition_of,
    loss_in_words,
    overview,
    summarize,
    unreadable_problem,
)
from netstacks.instance.database_look import NOT_ASKED
from netstacks.instance.observer import FRESH_SECS, View
from netstacks.registry.figures import problems_of
from netstacks.store.sessions import LostCounts
from netstacks.store.sight import Sight
from netstacks.web.api.ha_figures_json import at, database, providers, valkey
from netstacks.web.api.ha_status_types import (
    ClusterEventJson,
    ClusterJson,
    HaStatus,
    InstanceJson,
    LostInstanceJson,
    LostSessions,
)
from netstacks.web.context import Services

_EVENT_KINDS = sorted(get_args(EventKind))
# What changes at every look without news for an operator: ages, latencies, sizes.
_VOLATILE = frozenset(
    {
        "seen_at",
        "up_since",
        "heartbeat_age_secs",
        "clock_skew_secs",
        "clock_skew",
        "opens_per_sec",
        "latency_ms",
        "memory_used_bytes",
        "clients",
        "last_save_at",
        "lag_secs",
        "behind_bytes",
        "connections",
        "recordings_bytes",
        "oldest_transaction_secs",
        "replay_lag_secs",
        "wal_position",
    }
)


@dataclass(frozen=True)
class Rendered:
    """A view as a dict and as JSON; `news` is the same as long as nothing but ages and the like changes."""

    view: View
    at: float
    """When it was rendered, by the monotonic clock."""
    status: HaStatus
    body: str
    news: str


def rendered(parts: Services, view: View) -> Rendered:
    """The status, rendered once for each view."""
    # No yield in this function: another greenlet would render the same view. A view can last for as long as Valkey and
    # PostgreSQL are away, and what other parts contribute changes meanwhile.
    last: Rendered | None = parts.ha_rendered
    now = time.monotonic()
    if last is None or last.view is not view or now - last.at > FRESH_SECS:
        status = _status(parts, view)
        last = Rendered(view, now, status, json.dumps(status), json.dumps(_without_volatile(status)))
        parts.ha_rendered = last
    return last


def seen_status(status: HaStatus, sight: Sight) -> HaStatus:
    """The status for a user: with a limited sight, without the events that name a session."""
    return {**status, "events": seen_events(status["events"], sight)}


def seen_events(events: list[ClusterEventJson], sight: Sight) -> list[ClusterEventJson]:
    # Events do not tell where a device is, and must be shown while PostgreSQL is away.
    return [each for each in events if not (sight.is_limited and "session" in each)]


def lines_of(parts: Services, view: View) -> list[InstanceStatus]:
    """The instance table."""
    settings = parts.settings
    return overview(
        view.snapshot,
        settings.ha_heartbeat_interval_secs,
        settings.ha_stale_instance_ttl_secs,
        view.clock_skews,
        is_blind=parts.agent.is_blind,
    )


def clock_warning(lines: list[InstanceStatus], own_id: str) -> str | None:
    """A sentence about the clocks that differ from that of this instance; None when all agree."""
    differing = [line for line in lines if line.clock_differs]
    measured = [line for line in lines if line.clock_skew_secs is not None]
    if not differing:
        return None
    skews = ", ".join(
        f"{line.instance.id} on {line.instance.host} is {clocks.in_words(line.clock_skew_secs or 0.0)}"
        for line in differing
    )
    if len(differing) == len(measured) > 1:
        return f"The clock of {own_id}, which serves this page, differs from that of every other instance: {skews}"
    return f"Clocks differ. Compared with {own_id}, which serves this page, {skews}"


def event_json(event: Event) -> ClusterEventJson:
    """An event with its sentence."""
    members: ClusterEventJson = {
        "at": at(event.at),
        "kind": event.kind,
        "instance_id": event.instance_id,
        "text": text_of(event),
    }
    # After the details: a detail of the same name must not replace these members.
    return cast(ClusterEventJson, {**event.details, **members})


def _status(parts: Services, view: View) -> HaStatus:
    lines = lines_of(parts, view)
    summary = summarize(lines)
    problems = parts.consistency.problems()
    # Right after an outage, the sessions of an instance that has not registered again yet would count as without owner.
    unowned = None if parts.agent.is_blind else view.database.unowned
    condition = condition_of(
        lines,
        view.lost,
        expected_instances=parts.settings.ha_expected_instances,
        is_shared=view.registry.connection != "disabled",
        now=view.snapshot.taken_at,
        problems=[*_shared_problems(view, parts.agent.contact.problem), *(each.problem for each in problems)],
    )
    return {
        "instance_id": parts.agent.me.id,
        # Of the snapshot of instances and events: it ages without a registry.
        "seen_at": at(view.seen_at),
        "cluster": _cluster(condition),
        "totals": {
            "registered_instances": summary.registered_instances,
            "healthy_instances": summary.healthy_instances,
            "lost_instances": len(view.lost),
            "total_sessions": summary.total_sessions + (unowned or 0),
            "sessions_without_owner": unowned,
        },
        "valkey": valkey(view),
        "database": database(view.database),
        "clocks": {
            "warning": clock_warning(lines, parts.agent.me.id),
            "advice": clocks.ADVICE,
            "tolerated_secs": clocks.TOLERATED_SECS,
        },
        "unreadable": [{"key": key, "problem": problem} for key, problem in view.unreadable.items()],
        "inconsistencies": [
            {"kind": each.kind, "problem": each.problem, "remedy": each.remedy, "instances": list(each.instances)}
            for each in problems
        ],
        "instances": [_instance(line) for line in lines],
        "lost": [_lost(each, view) for each in view.lost],
        "providers": providers(parts.llm),
        "events": [event_json(each) for each in view.events],
        "event_kinds": _EVENT_KINDS,
    }


def _shared_problems(view: View, heartbeat_problem: str | None) -> Iterable[str]:
    """Sentences about dependencies of the whole cluster that are down or threatened."""
    if view.registry.connection == "disconnected":
        error = (view.registry.error or "").removeprefix("Valkey: ").rstrip(".")
        yield f"Valkey does not answer{f' ({error})' if error else ''}"
    elif heartbeat_problem:
        yield f"Valkey takes no heartbeats: {heartbeat_problem.removeprefix('Valkey: ')}"
    yield from problems_of(view.registry.figures, view.registry.sentinels)
    if unreadable := unreadable_problem(len(view.unreadable)):
        yield unreadable
    if view.database.connection == "disconnected" and view.database is not NOT_ASKED:
        yield f"PostgreSQL does not answer ({view.database.error})"


def _cluster(condition: ClusterCondition) -> ClusterJson:
    return {
        "condition": condition.state,
        "reason": condition.reason,
        "expected_instances": condition.expected_instances,
        "expected_by": condition.expected_by,
    }


def _instance(line: InstanceStatus) -> InstanceJson:
    instance = line.instance
    return {
        "id": instance.id,
        "host": instance.host,
        "peer_address": instance.peer_address or None,
        "version": instance.version,
        "pid": instance.pid,
        "started_at": at(instance.started_at),
        "status": line.condition,
        "condition": line.condition,
        "problem": line.problem,
        "heartbeat_age_secs": round(line.heartbeat_age_secs, 1),
        "sessions": instance.sessions,
        "opens_per_sec": round(instance.opens_per_sec, 1),
        "waiting": instance.waiting,
        # Relative to the answering instance; None for that instance, and until it is measured.
        "clock_skew_secs": None if line.clock_skew_secs is None else round(line.clock_skew_secs, 1),
        "clock_skew": None if line.clock_skew_secs is None else clocks.in_words(line.clock_skew_secs),
    }


def _lost(lost: LostInstance, view: View) -> LostInstanceJson:
    counts = (view.database.lost_counts or {}).get(lost.id)
    return {
        "id": lost.id,
        "host": lost.host,
        "peer_address": lost.peer_address or None,
        "version": lost.version,
        "started_at": at(lost.started_at),
        "lost_at": at(lost.lost_at),
        "last_heartbeat_at": at(lost.last_heartbeat_at),
        "proof": lost.proof,
        "reaped_by": lost.reaped_by,
        "sessions": _fates(lost, counts) if counts else None,
        "problem": loss_in_words(lost, view.snapshot.taken_at, asdict(counts) if counts else None),
    }


def _fates(lost: LostInstance, counts: LostCounts) -> LostSessions:
    return {
        "total": max(lost.sessions, counts.taken_over + counts.waiting + counts.ended),
        "taken_over": counts.taken_over,
        "waiting": counts.waiting,
        "ended": counts.ended,
    }


def _without_volatile(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_volatile(each) for name, each in value.items() if name not in _VOLATILE}
        case list():
            return [_without_volatile(each) for each in value]
    return value
