"""The last hour of every instance, in points of one minute, for the page HA status."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from netstacks import greenlets
from netstacks.cluster.model import Sample
from netstacks.errors import RegistryUnavailable
from netstacks.instance.shared_query import SharedQuery
from netstacks.registry.base import Registry

STEP_SECS = 60
POINTS = 60
# How long the points are reused. Samples arrive every ten seconds.
FRESH_SECS = 10.0
PATIENCE_SECS = 1.5
# The instances in one call, whose samples are parsed without a pause. The first reading of an instance has hundreds.
_AT_ONCE, _NEW_AT_ONCE = 20, 1
_MIB = 1024 * 1024


@dataclass
class Point:
    """One minute: the last number of sessions and the last memory, the largest of everything else."""

    sessions: int
    heartbeat_age_secs: float
    loop_lag_secs: float
    valkey_latency_secs: float
    memory_bytes: int

    def add(self, sample: Sample) -> None:
        """Adds a later sample of the same minute."""
        self.sessions, self.memory_bytes = sample.sessions, sample.memory_bytes
        self.heartbeat_age_secs = max(self.heartbeat_age_secs, sample.heartbeat_age_secs)
        self.loop_lag_secs = max(self.loop_lag_secs, sample.loop_lag_secs)
        self.valkey_latency_secs = max(self.valkey_latency_secs, sample.valkey_latency_secs)


@dataclass(frozen=True)
class Hour:
    """The last hour of one instance: POINTS values in each series, the newest last, None for a minute without samples.

    `began_at` is the beginning of the first minute, in seconds since 1970.
    """

    began_at: float
    sessions: Sequence[int | None]
    heartbeat_age_secs: Sequence[float | None]
    loop_lag_ms: Sequence[float | None]
    valkey_latency_ms: Sequence[float | None]
    memory_mib: Sequence[int | None]

    @classmethod
    def of(cls, points: Mapping[int, Point], first: int) -> Self:
        """The hour from the minute `first` on."""
        hour = [points.get(minute) for minute in range(first, first + POINTS)]
        return cls(
            first * STEP_SECS,
            [None if each is None else each.sessions for each in hour],
            [None if each is None else round(each.heartbeat_age_secs, 1) for each in hour],
            [None if each is None else round(1000 * each.loop_lag_secs, 1) for each in hour],
            [None if each is None else round(1000 * each.valkey_latency_secs, 1) for each in hour],
            [None if each is None else round(each.memory_bytes / _MIB) for each in hour],
        )


class History:
    """Reads only the samples that are new, and only on request. `instance_ids` returns the ids to read.

    The points of an instance that is no longer asked for are dropped.
    """

    def __init__(self, registry: Registry, instance_ids: Callable[[], Iterable[str]]) -> None:
        self._registry = registry
        self._instance_ids = instance_ids
        self._minutes: dict[str, dict[int, Point]] = {}
        """By instance id and minute since 1970, oldest first."""
        self._read_until: dict[str, float] = {}
        """The time of the newest sample of each instance, by the registry's clock."""
        self._hours: dict[str, Hour] = {}
        """Made when samples are read, with pauses: a page is rendered more often than samples arrive."""
        self._look = SharedQuery("history", self.read)
        self._is_loaded = False

    def refresh(self) -> None:
        """Reads new samples when the last reading is FRESH_SECS old; only the first reading is waited for."""
        self._look.refresh(FRESH_SECS, 0.0 if self._is_loaded else PATIENCE_SECS)

    def hours(self) -> Mapping[str, Hour]:
        """The hour of each instance as it was last read. It ends with the minute of the reading."""
        return self._hours

    def read(self) -> None:
        """Reads new samples at once; what cannot be read stays as it is."""
        ids = list(self._instance_ids())
        for gone in self._minutes.keys() - set(ids):
            for known in (self._minutes, self._read_until, self._hours):
                known.pop(gone, None)
        new = [id for id in ids if id not in self._read_until]
        batches = [*_batches(new, _NEW_AT_ONCE), *_batches([id for id in ids if id in self._read_until], _AT_ONCE)]
        # The page says that the registry is away, and the points that were read stay.
        with contextlib.suppress(RegistryUnavailable):
            first = int(self._registry.now() // STEP_SECS) - POINTS + 1
            for batch in batches:
                found = self._registry.samples({id: self._read_until.get(id, 0.0) for id in batch})
                for id in batch:
                    self._add(id, found.get(id, []), first)
                    greenlets.give_way()
            self._is_loaded = True

    def _add(self, instance_id: str, samples: Sequence[Sample], first: int) -> None:
        minutes = self._minutes.setdefault(instance_id, {})
        # A sample from the future, which another program has written, would hide those that follow it.
        ends_at = (first + POINTS + 1) * STEP_SECS
        samples = [each for each in samples if each.at < ends_at]
        for sample in samples:
            minute = int(sample.at // STEP_SECS)
            if minute in minutes:
                minutes[minute].add(sample)
            else:
                minutes[minute] = Point(
                    sample.sessions,
                    sample.heartbeat_age_secs,
                    sample.loop_lag_secs,
                    sample.valkey_latency_secs,
                    sample.memory_bytes,
                )
        for old in [each for each in minutes if each < first]:
            del minutes[old]
        if samples:
            self._read_until[instance_id] = samples[-1].at
        hour = self._hours.get(instance_id)
        if samples or hour is None or hour.began_at != first * STEP_SECS:
            self._hours[instance_id] = Hour.of(minutes, first)


def _batches(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
