"""`netstacks ha history`: the last hour of every instance, as the page HA status draws it, in figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from netstacks.commands.printing import print_table
from netstacks.instance.history import STEP_SECS, History, Hour
from netstacks.registry.base import Registry

_HEADING = ("INSTANCE", "FIGURE", "NOW", "LEAST", "MOST")
# Label, unit, and the member of the hour.
_SERIES = (
    ("sessions", "", "sessions"),
    ("heartbeat age", " s", "heartbeat_age_secs"),
    ("loop lag", " ms", "loop_lag_ms"),
    ("Valkey latency", " ms", "valkey_latency_ms"),
    ("memory", " MiB", "memory_mib"),
)


def read(registry: Registry, instance_ids: Sequence[str]) -> Mapping[str, Hour]:
    """The hours by instance id, in the order of `instance_ids`."""
    history = History(registry, lambda: instance_ids)
    history.read()
    hours = history.hours()
    return {id: hours[id] for id in instance_ids if id in hours}


def as_json(hours: Mapping[str, Hour]) -> dict[str, Any]:
    """Each series has one value per minute, the newest last, null without samples. Times are in seconds since 1970."""
    return {"step_secs": STEP_SECS, "instances": {id: asdict(hour) for id, hour in hours.items()}}


def print_text(hours: Mapping[str, Hour]) -> None:
    print_table(_HEADING, [(id, *row) for id, hour in hours.items() for row in _rows(hour)])


def _rows(hour: Hour) -> list[tuple[str, ...]]:
    rows = []
    for label, unit, name in _SERIES:
        known = [each for each in getattr(hour, name) if each is not None]
        figures = (known[-1], min(known), max(known)) if known else ()
        rows.append((label, *(f"{each:g}{unit}" for each in figures), *["-"] * (3 - len(figures))))
    return rows
