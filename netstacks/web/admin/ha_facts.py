"""What each section of the page HA status shows: the variables of its template, by the id of its element."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from netstacks.web.admin.ha_source import Facts, coarse

_VALKEY = "valkey_latency_ms"
# Label, unit, and the member of the history.
_SERIES = (
    ("Sessions", "", "sessions"),
    ("Heartbeat age", " s", "heartbeat_age_secs"),
    ("Loop lag", " ms", "loop_lag_ms"),
    ("Valkey latency", " ms", _VALKEY),
    ("Memory", " MiB", "memory_mib"),
)
_VOLATILE = frozenset(
    {
        "heartbeat_age_secs",
        "latency_ms",
        "memory_used_bytes",
        "clients",
        "connections",
        "recordings_bytes",
        "oldest_transaction_secs",
        "replay_lag_secs",
        "wal_position",
    }
)


@dataclass(frozen=True)
class Filters:
    """Which events and sessions are shown; None shows all."""

    kind: str | None = None
    instance: str | None = None
    owner: str | None = None
    before: datetime | None = None


def facts_of(
    status: Facts,
    history: Facts,
    sessions: Facts,
    events: Sequence[Facts] | None,
    filters: Filters,
    now: datetime,
) -> dict[str, Facts]:
    """The facts of all sections, in the order of the page.

    `status`, `history` and `events` are answers of the API; `sessions` is one, too, with ages. Events that cannot be
    read are None.
    """
    valkey, database = status["valkey"], status["database"]
    instances, lost = status["instances"], status["lost"]
    series = [each for each in _SERIES if each[2] != _VALKEY or valkey["connection"] != "disabled"]
    return {
        "ha-top": {
            "status": {
                **_members(status, "cluster", "totals", "clocks", "unreadable", "inconsistencies"),
                **_age(status, valkey["connection"], now),
                "draining": sum(each["status"] == "draining" for each in instances),
                "headline": _headline(status),
            },
            "valkey": _members(valkey, "connection", "error"),
            "database": _members(database, "connection", "error"),
        },
        "ha-instances": {
            "status": _members(status, "instance_id", "clocks", "instances", "lost"),
            "valkey": _members(valkey, "connection"),
            "history": history["instances"],
        },
        "ha-history": {"rows": [*_rows(instances, history, series), *_rows(lost, history, series, is_lost=True)]},
        "ha-panels": {
            "status": {
                "instances": [_members(each, "id", "sessions") for each in instances],
                "providers": status["providers"],
            },
            "valkey": {**valkey, **_age(valkey, valkey["connection"], now)},
            "database": {**database, **_age(database, database["connection"], now)},
        },
        "ha-sessions": {"sessions": sessions},
        "ha-events": {
            "events": events and [_members(each, "at", "text") for each in events],
            "kinds": status["event_kinds"],
            "instances": _to_choose_from([*instances, *lost], filters.instance),
        },
        "ha-seen": {"status": _members(status, "instance_id")},
    }


def without_volatile(facts: Facts) -> Facts:
    """The facts without what changes at every look and is not news: ages of heartbeats, figures of Valkey and so on."""
    stable = {name: _stable(each) if name in ("valkey", "database") else each for name, each in facts.items()}
    if "instances" in facts.get("status", {}):
        instances = [_stable(each) for each in facts["status"]["instances"]]
        stable["status"] = {**facts["status"], "instances": instances}
    return stable


def _stable(facts: Facts) -> dict[str, Any]:
    return {name: each for name, each in facts.items() if name not in _VOLATILE}


def _members(whole: Facts, *names: str) -> dict[str, Any]:
    return {name: whole[name] for name in names}


def _age(facts: Facts, connection: str, now: datetime) -> Facts:
    """When the facts were read: shown only when they are old and no longer change."""
    if connection != "disconnected" or facts["seen_at"] is None:
        return {"seen_at": None}
    return {"seen_at": facts["seen_at"], "age": coarse(now - datetime.fromisoformat(facts["seen_at"]))}


def _headline(status: Facts) -> str:
    """Why the cluster is degraded, as a sentence. Inconsistencies have their own notices, each with its remedy."""
    reason = (status["cluster"]["reason"] or "").rstrip(".")
    problems = "; ".join(each["problem"] for each in status["inconsistencies"]).rstrip(".")
    if problems and reason.endswith(problems):
        others = reason.removesuffix(problems)
        reason = f"{others}{'instances' if others else 'Instances'} do not agree: see below"
    return f"{reason}." if reason else ""


def _rows(
    instances: Sequence[Facts], history: Facts, series: Sequence[tuple[str, str, str]], *, is_lost: bool = False
) -> list[Facts]:
    hours = history["instances"]
    return [
        {
            **_members(each, "id", "host"),
            "is_lost": is_lost,
            "names": [name for _, _, name in series],
            "series": [(label, unit, hours[each["id"]][name]) for label, unit, name in series],
        }
        for each in instances
        if each["id"] in hours
    ]


def _to_choose_from(instances: Sequence[Facts], chosen: str | None) -> list[str]:
    """The ids of the filter; a chosen instance that has left stays among them."""
    ids = [each["id"] for each in instances]
    return ids if chosen is None or chosen in ids else [chosen, *ids]
