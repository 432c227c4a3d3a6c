"""Checks of the Valkey node that accepts writes."""

import time
from typing import Any

from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,
    RedisError,
    TimeoutError,
)

from netstacks.commands.examine.findings import Finding, Findings
from netstacks.errors import RegistryUnavailable
from netstacks.registry import addresses
from netstacks.registry.connection import connect, connect_through
from netstacks.registry.figures import ValkeyFigures, memory_problem
from netstacks.registry.sentinel import Sentinels
from netstacks.registry.valkey import ValkeyRegistry
from netstacks.settings import Settings

# Heartbeats use Valkey's clock; log-ins and shares use this host's.
_CLOCK_SECS = 5.0
_CANNOT_JOIN = "instances cannot join; running ones go on, and claim only sessions of instances that are proven dead"

_START = (
    "start it, and check that this host reaches the address in VALKEY_URL; containers must be on one network, and the"
    " host in the URL is the name of Valkey's service"
)
_START_PRIMARY = (
    "start it, and check that this host reaches the address that the Sentinels name; in containers and behind address"
    " translation the nodes announce one with announce-ip and announce-port"
)


def connected(loaded: Settings) -> tuple[Redis, ValkeyRegistry]:
    """A client and the registry of these settings, which use Valkey; they connect when first used."""
    if loaded.valkey_sentinel_url:
        sentinels = Sentinels(addresses.parse(loaded.valkey_sentinel_url), loaded.valkey_sentinel_master_name)
        client = connect_through(sentinels, loaded.valkey_url)
        return client, ValkeyRegistry(client, sentinels)
    assert loaded.valkey_url is not None
    client = connect(loaded.valkey_url)
    return client, ValkeyRegistry(client)


def examine_valkey(client: Redis, registry: ValkeyRegistry) -> Findings:
    """Findings about the node that accepts writes."""
    status = registry.status()
    if status.figures is None:
        problem = status.error or "it does not answer"
        if not _answers(client):
            do = _START_PRIMARY if status.mode == "sentinel" else _START
        else:
            do = "correct that; after a change of settings restart every instance"
        yield Finding("Valkey", "error", problem, _CANNOT_JOIN, do)
        return
    yield Finding("Valkey", "ok", f"{status.figures.version} answers at {status.figures.address}")
    yield from judge_server(status.figures, _protected_mode(client), _clock_difference_secs(client))


def _answers(client: Redis) -> bool:
    """Whether the server answers, if only with an error, which then says what to do."""
    try:
        client.ping()
    except (AuthenticationError, AuthorizationError, BusyLoadingError):
        # Subclasses of ConnectionError in the client library, but the server has answered.
        return True
    except ConnectionError as error:
        # A failed TLS handshake shows that a server answers.
        return "SSL" in str(error)
    except (TimeoutError, RegistryUnavailable):
        return False
    except RedisError:
        pass
    return True


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


def judge_server(figures: ValkeyFigures, protected_mode: str | None, clock_difference_secs: float) -> Findings:
    """Findings about a node by its figures."""
    if figures.role != "primary":
        what = f"it is a {figures.role}, which accepts no writes"
        do = "set VALKEY_URL to the primary, or use Sentinels"
        yield Finding("Valkey", "error", what, "no instance can register", do)
    # With another policy it evicts: the finding below.
    full = memory_problem(figures) if figures.memory_policy == "noeviction" else None
    if full:
        why = "running instances go on alone; new ones cannot join, and dead ones are noticed late"
        do = "raise maxmemory; if other programs use this Valkey, give the controllers a server of their own"
        yield Finding("Valkey", "warning", full, why, do)
    if figures.memory_limit_bytes and figures.memory_policy != "noeviction":
        what = f"maxmemory-policy is {figures.memory_policy}"
        yield Finding(
            "Valkey", "warning", what, "at the memory limit it deletes instances and sessions", "set it to noeviction"
        )
    if figures.persistence_problem:
        why = "it refuses changes, or loses them at a restart"
        do = "free space on its disk, or correct its permissions, and read its log"
        yield Finding("Valkey", "error", figures.persistence_problem, why, do)
    if figures.persistence == "none" and not figures.replicas:
        what, why = "neither persistence nor replicas", "a restart loses all data, and every instance registers again"
        yield Finding("Valkey", "ok", f"{what}: {why}")
    if protected_mode == "yes":
        what, why = "protected-mode is on", "without a password it refuses connections from other hosts"
        yield Finding("Valkey", "ok", f"{what}: {why}")
    if clock_difference_secs > _CLOCK_SECS:
        what = f"its clock and this host's differ by {clock_difference_secs:.0f} s"
        why, do = "times in logs and in HA status are inconsistent", "run a time service on both"
        yield Finding("Valkey", "warning", what, why, do)
