"""The figures of a Valkey server and of its Sentinels that operators see."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Valkey's words for the roles, and ours.
_ROLES: Mapping[str, Literal["primary", "replica"]] = {"master": "primary", "slave": "replica"}

Persistence = Literal["append-only file", "snapshots", "none"]

# From this share of its memory limit on, a server needs an administrator.
NEARLY_FULL = 0.9


@dataclass(frozen=True)
class Replica:
    """A replica as its primary sees it; `lag_secs` is the age of its last acknowledgement."""

    address: str
    state: str
    lag_secs: int | None
    behind_bytes: int | None


@dataclass(frozen=True)
class ValkeyFigures:
    """One server. Times are in seconds since 1970; `latency_secs` is the duration of the call that read the figures.

    `memory_limit_bytes` is 0 without a limit; `upstream` is the primary of a replica with the state of the link.
    `persistence_problem` says what fails, `persistence_state` in a few words how writing goes; `last_save_at` is the
    time of the last snapshot, None when the server has taken none since its start.
    """

    version: str
    role: Literal["primary", "replica"]
    address: str
    up_since: float
    latency_secs: float
    memory_used_bytes: int
    memory_limit_bytes: int
    memory_policy: str
    clients: int
    persistence: Persistence
    persistence_problem: str | None
    last_save_at: float | None
    replicas: tuple[Replica, ...]
    upstream: str | None
    persistence_state: str | None = None


@dataclass(frozen=True)
class SentinelView:
    """What one Sentinel answers: the primary it names, or the problem with asking it."""

    address: str
    primary: str | None
    problem: str | None


@dataclass(frozen=True)
class SentinelFigures:
    """The views of all configured Sentinels. `quorum_problem` says why they could not replace a failed primary."""

    master_name: str
    quorum: int | None
    quorum_problem: str | None
    views: tuple[SentinelView, ...]


def problems_of(figures: ValkeyFigures | None, sentinels: SentinelFigures | None) -> list[str]:
    """What threatens the cluster although Valkey answers, as sentences without a full stop.

    `figures` is None while the server does not answer, `sentinels` in another mode.
    """
    problems = [failover_problem(figures, sentinels)]
    if figures is not None:
        problems.append(memory_problem(figures))
        if figures.persistence_problem:
            problems.append(f"Valkey's persistence fails: {figures.persistence_problem}")
    return [each for each in problems if each]


def failover_problem(figures: ValkeyFigures | None, sentinels: SentinelFigures | None) -> str | None:
    """Why Sentinel could not replace the primary; None if it could, and in another mode."""
    if sentinels is None:
        return None
    if sentinels.quorum_problem:
        return f"Sentinel cannot replace Valkey's primary: {sentinels.quorum_problem}"
    if figures is not None and figures.role == "primary" and not figures.replicas:
        return "Sentinel cannot replace Valkey's primary: it has no replica"
    return None


def memory_problem(figures: ValkeyFigures) -> str | None:
    """A memory limit that is nearly reached, with what follows."""
    limit_bytes = figures.memory_limit_bytes
    # The amount would change the sentence all the time.
    if not limit_bytes or figures.memory_used_bytes <= NEARLY_FULL * limit_bytes:
        return None
    what = f"Valkey uses more than {NEARLY_FULL * 100:.0f} % of its memory limit of {limit_bytes / (1 << 20):.3g} MiB"
    if figures.memory_policy == "noeviction":
        return f"{what}: when it is full, it refuses heartbeats"
    return f"{what}: when it is full, {figures.memory_policy} removes instances and sessions from it"


def joined(host: str, port: int | str) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read(info: Mapping[str, Any], address: str, latency_secs: float, save: str | None) -> ValkeyFigures:
    """The figures in an INFO reply. `save` is the server's setting of that name, None when it may not be read.

    Raises KeyError for the reply of a Sentinel, which has other sections, and ValueError for a malformed reply.
    """
    persistence = _persistence(info, save)
    role = _ROLES.get(info["role"])
    if role is None:
        raise ValueError(f"its role is {info['role']!r}")
    return ValkeyFigures(
        version=str(info.get("valkey_version") or info["redis_version"]),
        role=role,
        address=address,
        # Its own clock, because the page shows the times of the server.
        up_since=float(info.get("server_time_usec", time.time() * 1e6)) / 1e6 - int(info["uptime_in_seconds"]),
        latency_secs=latency_secs,
        memory_used_bytes=int(info["used_memory"]),
        memory_limit_bytes=int(info.get("maxmemory", 0)),
        memory_policy=str(info.get("maxmemory_policy", "noeviction")),
        clients=int(info["connected_clients"]),
        persistence=persistence,
        persistence_problem=_persistence_problem(info, persistence, save),
        last_save_at=_last_save_at(info),
        replicas=tuple(_replicas(info)),
        upstream=_upstream(info),
        persistence_state=_persistence_state(info, persistence, save),
    )


def _persistence(info: Mapping[str, Any], save: str | None) -> Persistence:
    if info.get("aof_enabled"):
        return "append-only file"
    # A server that keeps its settings to itself still counts its snapshots.
    takes_snapshots = int(info.get("rdb_saves", 0)) > 0 if save is None else bool(save)
    return "snapshots" if takes_snapshots else "none"


def _persistence_problem(info: Mapping[str, Any], persistence: Persistence, save: str | None) -> str | None:
    """A failed write to the disk. Valkey then refuses all changes, unless it is configured otherwise."""
    if persistence == "append-only file" and info.get("aof_last_write_status", "ok") != "ok":
        return "the append-only file cannot be written: Valkey's log has the reason, such as a full disk"
    if persistence == "append-only file" and info.get("aof_last_bgrewrite_status", "ok") != "ok":
        return "the append-only file could not be rewritten, so it only grows: Valkey's log has the reason"
    if _has_failed_snapshot(info, save):
        return "the last snapshot failed: Valkey's log has the reason, such as a full disk"
    return None


def _has_failed_snapshot(info: Mapping[str, Any], save: str | None) -> bool:
    # With an append-only file too: `appendonly yes` leaves Valkey's own save points in force. Without any, a snapshot
    # for a replica refuses no changes.
    return save != "" and info.get("rdb_last_bgsave_status", "ok") != "ok"


def _persistence_state(info: Mapping[str, Any], persistence: Persistence, save: str | None) -> str | None:
    if persistence == "none":
        return None
    if persistence == "snapshots":
        if info.get("rdb_bgsave_in_progress"):
            return "snapshot under way"
        return f"last snapshot {_word(info, 'rdb_last_bgsave_status')}"
    state = f"last write {_word(info, 'aof_last_write_status')}"
    if info.get("aof_rewrite_in_progress"):
        return f"{state}, rewrite under way"
    if _word(info, "aof_last_bgrewrite_status") == "failed":
        state += ", last rewrite failed"
    return f"{state}, last snapshot failed" if _has_failed_snapshot(info, save) else state


def _word(info: Mapping[str, Any], status: str) -> Literal["ok", "failed"]:
    return "ok" if info.get(status, "ok") == "ok" else "failed"


def _last_save_at(info: Mapping[str, Any]) -> float | None:
    # A server sets the time at its start, too. With an append-only file, snapshots are taken for replicas.
    at = float(info.get("rdb_last_save_time", 0))
    return at if at and info.get("rdb_saves", 1) else None


def _replicas(info: Mapping[str, Any]) -> Iterator[Replica]:
    sent = info.get("master_repl_offset")
    for number in range(int(info.get("connected_slaves", 0))):
        replica = info.get(f"slave{number}")
        if not isinstance(replica, dict):
            continue
        lag, received = replica.get("lag"), replica.get("offset")
        yield Replica(
            address=joined(str(replica["ip"]), replica["port"]),
            state=str(replica["state"]),
            lag_secs=None if lag is None else int(lag),
            behind_bytes=None if sent is None or received is None else max(0, int(sent) - int(received)),
        )


def _upstream(info: Mapping[str, Any]) -> str | None:
    if "master_host" not in info:
        return None
    return f"{joined(str(info['master_host']), info['master_port'])}, link {info['master_link_status']}"
