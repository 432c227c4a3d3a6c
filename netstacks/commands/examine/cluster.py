"""The registered instances, and whether this host reaches them."""

import json
import ssl
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from netstacks.cluster import clocks
from netstacks.cluster.model import Snapshot
from netstacks.cluster.overview import overview
from netstacks.commands.examine.findings import Finding, Findings, Level
from netstacks.instance.identity import differing_secrets, secrets_fingerprint
from netstacks.settings import Settings

_ANSWER_SECS = 5.0
_MOST_BYTES = 1024 * 1024


def judge_cluster(loaded: Settings, snapshot: Snapshot) -> Findings:
    """What there is to say of the registered instances."""
    lines = overview(snapshot, loaded.ha_heartbeat_interval_secs, loaded.ha_stale_instance_ttl_secs)
    if not lines:
        do = "see that the controllers run with this VALKEY_URL, and look for registry.away in their logs"
        yield Finding("Cluster", "warning", "no instance is registered", "nobody serves users by way of it", do)
    for instance_id, problem in snapshot.unreadable.items():
        what = f"the record of instance {ascii(instance_id)[1:-1]} in Valkey cannot be read: {problem}"
        do = "a running instance repairs its own within a minute: then look for what else writes to this Valkey"
        yield Finding("Cluster", "warning", what, "other instances and the HA page do not see it", do)
    for line in lines:
        if line.condition == "healthy":
            what = f"{line.instance.id} on {line.instance.host}: heartbeat {line.heartbeat_age_secs:.0f} s ago"
            yield Finding("Cluster", "ok", what)
        else:
            level: Level = "error" if line.condition in ("stale", "refused") else "warning"
            what = f"{line.instance.id} on {line.instance.host} is {line.condition}: {line.problem}"
            yield Finding("Cluster", level, what, "its users are served by the others", "look at its log")
    keys = [key for key in (loaded.vault_master_key, loaded.vault_master_key_previous) if key]
    mine = secrets_fingerprint([bytes.fromhex(key) for key in keys], loaded.jwt_secret)
    accepted = [line.instance.secrets_fingerprint for line in lines if line.condition in ("healthy", "late")]
    for name in differing_secrets(mine, accepted):
        what, why = f"{name} here differs from the cluster's", "an instance with these settings would take no sessions"
        yield Finding("Cluster", "error", what, why, "give every instance the same")


def examine_peers(snapshot: Snapshot, tls: ssl.SSLContext | None) -> Findings:
    """Asks every registered instance at its private address; `tls` where instances talk TLS to each other."""
    for instance in snapshot.instances.values():
        at = f"at {instance.peer_address!r}"
        why = "terminals whose session it owns cannot be used by way of this host"
        try:
            health, clock_skew_secs = _health(instance.peer_address, tls)
        except (OSError, HTTPException, ValueError) as error:
            what, do = f"{instance.id} is not reached {at}: {error}", "open the port between instances"
            yield Finding("Peers", "error", what, why, f"{do}, or set HA_ADVERTISE_HOST there")
            continue
        if health.get("instance_id") != instance.id:
            what, do = (
                f"{at} {health.get('instance_id')} answers instead of {instance.id}",
                "set HA_ADVERTISE_HOST there",
            )
            yield Finding("Peers", "error", what, why, do)
            continue
        if clocks.is_alarming(clock_skew_secs):
            told = clocks.in_words(round(clock_skew_secs))
            what = f"the clock of {instance.id} on {instance.host} differs from this host's: it is {told}"
            yield Finding("Peers", "warning", what, "times in logs and recordings do not fit together", clocks.ADVICE)
        if health.get("status") not in ("healthy", "degraded"):
            what = f"{instance.id} answers {at} and says {health.get('status')}: {health.get('reason')}"
            state: Level = "warning" if health.get("status") == "draining" else "error"
            yield Finding("Peers", state, what, "load balancers send it no users", "mend what it says")
            continue
        yield Finding("Peers", "ok", f"{instance.id} answers {at}")
        if health.get("reason"):
            yield Finding("Peers", "warning", f"{instance.id} is {health.get('status')}: {health['reason']}")
        cluster = health.get("cluster")
        seen = cluster.get("healthy_instances") if isinstance(cluster, dict) else None
        if seen != len(snapshot.instances):
            what = f"{instance.id} sees {seen} healthy instances of the {len(snapshot.instances)} that are registered"
            why = "it may not reach Valkey, or some of them are ending or late"
            yield Finding("Peers", "warning", what, why, "look at its /api/v1/health, and again in a minute")


def _health(address: str, tls: ssl.SSLContext | None) -> tuple[dict[str, Any], float]:
    """What an instance says, and by how many seconds its clock is ahead of this host's, to about a second.

    Raises OSError, HTTPException or ValueError when there is none.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    connection = (
        HTTPSConnection(host, int(port), timeout=_ANSWER_SECS, context=tls)
        if tls
        else HTTPConnection(host, int(port), timeout=_ANSWER_SECS)
    )
    with closing(connection):
        connection.connect()
        asked_at = time.time()
        connection.request("GET", "/api/v1/health")
        answer = connection.getresponse()
        middle = (asked_at + time.time()) / 2
        body = json.loads(answer.read(_MOST_BYTES))
    if not isinstance(body, dict):
        raise ValueError("its health is no JSON object")
    # The header has whole seconds: half of one is the least error.
    told_at = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() + 0.5
    return body, told_at - middle
