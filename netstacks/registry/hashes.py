"""Conversion of instances, sessions, circuits, samples and events to Valkey's hashes and stream entries, and back.

Readers raise ValueError with the problem of a malformed record: other programs, and other versions of this one, may
have written it.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple
from typing import Any, cast, get_args
from uuid import UUID

from netstacks.cluster.circuits import Circuit, CircuitState
from netstacks.cluster.model import (
    MAX_REASON,
    Event,
    EventKind,
    Instance,
    InstanceState,
    Load,
    LossProof,
    LostInstance,
    ReportedHealth,
    Sample,
    SessionRecord,
    SessionState,
)

Stored = Mapping[str, str]

# Part of the key, or maintained by the scripts.
_NOT_STORED = ("id", "sessions", "last_heartbeat_at", "replaces")
# The last second of the year 9999, the latest that `datetime` can represent.
LATEST = 253_402_300_799.0
# The bound of counts, process ids and window sizes: the range of an integer in PostgreSQL.
_MOST = 2**31 - 1
# The bound of circuit versions and of sizes: Lua's numbers are exact up to here.
_MAX_EXACT = 2**53 - 1
# INSTANCE_ID, of 40 characters at most, with a random suffix.
_INSTANCE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,59}")
_ADDRESS = re.compile(r"(\[[^\s\[\]]+\]|[^\s:\[\]/@]+):([0-9]{1,5})")


def to_hash(record: Instance | Load | SessionRecord | Circuit) -> list[Any]:
    """Alternating fields and values, as HSET expects them."""
    return [part for name, value in asdict(record).items() if name not in _NOT_STORED for part in (name, value)]


def of_lost(lost: LostInstance) -> list[Any]:
    """The same for a lost instance, whose times and sessions no script maintains."""
    return [part for name, value in asdict(lost).items() if name != "id" for part in (name, value)]


def from_hash(reply: Iterable[str]) -> dict[str, str]:
    """The fields of an HGETALL reply within a script's reply. A string is the type of a key that is not a hash."""
    if isinstance(reply, str):
        raise ValueError(f"it is a {reply}, not a hash")
    turns = iter(reply)
    return dict(zip(turns, turns, strict=True))


def _check_id(instance_id: str) -> None:
    """Raises ValueError for an id that this program never writes: ids become parts of URLs and keys."""
    if not _INSTANCE_ID.fullmatch(instance_id):
        raise ValueError(f"its id is {instance_id[:40]!r}, not letters, digits and any of . _ -")


def instance(instance_id: str, last_heartbeat_at: float, stored: Stored) -> Instance:
    _check_id(instance_id)
    if not 0 <= last_heartbeat_at <= LATEST:
        raise ValueError("the time of its last heartbeat is out of range")
    return Instance(
        id=instance_id,
        host=_text(stored, "host"),
        peer_address=_address(stored, "peer_address"),
        started_at=_time(stored, "started_at"),
        version=_text(stored, "version"),
        state=cast(InstanceState, _one_of(stored, "state", get_args(InstanceState))),
        secrets_fingerprint=_text(stored, "secrets_fingerprint"),
        pid=_integer(stored, "pid"),
        # Earlier versions do not report these.
        opens_per_sec=_number(stored, "opens_per_sec", _MOST) if "opens_per_sec" in stored else 0.0,
        waiting=_integer(stored, "waiting") if "waiting" in stored else 0,
        health=cast(ReportedHealth, _one_of({"health": "", **stored}, "health", get_args(ReportedHealth))),
        reason=stored.get("reason", "")[:MAX_REASON],
        sessions=_integer(stored, "sessions"),
        last_heartbeat_at=last_heartbeat_at,
        replaces=stored.get("replaces", ""),
    )


def lost_instance(instance_id: str, stored: Stored) -> LostInstance:
    _check_id(instance_id)
    return LostInstance(
        id=instance_id,
        host=_text(stored, "host"),
        peer_address=_address(stored, "peer_address"),
        version=_text(stored, "version"),
        started_at=_time(stored, "started_at"),
        last_heartbeat_at=_time(stored, "last_heartbeat_at"),
        lost_at=_time(stored, "lost_at"),
        sessions=_integer(stored, "sessions"),
        reaped_by=_text(stored, "reaped_by"),
        proof=cast(LossProof, _one_of(stored, "proof", get_args(LossProof))),
    )


