"""Checks of the Valkey node that accepts writes."""

import time
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import NetstacksError

# Heartbeats use Valkey's clock; log-ins and shares use this host's.
_CLOCK_SECS = 5.0


def examine_valkey(client: Redis) -> Findings:
    """Findings about the node that accepts writes."""
    try:
        info = client.info()
    except (RedisError, NetstacksError) as error:
        why = "instances cannot join; running ones go on, and claim only sessions of instances that are proven dead"
        do = "start it, check that this host reaches it, and check the password"
        yield Finding("Valkey", "error", str(error), why, do)
        return
    yield Finding("Valkey", "ok", f"{info.get('valkey_version') or info['redis_version']} answers as {info['role']}")
    yield from judge_server(info, _protected_mode(client), _clock_difference_secs(client))


def _protected_mode(client: Redis) -> str | None:
    """None when CONFIG GET is not permitted."""
    try:
        found: Any = client.config_get("protected-mode")
        return str(found.get("protected-mode"))
    except RedisError:
        return None


def _clock_difference_secs(client: Redis) -> float:
    secs, microsecs = client.time()
    return abs(time.time() - secs - microsecs / 1e6)


def judge_server(info: dict[str, Any], protected_mode: str | None, clock_difference_secs: float) -> Findings:
    """Findings about a node by its INFO reply."""
    if info["role"] != "master":
        what, do = f"it is a {info['role']}, which accepts no writes", "set VALKEY_URL to the primary, or use Sentinels"
        yield Finding("Valkey", "error", what, "no instance can register", do)
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        what, why = f"maxmemory-policy is {policy}", "at the memory limit it deletes instances and sessions"
        yield Finding("Valkey", "warning", what, why, "set it to noeviction")
    if not info.get("aof_enabled") and not info.get("connected_slaves"):
        what, why = "neither persistence nor replicas", "a restart loses all data, and every instance registers again"
        yield Finding("Valkey", "ok", f"{what}: {why}")
    if protected_mode == "yes":
        what, why = "protected-mode is on", "without a password it refuses connections from other hosts"
        yield Finding("Valkey", "ok", f"{what}: {why}")
    if clock_difference_secs > _CLOCK_SECS:
        what = f"its clock and this host's differ by {clock_difference_secs:.0f} s"
        yield Finding(
            "Valkey", "warning", what, "times in logs and in HA status are inconsistent", "run a time service on both"
        )
