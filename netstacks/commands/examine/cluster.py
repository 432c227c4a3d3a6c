"""Checks of the registered instances, and of their private listeners from this host."""

import json
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from netstacks.cluster import clocks, losses
from netstacks.cluster.model import Instance, LostInstance, Snapshot
from netstacks.cluster.overview import InstanceStatus, condition_of, loss_in_words
from netstacks.commands.examine.findings import Finding, Findings, Level
from netstacks.commands.judging import judged, silence
from netstacks.instance.identity import differing_secrets
from netstacks.membership import fingerprint_of
from netstacks.registry.figures import ValkeyFigures
from netstacks.settings import Settings
from netstacks.store.sessions import LostCounts

_ANSWER_SECS = 5.0
_MAX_BYTES = 1024 * 1024


# Instances with the secrets of the cluster.
_ACCEPTED = ("healthy", "degraded", "late")
# The consequence of a condition, where it is another than that other instances have the users.
_WHY = {
    "degraded": "it serves its users without what is missing",
    "draining": "it hands over its sessions and stops",
    "unhealthy": "load balancers send it no users",
}
_OF_OTHERS = "the other instances serve its users"


def judge_cluster(
    loaded: Settings, snapshot: Snapshot, lost: Sequence[LostInstance] = (), figures: ValkeyFigures | None = None
) -> Findings:
    """Findings about the registered instances, and about those that are missing; `figures` are those of Valkey."""
    statuses = judged(loaded, snapshot, figures)
    if not statuses:
        do = "start the controllers with this VALKEY_URL, and search their logs for registry.away"
        yield Finding("Cluster", "warning", "no instance is registered", "no instance serves users", do)
    if silent := silence(snapshot, loaded.ha_stale_instance_ttl_secs):
        why = "heartbeats are not judged, because all of them are old"
        do = f"check again in {loaded.ha_stale_instance_ttl_secs:g} s; if it stays, start the controllers"
        yield Finding("Cluster", "warning", silent, why, do)
    for status in statuses:
        name = f"{status.instance.id} on {status.instance.host}"
        if status.condition == "healthy":
            yield Finding("Cluster", "ok", f"{name}: heartbeat {status.heartbeat_age_secs:.0f} s ago")
        else:
            level: Level = "error" if status.condition in ("stale", "refused", "unhealthy") else "warning"
            what = f"{name} is {status.condition}: {status.problem}"
            do = "correct what it reports, and read its log"
            yield Finding("Cluster", level, what, _WHY.get(status.condition, _OF_OTHERS), do)
    yield from _missing(loaded, snapshot, statuses, lost)
    yield from _differing_secrets(loaded, statuses)


def judge_unreadable(unreadable: Mapping[str, str]) -> Findings:
    """Findings about records in Valkey that cannot be read: the problem of each, by its key."""
    for key, problem in unreadable.items():
        what = f"the record {key} in Valkey cannot be read: {problem}"
        why = "instances and HA status leave it out"
        do = (
            "running instances repair their own records within a minute; otherwise find what else writes to this Valkey"
        )
        yield Finding("Cluster", "warning", what, why, do)


def _missing(
    loaded: Settings, snapshot: Snapshot, statuses: Sequence[InstanceStatus], lost: Sequence[LostInstance]
) -> Findings:
    """Instances that HA_EXPECTED_INSTANCES counts, and that are neither registered nor lost."""
    expected = loaded.ha_expected_instances
    if not statuses or len(statuses) + len(lost) >= expected:
        return
    condition = condition_of(
        statuses, lost, expected_instances=expected, is_shared=True, now=snapshot.taken_at, problems=()
    )
    why = "the others have their load, and the cluster is shown as degraded"
    do = "start those that are missing with this VALKEY_URL, or correct HA_EXPECTED_INSTANCES on every instance"
    yield Finding("Cluster", "warning", condition.reason or "", why, do)


def _differing_secrets(loaded: Settings, statuses: Sequence[InstanceStatus]) -> Findings:
    mine = fingerprint_of(loaded)
    accepted = [status.instance.secrets_fingerprint for status in statuses if status.condition in _ACCEPTED]
    for name in differing_secrets(mine, accepted):
        what, why = f"{name} here differs from the cluster's", "an instance with these settings accepts no sessions"
        yield Finding("Cluster", "error", what, why, "set the same value for every instance")


