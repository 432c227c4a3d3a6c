"""A made-up HA status, as the API answers it, with something in every section of the page."""

import random
from typing import Any

from netstacks.cluster import clocks

NOW = "2026-11-30T10:00:00Z"


def status(count: int = 3, **changed: Any) -> dict[str, Any]:
    """The status of a cluster of `count` instances; `changed` replaces members."""
    instances = [instance(number) for number in range(count)]
    return {
        "instance_id": instances[0]["id"],
        "seen_at": NOW,
        "cluster": {"condition": "healthy", "reason": None, "expected_instances": count, "expected_by": "learned"},
        "totals": {
            "registered_instances": count,
            "healthy_instances": count,
            "lost_instances": 0,
            "total_sessions": sum(each["sessions"] for each in instances),
            "sessions_without_owner": 0,
        },
        "valkey": valkey(),
        "database": database(),
        "clocks": {"warning": None, "advice": clocks.ADVICE, "tolerated_secs": 10.0},
        "unreadable": [],
        "inconsistencies": [],
        "instances": instances,
        "lost": [],
        "providers": [],
        "events": [event("joined", f"{each['id']} joined.", each["id"]) for each in instances[:10]],
        "event_kinds": ["joined", "left", "reaped"],
        **changed,
    }


def instance(number: int, **changed: Any) -> dict[str, Any]:
    """A healthy instance; `changed` replaces members."""
    return {
        "id": f"ctrl-{number:08x}",
        "host": f"node-{number}",
        "peer_address": f"10.0.0.{number % 250 + 1}:9443",
        "version": "1.9.0",
        "pid": 100 + number,
        "started_at": "2026-11-29T08:00:00Z",
        "status": "healthy",
        "condition": "healthy",
        "problem": None,
        "heartbeat_age_secs": 1.2,
        "sessions": 7 + number,
        "opens_per_sec": 12.0,
        "waiting": 0,
        "clock_skew_secs": 0.1 if number else None,
        "clock_skew": "0.1 s ahead" if number else None,
        **changed,
    }


def lost(number: int = 99, **changed: Any) -> dict[str, Any]:
    """An instance that was lost with 12 sessions."""
    return {
        "id": f"ctrl-{number:08x}",
        "host": "node-lost",
        "peer_address": "10.0.0.99:9443",
        "version": "1.9.0",
        "started_at": "2026-11-29T08:00:00Z",
        "lost_at": "2026-11-30T09:56:00Z",
        "last_heartbeat_at": "2026-11-30T09:55:30Z",
        "proof": "silence",
        "reaped_by": "ctrl-00000000",
        "sessions": {"total": 12, "taken_over": 9, "waiting": 3, "ended": 0},
        "problem": "lost 4 min ago, its 12 sessions: 9 taken over, 3 waiting for their users",
        **changed,
    }


def valkey(**changed: Any) -> dict[str, Any]:
    """Valkey behind three Sentinels."""
    return {
        "connection": "connected",
        "error": None,
        "mode": "sentinel",
        "seen_at": NOW,
        "version": "8.1.1",
        "role": "primary",
        "address": "10.0.1.1:6379",
        "upstream": None,
        "up_since": "2026-11-20T08:00:00Z",
        "latency_ms": 0.4,
        "memory_used_bytes": 12_000_000,
        "memory_limit_bytes": 256 * 1024 * 1024,
        "memory_policy": "noeviction",
        "memory_problem": None,
        "clients": 14,
        "persistence": "append-only file",
        "persistence_problem": None,
        "persistence_state": "last write ok",
        "last_save_at": "2026-11-30T09:30:00Z",
        "replicas": [{"address": "10.0.1.2:6379", "state": "online", "lag_secs": 0, "behind_bytes": 112}],
        "sentinel": {
            "master_name": "netstacks",
            "quorum": 2,
            "quorum_problem": None,
            "views": [
                {"address": "10.0.1.1:26379", "primary": "10.0.1.1:6379", "problem": None},
                {"address": "10.0.1.2:26379", "primary": "10.0.1.1:6379", "problem": None},
                {"address": "10.0.1.3:26379", "primary": None, "problem": "does not answer"},
            ],
        },
        "last_failover": {"at": "2026-11-25T08:00:00Z", "former": "10.0.1.2:6379", "address": "10.0.1.1:6379"},
        "primary_since": "2026-11-25T08:00:00Z",
        **changed,
    }


def database(**changed: Any) -> dict[str, Any]:
    """A PostgreSQL primary with one standby."""
    return {
        "connection": "connected",
        "error": None,
        "seen_at": NOW,
        "version": "17.2",
        "connections": 31,
        "connections_limit": 100,
        "role": "primary",
        "replicas": [{"name": "standby-1", "state": "streaming", "lag_secs": 0.2}],
        "recordings_bytes": 4_300_000_000,
        "oldest_transaction_secs": 0.1,
        "replay_lag_secs": None,
        "wal_position": "16/B374D848",
        "backup": None,
        **changed,
    }


def providers() -> list[dict[str, Any]]:
    """Two AI providers; calls to the first one are stopped."""
    return [
        {
            "id": "11111111-1111-1111-1111-111111111111",
            "name": "Claude",
            "type": "anthropic",
            "models": [
                {"model": "large", "state": "open", "reason": "3 failures: answers 529", "open_until": NOW},
                {"model": "small", "state": "half-open", "reason": None, "open_until": None},
            ],
        },
        {
            "id": "22222222-2222-2222-2222-222222222222",
            "name": "On site",
            "type": "openai",
            "models": [{"model": "local", "state": "closed", "reason": None, "open_until": None}],
        },
    ]


def event(kind: str, text: str, instance_id: str = "ctrl-00000000") -> dict[str, Any]:
    return {"at": NOW, "kind": kind, "instance_id": instance_id, "text": text}


def sessions() -> dict[str, Any]:
    """Three live sessions; the owner of the last one is gone."""
    common = {
        "former_owner": None,
        "state": "active",
        "epoch": 1,
        "viewers": 0,
        "started_at": "2026-11-30T09:00:00Z",
        "bytes": 48_000,
    }
    users: list[tuple[str, str, dict[str, Any]]] = [
        ("lee", "core-router-1", {"owner": "ctrl-00000000", "viewers": 2}),
        ("j.w.vandermeer-operations", "edge-2", {"owner": "ctrl-00000001", "epoch": 3, "state": "detached"}),
        ("sam", "access-switch-17.frankfurt", {"owner": None, "former_owner": "ctrl-00000063", "viewers": None}),
    ]
    return {
        "items": [
            {
                **common,
                "id": f"{number:08x}-0000-4000-8000-000000000000",
                "username": user,
                "device_name": device,
                **rest,
            }
            for number, (user, device, rest) in enumerate(users)
        ],
        "next": None,
    }


def history(*ids: str) -> dict[str, Any]:
    """The last hour of these instances; the first minutes are missing."""
    dice = random.Random(7)
    missing: list[float | None] = [None] * 12

    def series(low: float, high: float, digits: int = 1) -> list[float | None]:
        return [*missing, *(round(dice.uniform(low, high), digits) for _ in range(48))]

    return {
        "step_secs": 60,
        "instances": {
            each: {
                "from": "2026-11-30T09:01:00Z",
                "sessions": [*missing, *(dice.randint(3, 12) for _ in range(48))],
                "heartbeat_age_secs": series(0, 5),
                "loop_lag_ms": series(0.5, 14),
                "valkey_latency_ms": series(0.2, 3),
                "memory_mib": series(110, 140, 0),
            }
            for each in ids
        },
    }
