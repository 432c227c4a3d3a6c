"""Lost instances: which one a new instance replaces, and what is said about a loss."""

from collections.abc import Iterable

from netstacks.cluster.model import Event, Instance, LostInstance, Snapshot


def replaceable(lost: Iterable[LostInstance], host: str) -> list[LostInstance]:
    """The lost instances in the order in which a new instance on `host` tries to replace one of them.

    Those of its own host come first, because a process that is restarted there is meant to replace them.
    """
    return sorted(lost, key=lambda each: (each.host != host, each.lost_at, each.id))


def successors(lost: LostInstance, snapshot: Snapshot, interval_secs: float) -> list[Instance]:
    """The instances that have taken the place of a lost one before its loss was known, the likeliest first.

    A process that is restarted at once joins before its predecessor's heartbeat is stale. It must have started after
    the last heartbeat of the lost instance, on another host after the next one was due: an instance that was there
    beside the lost one does not replace it.
    """
    since = lost.last_heartbeat_at
    found = [
        each
        for each in snapshot.instances.values()
        if each.state == "active"
        and not each.replaces
        and each.started_at > (since if each.host == lost.host else since + interval_secs)
    ]
    return sorted(found, key=lambda each: (each.host != lost.host, each.started_at, each.id))


def accounted_for(snapshot: Snapshot, lost: Iterable[LostInstance], events: Iterable[Event]) -> set[str]:
    """The ids of the instances whose fate the registry knows, by its records or by its events.

    An instance whose record is unreadable may be alive.
    """
    found = snapshot.instances.keys() | snapshot.unreadable.keys() | {each.id for each in lost}
    found |= {each.replaces for each in snapshot.instances.values()}
    for event in events:
        if event.kind in ("left", "replaced", "dismissed"):
            found.add(event.instance_id)
        elif event.kind == "joined":
            found.add(event.details.get("replaces", ""))
    return found


def forgotten(instance: Instance, lost_at: float, reaped_by: str) -> LostInstance:
    """The loss of an instance that died while the registry was away, and that the registry has forgotten."""
    return LostInstance(
        id=instance.id,
        host=instance.host,
        peer_address=instance.peer_address,
        version=instance.version,
        started_at=instance.started_at,
        last_heartbeat_at=instance.last_heartbeat_at,
        lost_at=lost_at,
        sessions=instance.sessions,
        reaped_by=reaped_by,
        proof="refused",
    )


def sentence(lost: LostInstance) -> str:
    """Why the instance was declared dead, as one sentence without a full stop."""
    silent_secs = max(0.0, lost.lost_at - lost.last_heartbeat_at)
    if lost.proof == "refused":
        return (
            f"its process ended without handing over its sessions: no process of it listened at {lost.peer_address},"
            " and its lock in PostgreSQL was free"
        )
    return f"it sent no heartbeat for {silent_secs:.0f} s, so it was declared dead"
