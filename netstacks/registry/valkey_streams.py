"""Events and samples in Valkey's streams, and the circuits of AI providers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from netstacks.cluster.circuits import MAX_OPEN_SECS, Circuit
from netstacks.cluster.model import Event, EventKind, Sample
from netstacks.registry import hashes, keys
from netstacks.registry.base import MAX_SAMPLES, SAMPLES_SECS
from netstacks.registry.valkey_calls import Calls, guarded

MAX_EVENTS = 1000
# The most streams of samples in one call: each can have hundreds of entries, which the loop parses without a pause.
_SAMPLE_BATCH = 10
# A sample's time is estimated, so it can be a little later than the entry that holds it.
_MARGIN_SECS = 5.0
# Longer than a circuit can stay open without a probe; each probe stores the circuit again.
_CIRCUIT_TTL_SECS = int(2 * MAX_OPEN_SECS)


class Streams(Calls):
    """See `base.Registry`."""

    @guarded
    def add_samples(self, instance_id: str, samples: Sequence[Sample]) -> None:
        if samples:
            figures = map(hashes.sample_figures, samples)
            self._run("add_samples", [keys.samples(instance_id)], MAX_SAMPLES, int(SAMPLES_SECS), *figures)

    @guarded
    def samples(self, after: Mapping[str, float]) -> dict[str, list[Sample]]:
        found: dict[str, list[Sample]] = {}
        ids = list(after)
        for start in range(0, len(ids), _SAMPLE_BATCH):
            batch = ids[start : start + _SAMPLE_BATCH]
            firsts = [max(0, int((after[id] - _MARGIN_SECS) * 1000)) for id in batch]
            streams = json.loads(self._run("samples", list(map(keys.samples, batch)), *firsts), strict=False)
            for id, entries in zip(batch, streams, strict=True):
                found[id] = self._read_samples(id, entries, after[id])
        return found

    def _read_samples(self, instance_id: str, entries: Any, after: float) -> list[Sample]:
        key, found = keys.samples(instance_id), list[Sample]()
        if isinstance(entries, str):
            self._damage.note(key, f"it is a {entries}, not a stream")
            return found
        for id, figures in entries:
            try:
                sample = hashes.sample(figures)
            except ValueError as error:
                self._damage.note(f"{key} {id}", str(error))
            else:
                if sample.at > after:
                    found.append(sample)
        return found

    @guarded
    def record_event(self, kind: EventKind, instance_id: str, *, once_secs: float = 0.0, **details: str) -> None:
        entry = {**details, "kind": kind, "instance_id": instance_id}
        limits = (MAX_EVENTS, int(once_secs * 1000))
        touched = [keys.EVENTS, keys.reported(kind)]
        self._run("record_event", touched, *limits, *(part for item in entry.items() for part in item))

    @guarded
    def events(self, limit: int = 50) -> list[Event]:
        found: list[Event] = []
        entries = json.loads(self._run("events", [keys.EVENTS], limit), strict=False)
        if isinstance(entries, str):
            self._damage.note(keys.EVENTS, f"it is a {entries}, not a stream")
            return found
        for id, entry in entries:
            with self._damage.noted(f"{keys.EVENTS} {id}"):
                found.append(hashes.event(id, hashes.from_hash(entry)))
        return found

    @guarded
    def circuits(self) -> tuple[float, dict[str, Circuit]]:
        secs, microsecs, *found = json.loads(self._run("circuits", [keys.BREAKERS]))
        circuits: dict[str, Circuit] = {}
        for name, stored in found:
            with self._damage.noted(keys.breaker(name)):
                circuits[name] = hashes.circuit(hashes.from_hash(stored))
        return hashes.time(secs, microsecs), circuits

    @guarded
    def replace_circuit(self, name: str, circuit: Circuit, expected_version: int) -> tuple[float, Circuit | None]:
        touched = [keys.breaker(name), keys.BREAKERS]
        arguments = (name, expected_version, _CIRCUIT_TTL_SECS, *hashes.to_hash(circuit))
        secs, microsecs, is_stored, *present = self._run("replace_circuit", touched, *arguments)
        now = hashes.time(secs, microsecs)
        if is_stored:
            return now, None
        try:
            return now, hashes.circuit(hashes.from_hash(present)) if present else Circuit()
        except ValueError:
            # A record that this program did not write: drop it, so that the caller can replace it.
            self._drop_circuit(name)
            return now, Circuit()

    @guarded
    def forget_circuit(self, name: str) -> None:
        self._drop_circuit(name)

    def _drop_circuit(self, name: str) -> None:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(keys.breaker(name))
        pipeline.srem(keys.BREAKERS, name)
        pipeline.execute()

    @guarded
    def cluster_id(self, known: str = "") -> str:
        with self._damage.noted(keys.CLUSTER):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.set(keys.CLUSTER, known or uuid4().hex, nx=True)
            pipeline.get(keys.CLUSTER)
            return str(pipeline.execute()[1])
        return known
