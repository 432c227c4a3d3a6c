"""How instances, sessions and events are written to Valkey's hashes and stream, and read back."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, cast, get_args
from uuid import UUID

from netstacks.cluster.circuits import Circuit, CircuitState
from netstacks.cluster.model import Event, EventKind, Instance, InstanceState, Load, SessionRecord, SessionState

# Part of the key, or kept by the server itself.
_NOT_STORED = ("id", "sessions", "last_heartbeat_at")


def to_hash(record: Instance | Load | SessionRecord | Circuit) -> list[Any]:
    """Field and value by turns, as HSET takes them."""
    return [part for name, value in asdict(record).items() if name not in _NOT_STORED for part in (name, value)]


def from_hash(reply: Iterable[str]) -> dict[str, str]:
    """What a script returns of an HGETALL: field and value by turns."""
    turns = iter(reply)
    return dict(zip(turns, turns, strict=True))


def instance(instance_id: str, last_heartbeat_at: float, stored: dict[str, str]) -> Instance:
    return Instance(
        id=instance_id,
        host=stored["host"],
        peer_address=stored["peer_address"],
        started_at=float(stored["started_at"]),
        version=stored["version"],
        state=cast(InstanceState, stored["state"]),
        secrets_fingerprint=stored["secrets_fingerprint"],
        pid=int(stored["pid"]),
        # One of the former version tells neither.
        opens_per_sec=float(stored.get("opens_per_sec", 0)),
        waiting=int(stored.get("waiting", 0)),
        sessions=int(stored["sessions"]),
        last_heartbeat_at=last_heartbeat_at,
    )


def session(session_id: UUID, stored: dict[str, str]) -> SessionRecord:
    return SessionRecord(
        id=session_id,
        owner=stored["owner"],
        epoch=int(stored["epoch"]),
        device=stored["device"],
        user=stored["user"],
        started_at=float(stored["started_at"]),
        state=cast(SessionState, stored["state"]),
        cols=int(stored["cols"]),
        rows=int(stored["rows"]),
    )


def circuit(stored: dict[str, str]) -> Circuit:
    """Raises KeyError or ValueError for what is no circuit."""
    if stored["state"] not in get_args(CircuitState):
        raise ValueError("a circuit has no such state")
    return Circuit(
        state=cast(CircuitState, stored["state"]),
        failures=int(stored["failures"]),
        opened_at=float(stored["opened_at"]),
        open_until=float(stored["open_until"]),
        reason=stored["reason"],
        probe=stored["probe"],
        probe_until=float(stored["probe_until"]),
        version=int(stored["version"]),
        changed_at=float(stored["changed_at"]),
    )


def event(stream_id: str, entry: dict[str, str]) -> Event:
    """The stream's ids begin with the server's time in milliseconds."""
    details = dict(entry)
    kind, instance_id = cast(EventKind, details.pop("kind")), details.pop("instance_id")
    return Event(int(stream_id.partition("-")[0]) / 1000, kind, instance_id, details)


def time(secs: int | str, microsecs: int | str) -> float:
    """The reply of TIME as seconds since 1970."""
    return int(secs) + int(microsecs) / 1_000_000
