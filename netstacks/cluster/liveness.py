"""Liveness of instances, judged by their heartbeats. `now` is by the registry's clock unless stated otherwise."""

from netstacks.cluster.model import Instance, Snapshot


def is_stale(instance: Instance, now: float, ttl_secs: float) -> bool:
    """Whether the heartbeat is older than the TTL; one of exactly that age is fresh.

    A heartbeat further in the future than the TTL predates a registry clock that was set back, and counts as stale.
    """
    return abs(now - instance.last_heartbeat_at) > ttl_secs


def is_overdue(instance: Instance, now: float, ttl_secs: float) -> bool:
    """Whether the heartbeat is older than a third of the TTL, which is two intervals by default."""
    return now - instance.last_heartbeat_at > ttl_secs / 3


def living(snapshot: Snapshot, ttl_secs: float) -> list[Instance]:
    """The instances whose heartbeat was fresh when the snapshot was taken."""
    return [each for each in snapshot.instances.values() if not is_stale(each, snapshot.taken_at, ttl_secs)]


def stale(snapshot: Snapshot, ttl_secs: float) -> list[Instance]:
    """The instances to reap; none when no instance is fresh, because then the view is wrong and not the cluster."""
    if not living(snapshot, ttl_secs):
        return []
    return [each for each in snapshot.instances.values() if is_stale(each, snapshot.taken_at, ttl_secs)]


def may_judge(contact_since: float | None, now: float, ttl_secs: float) -> bool:
    """Whether a stale heartbeat counts: only after one whole TTL of contact with the registry.

    Instances that had lost contact as well need that long to send heartbeats again. `contact_since` is None while
    contact is lost; both times are by the clock of the judging instance.
    """
    return contact_since is not None and now - contact_since > ttl_secs


def clock_was_set(registry_secs: float, elapsed_secs: float, ttl_secs: float) -> bool:
    """Whether the registry's clock advanced so differently from ours that ages of heartbeats prove nothing.

    This happens when the clock is set, and when a failover brings a server with another clock.
    """
    return abs(registry_secs - elapsed_secs) > ttl_secs / 3
