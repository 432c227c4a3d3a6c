"""Checks of the registered instances, and of their private listeners from this host."""

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
    """Findings about the registered instances."""
    statuses = overview(snapshot, loaded.ha_heartbeat_interval_secs, loaded.ha_stale_instance_ttl_secs)
    if not statuses:
        do = "start the controllers with this VALKEY_URL, and search their logs for registry.away"
        yield Finding("Cluster", "warning", "no instance is registered", "no instance serves users", do)
    for instance_id, problem in snapshot.unreadable.items():
        what = f"the record of instance {ascii(instance_id)[1:-1]} in Valkey cannot be read: {problem}"
        do = "a running instance repairs its record within a minute; otherwise find what else writes to this Valkey"
        yield Finding("Cluster", "warning", what, "other instances and HA status do not see this instance", do)
    for status in statuses:
        if status.condition == "healthy":
            what = f"{status.instance.id} on {status.instance.host}: heartbeat {status.heartbeat_age_secs:.0f} s ago"
            yield Finding("Cluster", "ok", what)
        else:
            level: Level = "error" if status.condition in ("stale", "refused") else "warning"
            what = f"{status.instance.id} on {status.instance.host} is {status.condition}: {status.problem}"
            yield Finding("Cluster", level, what, "the other instances serve its users", "read its log")
    keys = [key for key in (loaded.vault_master_key, loaded.vault_master_key_previous) if key]
    mine = secrets_fingerprint([bytes.fromhex(key) for key in keys], loaded.jwt_secret)
    accepted = [status.instance.secrets_fingerprint for status in statuses if status.condition in ("healthy", "late")]
    for name in differing_secrets(mine, accepted):
        what, why = f"{name} here differs from the cluster's", "an instance with these settings accepts no sessions"
        yield Finding("Cluster", "error", what, why, "set the same value for every instance")


def examine_peers(snapshot: Snapshot, tls: ssl.SSLContext | None) -> Findings:
    """Findings about every registered instance at its peer address; `tls` is for clusters with peer TLS."""
    for instance in snapshot.instances.values():
        at = f"at {instance.peer_address!r}"
        why = "this host cannot proxy terminals to the sessions of this instance"
        try:
            health, clock_skew_secs = _health(instance.peer_address, tls)
        except (OSError, HTTPException, ValueError) as error:
            what, do = f"{instance.id} is not reached {at}: {error}", "open the port between the instances"
            yield Finding("Peers", "error", what, why, f"{do}, or set HA_ADVERTISE_HOST of this instance")
            continue
        if health.get("instance_id") != instance.id:
            what, do = (
                f"{at} {health.get('instance_id')} answers instead of {instance.id}",
                f"set HA_ADVERTISE_HOST of {instance.id}",
            )
            yield Finding("Peers", "error", what, why, do)
            continue
        if clocks.is_alarming(clock_skew_secs):
            skew = clocks.in_words(round(clock_skew_secs))
            what = f"the clock of {instance.id} on {instance.host} differs from this host's: it is {skew}"
            yield Finding("Peers", "warning", what, "times in logs and recordings are inconsistent", clocks.ADVICE)
        if health.get("status") not in ("healthy", "degraded"):
            what = f"{instance.id} answers {at} and reports {health.get('status')}: {health.get('reason')}"
            state: Level = "warning" if health.get("status") == "draining" else "error"
            yield Finding("Peers", state, what, "load balancers send it no users", "fix the reported problem")
            continue
        yield Finding("Peers", "ok", f"{instance.id} answers {at}")
        if health.get("reason"):
            yield Finding("Peers", "warning", f"{instance.id} is {health.get('status')}: {health['reason']}")
        cluster = health.get("cluster")
        seen = cluster.get("healthy_instances") if isinstance(cluster, dict) else None
        if seen != len(snapshot.instances):
            what = f"{instance.id} sees {seen} healthy instances of the {len(snapshot.instances)} that are registered"
            why = "it may not reach Valkey, or some instances are stopping or late"
            yield Finding("Peers", "warning", what, why, "read its /api/v1/health, and check again in a minute")


def _health(address: str, tls: ssl.SSLContext | None) -> tuple[dict[str, Any], float]:
    """The health of an instance, and how many seconds its clock is ahead of this host's, accurate to about a second.

    Raises OSError, HTTPException or ValueError without a valid response.
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
        raise ValueError("its health is not a JSON object")
    # The header has whole seconds: adding half a second halves the largest error.
    stamped_at = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() + 0.5
    return body, stamped_at - middle
