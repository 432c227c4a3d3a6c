"""The parts of HA status about the stores and services that instances share: Valkey, PostgreSQL, AI providers."""

from typing import Literal, overload

from typing_extensions import TypedDict

from netstacks.cluster.circuits import CircuitState
from netstacks.cluster.health import ValkeyStatus
from netstacks.cluster.model import Event
from netstacks.formats import Timestamp, Uuid
from netstacks.instance.database_look import DatabaseView
from netstacks.instance.observer import View
from netstacks.llm.service import Llm
from netstacks.registry.base import Mode
from netstacks.registry.figures import Persistence, Replica, SentinelFigures, memory_problem
from netstacks.store.rehearsals import Proof
from netstacks.web.http.outputs import moment, timestamp


class ReplicaJson(TypedDict):
    """A replica of Valkey as its primary sees it."""

    address: str
    state: str
    lag_secs: int | None
    """The age of its last acknowledgement."""
    behind_bytes: int | None


class SentinelViewJson(TypedDict):
    """What one Sentinel answers."""

    address: str
    primary: str | None
    problem: str | None


class SentinelJson(TypedDict):
    """What all configured Sentinels answer."""

    master_name: str
    quorum: int | None
    quorum_problem: str | None
    """Why they could not replace a failed primary."""
    views: list[SentinelViewJson]


class FailoverJson(TypedDict):
    at: Timestamp
    former: str | None
    """The address of the former primary."""
    address: str | None


class ValkeyJson(TypedDict):
    """The connection of this instance to Valkey now, and the last figures, null before the first."""

    connection: ValkeyStatus
    error: str | None
    mode: Mode
    seen_at: Timestamp | None
    """When the figures were read."""
    version: str | None
    role: Literal["primary", "replica"] | None
    address: str | None
    upstream: str | None
    """The primary of a replica, with the state of the link."""
    up_since: Timestamp | None
    latency_ms: float | None
    memory_used_bytes: int | None
    memory_limit_bytes: int | None
    """0 without a limit."""
    memory_policy: str | None
    memory_problem: str | None
    clients: int | None
    persistence: Persistence | None
    persistence_problem: str | None
    persistence_state: str | None
    last_save_at: Timestamp | None
    replicas: list[ReplicaJson]
    sentinel: SentinelJson | None
    last_failover: FailoverJson | None
    primary_since: Timestamp | None
    """Since when a failover has made it the primary; null when none has."""


class StandbyJson(TypedDict):
    """A standby of PostgreSQL; null is what this instance may not see."""

    name: str
    state: str | None
    lag_secs: float | None


class BackupJson(TypedDict):
    """The last proof that a backup can be restored."""

    proven_at: Timestamp
    backup_created_at: Timestamp
    recordings: int
    audit_rows: int
    secrets: int
    start_secs: float | None
    """How long an instance on the restored database took to be healthy; null before any was started."""


class DatabaseJson(TypedDict):
    """The connection of this instance to PostgreSQL now, and the last figures, null before the first."""

    connection: Literal["connected", "disconnected"]
    error: str | None
    seen_at: Timestamp | None
    """When the figures were read."""
    version: str | None
    connections: int | None
    connections_limit: int | None
    role: Literal["primary", "standby"] | None
    recordings_bytes: int | None
    oldest_transaction_secs: float | None
    replay_lag_secs: float | None
    """The age of what a standby has replayed."""
    wal_position: str | None
    replicas: list[StandbyJson]
    backup: BackupJson | None


class ModelJson(TypedDict):
    """The circuit breaker of a model."""

    model: str
    state: CircuitState
    reason: str | None
    open_until: Timestamp | None


class AiProviderJson(TypedDict):
    """A provider of language models."""

    id: Uuid
    name: str
    type: str
    models: list[ModelJson]


@overload
def at(secs: float) -> Timestamp: ...
@overload
def at(secs: float | None) -> Timestamp | None: ...
def at(secs: float | None) -> Timestamp | None:
    """A time in seconds since 1970 as it stands in JSON."""
    return None if secs is None else timestamp(moment(secs))


