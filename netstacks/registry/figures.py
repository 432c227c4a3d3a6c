"""The figures of a Valkey server that operators see."""

from collections.abc import Iterator
from typing import Any


def describe(info: dict[str, Any]) -> dict[str, str]:
    """Selected figures of an INFO reply, by name."""
    limit = info.get("maxmemory_human", "0B")
    details = {
        "version": str(info.get("valkey_version") or info["redis_version"]),
        "role": {"master": "primary", "slave": "replica"}.get(info["role"], str(info["role"])),
        "memory": f"{info['used_memory_human']} of {limit if limit != '0B' else 'unlimited'}",
        "clients": str(info["connected_clients"]),
        "persistence": "append-only file" if info.get("aof_enabled") else "none: a restart loses all data",
        "replicas": ", ".join(_replicas(info)) or "none",
    }
    if "master_host" in info:
        details["primary"] = f"{info['master_host']}:{info['master_port']}, link {info['master_link_status']}"
    return details


def _replicas(info: dict[str, Any]) -> Iterator[str]:
    for number in range(int(info.get("connected_slaves", 0))):
        replica = info[f"slave{number}"]
        yield f"{replica['ip']}:{replica['port']} ({replica['state']}, {replica.get('lag', '?')} s behind)"