def sample_figures(sample: Sample) -> str:
    """The figures in the order of the members, separated by commas: a page reads hundreds of samples at once."""
    return ",".join(map(str, astuple(sample)))


def sample(figures: object) -> Sample:
    try:
        at, sessions, heartbeat_age, loop_lag, valkey_latency, memory = str(figures).split(",")
        secs = (float(heartbeat_age), float(loop_lag), float(valkey_latency))
        found = Sample(float(at), int(sessions), *secs, int(memory))
    except ValueError:
        raise _wrong("figures", str(figures), "six numbers") from None
    if not (all(0 <= each <= LATEST for each in (found.at, *secs)) and 0 <= found.sessions <= _MOST):
        raise _wrong("figures", str(figures), "six numbers within their limits")
    if not 0 <= found.memory_bytes <= _MAX_EXACT:
        raise _wrong("figures", str(figures), f"a memory up to {_MAX_EXACT}")
    return found


def session(session_id: UUID, stored: Stored) -> SessionRecord:
    return SessionRecord(
        id=session_id,
        owner=_text(stored, "owner"),
        epoch=_integer(stored, "epoch"),
        device=_text(stored, "device"),
        user=_text(stored, "user"),
        started_at=_time(stored, "started_at"),
        state=cast(SessionState, _one_of(stored, "state", get_args(SessionState))),
        cols=_integer(stored, "cols"),
        rows=_integer(stored, "rows"),
    )


def circuit(stored: Stored) -> Circuit:
    return Circuit(
        state=cast(CircuitState, _one_of(stored, "state", get_args(CircuitState))),
        failures=_integer(stored, "failures"),
        opened_at=_time(stored, "opened_at"),
        open_until=_time(stored, "open_until"),
        reason=_text(stored, "reason"),
        probe=_text(stored, "probe"),
        probe_until=_time(stored, "probe_until"),
        version=_integer(stored, "version", _MAX_EXACT),
        changed_at=_time(stored, "changed_at"),
    )


def event(stream_id: str, entry: Stored) -> Event:
    """An event, timed by its stream id, which begins with the server's time in milliseconds.

    The time of an id that another program has chosen is capped at LATEST. Unknown kinds are kept: a newer version may
    have written them.
    """
    details = dict(entry)
    kind, instance_id = cast(EventKind, _text(details, "kind")), _text(details, "instance_id")
    del details["kind"], details["instance_id"]
    return Event(min(int(stream_id.partition("-")[0]) / 1000, LATEST), kind, instance_id, details)


def time(secs: int | str, microsecs: int | str) -> float:
    """The reply to TIME as seconds since 1970."""
    return int(secs) + int(microsecs) / 1_000_000


def _text(stored: Stored, name: str) -> str:
    text = stored.get(name)
    if text is None:
        raise ValueError(f"it has no {name}")
    return text


def _one_of(stored: Stored, name: str, words: Iterable[str]) -> str:
    text = _text(stored, name)
    if text not in words:
        raise _wrong(name, text, f"one of {', '.join(words)}")
    return text


def _address(stored: Stored, name: str) -> str:
    """`host:port`, or an empty string for an instance without a private listener."""
    text = _text(stored, name)
    found = _ADDRESS.fullmatch(text)
    if text and not (found and int(found[2]) < 65536):
        raise _wrong(name, text, "host:port")
    return text


def _integer(stored: Stored, name: str, most: int = _MOST) -> int:
    text = _text(stored, name)
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise _wrong(name, text, f"a whole number up to {most}")
    return int(text)


def _time(stored: Stored, name: str) -> float:
    return _number(stored, name, LATEST)


def _number(stored: Stored, name: str, most: float) -> float:
    text = _text(stored, name)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        raise _wrong(name, text, f"a number up to {most:.0f}")
    return number


def _wrong(name: str, text: str, right: str) -> ValueError:
    return ValueError(f"its {name} is {text[:40]!r}, not {right}")