def judge_lost(lost: Sequence[LostInstance], now: float, fates: Mapping[str, LostCounts]) -> Findings:
    """Findings about instances that died and were not replaced, with the fates of their sessions by instance id.

    `now` is by the registry's clock.
    """
    for each in lost:
        counts = fates.get(each.id)
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(each.lost_at))
        words = loss_in_words(each, now, asdict(counts) if counts else None)
        what = f"{each.id} on {each.host} is gone since {at} ({words}): {losses.sentence(each)}"
        why = (
            "the others have its load; each of its sessions is taken over when its user reconnects through the load"
            " balancer"
        )
        do = "read its log and start it again; if it is not to come back, dismiss it on the page HA status"
        yield Finding("Cluster", "warning", what, why, do)


def examine_peers(look: Callable[[], Snapshot], settle_secs: float, tls: ssl.SSLContext | None) -> Findings:
    """Findings about every registered instance at its peer address; `tls` is for clusters with peer TLS.

    What an instance knows of the others is as old as its last heartbeat: an instance that disagrees with the registry
    is asked again after `settle_secs`.
    """
    snapshot = look()
    doubtful = []
    for instance in snapshot.instances.values():
        health, found = _ask(instance, tls)
        yield from found
        if health is not None and _known(health) != len(snapshot.instances):
            doubtful.append(instance)
    if not doubtful:
        return
    time.sleep(settle_secs)
    snapshot = look()
    for instance in doubtful:
        health, _ = _ask(instance, tls)
        if health is not None and _known(health) != len(snapshot.instances):
            registered = len(snapshot.instances)
            what = f"{instance.id} knows {_known(health)} instances, and {registered} are registered"
            why = "it may not reach Valkey, or some instances are starting or stopping"
            yield Finding("Peers", "warning", what, why, "read its /api/v1/health, and check again in a minute")


def _ask(instance: Instance, tls: ssl.SSLContext | None) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The health of an instance that serves, else None, and the findings about it."""
    at = f"at {instance.peer_address!r}"
    why = "this host cannot proxy terminals to the sessions of this instance"
    try:
        health, clock_skew_secs = peer_health(instance.peer_address, tls)
    except (OSError, HTTPException, ValueError) as error:
        what, do = f"{instance.id} is not reached {at}: {error}", "open the port between the instances"
        return None, [Finding("Peers", "error", what, why, f"{do}, or set HA_ADVERTISE_HOST of this instance")]
    if health.get("instance_id") != instance.id:
        what, do = (
            f"{at} {health.get('instance_id')} answers instead of {instance.id}",
            f"set HA_ADVERTISE_HOST of {instance.id}",
        )
        return None, [Finding("Peers", "error", what, why, do)]
    return _judge(instance, health, clock_skew_secs)


def _judge(
    instance: Instance, health: dict[str, Any], clock_skew_secs: float
) -> tuple[dict[str, Any] | None, list[Finding]]:
    found = []
    if clocks.is_alarming(clock_skew_secs):
        skew = clocks.in_words(round(clock_skew_secs))
        what = f"the clock of {instance.id} on {instance.host} differs from this host's: it is {skew}"
        found.append(Finding("Peers", "warning", what, "times in logs and recordings are inconsistent", clocks.ADVICE))
    status, reason, at = health.get("status"), health.get("reason"), f"at {instance.peer_address!r}"
    if status not in ("healthy", "degraded"):
        what = f"{instance.id} answers {at} and reports {status}: {reason}"
        state: Level = "warning" if status == "draining" else "error"
        return None, [*found, Finding("Peers", state, what, "load balancers send it no users", "fix what it reports")]
    found.append(Finding("Peers", "ok", f"{instance.id} answers {at}"))
    if reason:
        why, do = "it serves its users without what is missing", "fix what it reports: no restart is needed afterwards"
        found.append(Finding("Peers", "warning", f"{instance.id} is {status}: {reason}", why, do))
    return health, found


def _known(health: dict[str, Any]) -> Any:
    cluster = health.get("cluster")
    return cluster.get("registered_instances") if isinstance(cluster, dict) else None


def peer_health(address: str, tls: ssl.SSLContext | None) -> tuple[dict[str, Any], float]:
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
        body = json.loads(answer.read(_MAX_BYTES))
    if not isinstance(body, dict):
        raise ValueError("its health is not a JSON object")
    # The header has whole seconds: adding half a second halves the largest error.
    stamped_at = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() + 0.5
    return body, stamped_at - middle
