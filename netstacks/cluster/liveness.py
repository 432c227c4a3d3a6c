"""Who lives: rules over heartbeats. `now` is always the registry's clock unless said otherwise."""

from netstacks.cluster.model import ClusterSummary, Instance, Snapshot


def is_stale(instance: Instance, now: float, ttl_secs: float) -> bool:
    """Whether the heartbeat is older than the TTL; one of exactly that age still counts.

    One from so far in the future is of before the registry's clock was set back, and has not been repeated since.
    """
    return abs(now - instance.last_heartbeat_at) > ttl_secs


def living(snapshot: Snapshot, ttl_secs: float) -> list[Instance]:
    """The instances whose heartbeat was fresh when the snapshot was taken."""
    return [each for each in snapshot.instances.values() if not is_stale(each, snapshot.taken_at, ttl_secs)]


def stale(snapshot: Snapshot, ttl_secs: float) -> list[Instance]:
    """The instances to reap. None when nobody seems to live: then it is the view that is wrong, not the cluster."""
    if not living(snapshot, ttl_secs):
        return []
    return [each for each in snapshot.instances.values() if is_stale(each, snapshot.taken_at, ttl_secs)]


def may_judge(contact_since: float | None, now: float, ttl_secs: float) -> bool:
    """Whether an old heartbeat proves anything: only when the registry has been in contact for one whole TTL.

    Whoever was cut off with it needs that long to be heard again. `contact_since` is None while contact is lost; both
    times are of the clock of the instance that judges.
    """
    return contact_since is not None and now - contact_since > ttl_secs


def clock_was_set(registry_secs: float, elapsed_secs: float, ttl_secs: float) -> bool:
    """Whether the registry's clock went on by so much more or less than ours that ages of heartbeats prove nothing.

    As when somebody sets it, or when another server with a clock of its own has taken the place of the last.
    """
    return abs(registry_secs - elapsed_secs) > ttl_secs / 3


def summarize(snapshot: Snapshot, ttl_secs: float) -> ClusterSummary:
    """Counts the cluster as the snapshot shows it."""
    return ClusterSummary(
        registered_instances=len(snapshot.instances),
        healthy_instances=sum(each.state == "active" for each in living(snapshot, ttl_secs)),
        total_sessions=sum(each.sessions for each in snapshot.instances.values()),
    )