def valkey(view: View) -> ValkeyJson:
    """The connection now, and the last figures, whose age `seen_at` tells."""
    registry, figures = view.registry, view.valkey
    return {
        "connection": registry.connection,
        "error": registry.error,
        "mode": registry.mode,
        "seen_at": at(view.valkey_seen_at),
        "version": figures.version if figures else None,
        "role": figures.role if figures else None,
        "address": figures.address if figures else None,
        "upstream": figures.upstream if figures else None,
        "up_since": at(figures.up_since) if figures else None,
        "latency_ms": round(1000 * figures.latency_secs, 1) if figures else None,
        "memory_used_bytes": figures.memory_used_bytes if figures else None,
        "memory_limit_bytes": figures.memory_limit_bytes if figures else None,
        "memory_policy": figures.memory_policy if figures else None,
        "memory_problem": memory_problem(figures) if figures else None,
        "clients": figures.clients if figures else None,
        "persistence": figures.persistence if figures else None,
        "persistence_problem": figures.persistence_problem if figures else None,
        "persistence_state": figures.persistence_state if figures else None,
        "last_save_at": at(figures.last_save_at) if figures else None,
        "replicas": [_replica(each) for each in figures.replicas] if figures else [],
        "sentinel": _sentinel(registry.sentinels) if registry.sentinels else None,
        "last_failover": _failover(view.failover),
        "primary_since": at(_primary_since(view)),
    }


def _replica(replica: Replica) -> ReplicaJson:
    return {
        "address": replica.address,
        "state": replica.state,
        "lag_secs": replica.lag_secs,
        "behind_bytes": replica.behind_bytes,
    }


def _sentinel(figures: SentinelFigures) -> SentinelJson:
    return {
        "master_name": figures.master_name,
        "quorum": figures.quorum,
        "quorum_problem": figures.quorum_problem,
        "views": [
            {"address": each.address, "primary": each.primary, "problem": each.problem} for each in figures.views
        ],
    }


def _primary_since(view: View) -> float | None:
    """Since when the server has been the primary, if a failover made it one and it has not restarted since."""
    figures, failover = view.valkey, view.failover
    if figures is None or figures.role != "primary" or failover is None:
        return None
    is_its_own = failover.details.get("address") == figures.address
    return failover.at if is_its_own and failover.at > figures.up_since else None


def _failover(event: Event | None) -> FailoverJson | None:
    if event is None:
        return None
    return {"at": at(event.at), "former": event.details.get("former"), "address": event.details.get("address")}


def database(view: DatabaseView) -> DatabaseJson:
    """The connection now, and the last figures, whose age `seen_at` tells."""
    figures = view.figures
    return {
        "connection": view.connection,
        "error": view.error,
        "seen_at": at(view.seen_at),
        "version": figures.version if figures else None,
        "connections": figures.connections if figures else None,
        "connections_limit": figures.connections_limit if figures else None,
        "role": figures.role if figures else None,
        "recordings_bytes": figures.recordings_bytes if figures else None,
        "oldest_transaction_secs": figures.oldest_transaction_secs if figures else None,
        "replay_lag_secs": figures.replay_lag_secs if figures else None,
        "wal_position": figures.wal_position if figures else None,
        "replicas": [{"name": each.name, "state": each.state, "lag_secs": each.lag_secs} for each in figures.replicas]
        if figures
        else [],
        "backup": _backup(view.backup),
    }


def _backup(proof: Proof | None) -> BackupJson | None:
    if proof is None:
        return None
    return {
        "proven_at": timestamp(proof.proven_at),
        "backup_created_at": timestamp(proof.backup_created_at),
        "recordings": proof.recordings,
        "audit_rows": proof.audit_rows,
        "secrets": proof.secrets,
        "start_secs": proof.start_secs,
    }


def providers(llm: Llm) -> list[AiProviderJson]:
    return [
        {
            "id": str(provider.id),
            "name": provider.name,
            "type": provider.type,
            "models": [
                {
                    "model": each["model"],
                    "state": each["state"],
                    "reason": each["reason"] or None,
                    "open_until": at(each["next_probe_at"]),
                }
                for each in llm.state_of(provider.id)["circuits"]
            ],
        }
        for provider in llm.directory.providers()
    ]
